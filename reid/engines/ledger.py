"""Keep DVC's ledger and Snakemake in step.

record: after `snakemake`, enter what it made into dvc.lock and DVC's cache. Refused while Snakemake would still run
something: an outdated file beside new parameters would be a false record.

adopt: after `dvc pull`, `dvc checkout` or `dvc exp apply`, tell Snakemake that what DVC restored is up to date. The
files have the times of their copying, and Snakemake has no record of them; what the ledger confirms is touched in the
order of the workflow. Nothing is run.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import psutil
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError

from reid.core import cli
from reid.core.errors import ReidError
from reid.engines import holder, outside
from reid.engines.stage import INPUTS, check
from reid.engines.workflow import forget_other_models
from reid.params.reading import read_params


@contextlib.contextmanager
def ledger() -> Iterator[Repo]:
    """DVC's view of this folder, which nobody else changes meanwhile.

    Raises:
        ReidError: DVC does not know this folder, or is at work in it.
    """
    try:
        repo = Repo(".")
        with lock_repo(repo):
            yield repo
    except LockError as error:
        raise ReidError("a snakemake or dvc run is at work in this folder; wait for it to end") from error
    except (DvcException, SCMError) as error:
        raise ReidError(
            f"DVC: {str(error).strip()}. It needs a clone of the project, with its .dvc folder and its Git history"
        ) from error


def snakemake(*options: str) -> str:
    """Run Snakemake for the target ``submission``; returns what it said."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options, "--", "submission"]
    environment = holder.on_behalf_of(psutil.Process())
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if done.returncode:
        raise ReidError(f"snakemake {' '.join(options)} failed:\n{done.stdout}")
    return done.stdout


def differing(repo: Repo) -> str:
    """Names of the stages that differ from dvc.lock; the one that always runs is none of them."""
    always = {INPUTS: ["always changed"]}
    return ", ".join(sorted(name for name, why in repo.status().items() if always.get(name) != why))


def record() -> None:
    """Enter a finished run into dvc.lock."""
    with ledger() as repo:
        params = read_params()
        check(params)
        if "Nothing to be done" not in snakemake("--dry-run"):
            raise ReidError("Snakemake would still run something: `snakemake --cores 8 submission` first, then record")
        outside.record(params)
        repo.commit(force=True)
        if changed := differing(repo):
            raise ReidError(f"these stages still differ from dvc.lock: {changed}; see `dvc status`")
    print("dvc.lock holds this run")


def adopt() -> None:
    """Let Snakemake take what DVC confirms for up to date."""
    with ledger() as repo:
        params = read_params()
        check(params)
        forget_other_models([*params.models, *params.external_models])
        outside.record(params)
        if changed := differing(repo):
            raise ReidError(
                f"these stages differ from dvc.lock: {changed}. `dvc repro` brings them up to date (what DVC keeps is "
                "taken from its cache); `dvc status` says what differs"
            )
        snakemake("--touch", "--forceall")
    print("Snakemake takes all files for up to date")


if __name__ == "__main__":
    commands = {"record": record, "adopt": adopt}
    parser = cli.parser(__doc__)
    parser.add_argument("command", choices=commands)
    cli.run(lambda args: commands[args.command](), parser)
