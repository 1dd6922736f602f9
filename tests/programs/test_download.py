"""Labels of the synthetic challenge beside the zips: they go with their source, and somebody's own stay."""

import pytest
import yaml

from builders.model import changed
from builders.program import run_here
from builders.split import split_zip
from builders.whole import MINIMAL, load

NAME = "challenge_bbox_info.json"


@pytest.fixture
def download(tmp_path):
    """``download(source)`` runs the program for challenge; data/raw after it."""
    split_zip(tmp_path / "own/challenge.zip", "challenge")

    def run(source):
        values = {"source": source, "path": str(tmp_path / "own"), "synthetic.actions.challenge": 1}
        content = changed(load(MINIMAL), {f"download.{place}": value for place, value in values.items()})
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        raw = tmp_path / "raw"
        words = ["--split", "challenge", "--out", raw / "challenge.zip", "--receipt", raw / "challenge.json"]
        assert run_here("download.py", [*words, "--params", tmp_path / "params.yaml"]) == 0
        return raw

    return run


def test_labels_of_an_earlier_source_go_with_their_digests(download):
    raw = download("synthetic")
    assert (raw / NAME).exists() and (raw / f".{NAME}.sums").exists()
    download("local")
    assert not (raw / NAME).exists() and not (raw / f".{NAME}.sums").exists()


def test_labels_of_ones_own_stay(download):
    raw = download("local")
    (raw / NAME).write_text("own")
    download("local")
    assert (raw / NAME).read_text() == "own"


def test_labels_of_ones_own_in_the_place_of_the_synthetic_ones_stay(download):
    raw = download("synthetic")
    (raw / NAME).write_text("own")
    download("local")
    assert (raw / NAME).read_text() == "own" and not (raw / f".{NAME}.sums").exists()
