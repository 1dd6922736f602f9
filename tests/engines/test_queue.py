"""Jobs that an earlier run left in Slurm's queue are named, and nothing starts beside them."""

import os

import pytest

from reid.core.errors import ReidError
from reid.engines import queue


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """``squeue(said, status)`` puts a program of that name first; the tests work in a folder of their own."""
    folder, programs = tmp_path / "project", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def make(said, status=0):
        program = programs / "squeue"
        text = f"#!/bin/sh\ncat <<'END'\n{said}\nEND\necho refused >&2\nexit {status}\n"
        program.write_bytes(os.fsencode(text))
        program.chmod(0o755)

    make("")
    return make


def test_jobs_of_this_folder_that_snakemake_submitted_are_left(squeue, tmp_path):
    here = os.getcwd()
    (tmp_path / "link").symlink_to(here)
    squeue(
        f"7|RUNNING|reid_2af-11|{here}|rule_train_wildcards_small\n"
        f"8|PENDING|1c-2|{tmp_path}/link|group_data\n"  # no prefix, the comment of the plugin, and through a link
        f"9|RUNNING|reid_train|{here}|(null)\n"  # of profiles/generic
        f"10_[1-3]|PENDING|reid_x|{here}|rule_embed_wildcards_small_test\n"
        f"11|RUNNING|jupyter|{here}|(null)\n"  # a user's own job, also that in which Snakemake runs
        f"12|RUNNING|reid_2af-11|{tmp_path}|rule_train_wildcards_small\n"
        "nonsense"
    )
    found = [tuple(job) for job in queue.jobs_left()]
    assert found == [
        ("7", "RUNNING", "train small"),
        ("8", "PENDING", "group_data"),
        ("9", "RUNNING", "reid_train"),
        ("10_[1-3]", "PENDING", "embed small_test"),
    ]
    with pytest.raises(ReidError, match=r"7 RUNNING train small\n(.*\n)*.*scancel 7 8 9 10_\[1-3\]$"):
        queue.refuse_jobs_left()


@pytest.mark.parametrize("name", [b"Atl\xe9tico", "line\u2028end".encode(), b"line\rend", b"one|two"])
def test_names_that_are_no_text_are_read_as_those_of_folders(squeue, tmp_path, monkeypatch, name):
    here = tmp_path / os.fsdecode(name)
    here.mkdir()
    monkeypatch.chdir(here)
    squeue(f"7|RUNNING|reid_train|{here}|(null)\n8|RUNNING|\udce9|/|\udce9\n")
    assert [job.id for job in queue.jobs_left()] == ["7"]


def test_without_slurm_or_jobs_nothing_is_refused(squeue, monkeypatch):
    queue.refuse_jobs_left()
    monkeypatch.setenv("PATH", "/nowhere")
    queue.refuse_jobs_left()


def test_a_slurm_that_does_not_answer_counts_where_it_was_used(squeue, tmp_path):
    squeue("", status=1)
    queue.refuse_jobs_left()
    queue._LOGS.mkdir(parents=True)
    with pytest.raises(ReidError, match=r"squeue fails \(refused\)"):
        queue.refuse_jobs_left()
