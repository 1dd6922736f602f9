"""The section "In a team" of docs/team.md, from the first run to a team mate's experiment, over each kind of remote.

Slow: two clones, one of them with a whole run. The servers are the tests' own (builders.servers).
"""

import os
import shutil
import subprocess
from typing import ClassVar

import pytest

from builders import servers, thorough
from builders.clone import Clone

pytestmark = [pytest.mark.slow, thorough]


class Member(Clone):
    """A clone of somebody who shares: with the environment in which the servers are reached."""

    more: ClassVar = {}

    @property
    def environment(self):
        return {**super().environment, **self.more}

    @classmethod
    def of(cls, origin, folder, more):
        """Another one, by `git clone`."""
        subprocess.run(["git", "clone", "-q", origin, folder], check=True)
        member = cls.__new__(cls)
        member.folder, member.more = folder, more
        return member

    def outputs(self):
        """Without the digests that programs put beside files: DVC brings none."""
        return {name: sha for name, sha in super().outputs().items() if not name.endswith(".sums")}

    def adopt(self):
        return self.run("python", "-m", "reid.engines.ledger", "adopt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run, recorded and committed; the tests take copies of it."""
    clone = Member(tmp_path_factory.mktemp("finished"), {"epochs": 2, "validation": None})
    clone.run("snakemake", "--cores", "8", "submission")
    clone.run("python", "-m", "reid.engines.ledger", "record")
    kept = {path.stat().st_size for path in (clone.folder / ".dvc/cache").rglob("*") if path.is_file()}
    big = [*clone.folder.glob("data/raw/*.zip"), *clone.folder.glob("data/thumbnails/*.npy")]
    assert len(big) == 8 and not kept & {path.stat().st_size for path in big}, "nothing big lies there twice"
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "first run")
    return clone.folder


@pytest.mark.parametrize("kind", servers.ALL)
def test_what_one_made_another_has(finished, tmp_path, kind):
    with servers.ALL[kind](tmp_path) as server:
        share(finished, tmp_path, server)


def share(finished, tmp_path, server):
    hub, kept, shared = tmp_path / "hub.git", f"{server.url}/dvc", f"{server.url}/shared"
    if "://" not in server.url:
        os.makedirs(shared)
    more = {**server.environment, "REID_SHARED": shared}

    shutil.copytree(finished, tmp_path / "one", symlinks=True)
    one = Member.__new__(Member)
    one.folder, one.more = tmp_path / "one", more
    one.run("git", "init", "-q", "--bare", str(hub))
    one.run("git", "remote", "add", "origin", str(hub))
    one.run("dvc", "remote", "add", "--default", "team", kept)
    one.run("git", "commit", "-qam", "where results are shared")
    one.run("git", "push", "-q", "origin", "HEAD")
    one.run("dvc", "push")
    for split in ("train", "valid", "test", "challenge"):  # made before there was a shared place
        os.remove(one.folder / f"data/raw/{split}.zip")
        os.remove(one.folder / f"data/thumbnails/{split}.npy")
    one.run("dvc", "repro", "download", "thumbnails")
    assert "put into" in (one.folder / "logs/download/train.log").read_text()

    two = Member.of(hub, tmp_path / "two", more)
    two.run("dvc", "pull")
    assert "data/raw/challenge.zip" in two.adopt()
    assert two.would_run() == {}
    assert not list(two.folder.glob("data/raw/*.zip")) and not (two.folder / "data/thumbnails").exists()
    wanted = {name: sha for name, sha in one.outputs().items() if (two.folder / name).exists()}
    assert two.outputs() == wanted and "results/submission/challenge.json" in wanted

    two.run("dvc", "repro")
    for log in ("download/train", "thumbnails/train", "download/challenge", "thumbnails/challenge"):
        assert "taken from" in (two.folder / f"logs/{log}.log").read_text()
    two.adopt()
    assert two.would_run() == {} and two.outputs() == one.outputs()

    two.run("dvc", "exp", "run", "-n", "fewer", "-S", "evaluate.resamples=200", "evaluate")
    two.run("dvc", "exp", "push", "origin", "fewer")
    one.run("dvc", "exp", "pull", "origin", "fewer")
    one.run("dvc", "exp", "apply", "fewer")
    assert "resamples: 200" in (one.folder / "params.yaml").read_text()
    same = "results/metrics/test.json"
    assert (one.folder / same).read_bytes() == (two.folder / same).read_bytes()
