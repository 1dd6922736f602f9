"""A clone of the project with a very small data set, run as a user runs it."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from builders import ROOT
from builders.model import MODEL, changed

SMALL = {
    "network": {"backbone": "osnet_x0_25"},  # the others' libraries take seconds to import
    "threads": 1,
    "sampler": {"kind": "actions", "actions": 2, "identities": 8, "instances": 2},
    "loss": {"supcon": {"temperature": 0.05}},
    "validation": {"every": 3, "select": "best", "metric": "cosine"},
    "epochs": 6,
}
# one thread a job: tests run beside each other
ALONE = {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


class Clone:
    """A clone of the repository as it stands in the working tree, with small parameters, and its environment.

    Args:
        folder: an empty one.
        changes: of its model, at dotted places.
    """

    def __init__(self, folder, changes=None):
        self.folder = folder
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
            # what a run in the working tree made, and Git may keep, is not there in a clone
            if name and not name.startswith("results/") and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.params = yaml.safe_load((folder / "params.yaml").read_text())
        self.params["download"]["synthetic"]["actions"] = {"train": 6, "valid": 2, "test": 2, "challenge": 2}
        self.params["thumbnails"].update(height=32, width=16)
        self.params["embed"]["threads"] = 1
        self.params["models"] = {"small": changed(MODEL, {**SMALL, **(changes or {})})}
        self.write_params()
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
            self.run("git", *command)

    def write_params(self):
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False))

    def command(self, *words):
        return [str(Path(sys.executable).parent / words[0]) if words[0] != "git" else "git", *words[1:]]

    @property
    def environment(self):
        who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        mine = {key: value for key, value in os.environ.items() if not key.startswith("REID_")}
        return {**mine, **who, "PATH": path, "PYTHONPATH": str(self.folder), **ALONE}

    def run(self, *words, fails=False):
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert (done.returncode != 0) == fails, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *words):
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def outputs(self):
        """SHA-256 of every output that dvc.yaml declares and that repeats to the byte; of folders, of their files."""
        from dvc.repo import Repo

        outs = [Path(out.fs_path) for stage in Repo(str(self.folder)).index.stages for out in stage.outs]
        outs = [out for out in outs if not out.name.endswith(".provenance.json") and out.parent.name != "inputs"]
        paths = sorted(path for out in outs for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file())
        return {os.path.relpath(p, self.folder): hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths}

    def would_run(self, *targets):
        """Which rules Snakemake would run, with their jobs."""
        said = self.run("snakemake", "--cores", "8", "-n", *(targets or ["submission"]))
        if "Nothing to be done" in said:
            return {}
        table = said.split("Job stats:")[-1].split("\n\n")[0].splitlines()
        return {row.split()[0]: int(row.split()[1]) for row in table if row and row.split()[-1].isdigit()}
