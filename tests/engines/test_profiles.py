"""One environment variable chooses the profile of the snakemake that DVC's stages start."""

import shutil

import pytest
import yaml

from builders import ROOT
from reid.core.errors import ReidError
from reid.engines import profiles, queue, stage

OURS = ("max-checksum-file-size", "rerun-incomplete", "nolock", "quiet", "report-stylesheet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the profiles and dvc.yaml, to work in."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stages_take_the_profile_that_is_named(folder, monkeypatch):
    usual = stage.command("evaluate")
    for name in ("", "default"):
        monkeypatch.setenv(profiles.PROFILE, name)
        assert stage.command("evaluate") == usual
    own = folder / "own place"
    shutil.copytree(folder / "profiles/slurm", own)
    for name, path in (("slurm", "profiles/slurm"), ("profiles/generic", "profiles/generic"), (str(own), str(own))):
        monkeypatch.setenv(profiles.PROFILE, name)
        assert stage.command("evaluate") == ["snakemake", "--workflow-profile", path, *usual[3:]]


def test_an_unknown_profile_is_refused_with_those_that_there_are(folder, monkeypatch):
    for name in ("slrum", "~nobody-of-this-name/x"):
        monkeypatch.setenv(profiles.PROFILE, name)
        with pytest.raises(
            ReidError, match=rf"{name} is no profile; name one of profiles/ \(default, generic, slurm\)"
        ):
            stage.command("evaluate")


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_clusters_profile_keeps_what_the_default_one_says(name):
    default, cluster = (
        yaml.safe_load((ROOT / f"profiles/{profile}/profile.yaml").read_text()) for profile in ("default", name)
    )
    assert {key: cluster[key] for key in OURS} == {key: default[key] for key in OURS}
    assert set(default) - set(OURS) == {"resources", "cores"}  # whatever is added there is a matter of clusters too
    assert "cores" not in cluster  # it would bound the threads of jobs


def test_jobs_are_named_so_that_the_next_run_knows_them():
    slurm, generic = (
        yaml.safe_load((ROOT / f"profiles/{profile}/profile.yaml").read_text()) for profile in ("slurm", "generic")
    )
    assert f"{slurm['slurm-jobname-prefix']}_" == queue.PREFIX
    assert f"--job-name {queue.PREFIX}" in generic["cluster-generic-submit-cmd"]
