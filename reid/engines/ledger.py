"""Keep DVC's ledger and Snakemake in step.

record: after `snakemake`, enter what it made into dvc.lock and DVC's cache. Refused while Snakemake would still run
something: an outdated file beside new parameters would be a false record.

adopt: after `dvc pull`, `dvc checkout` or `dvc exp apply`, tell Snakemake that what DVC restored is up to date. The
files have the times of their copying, and Snakemake has no record of them; what the ledger confirms is touched in the
order of the workflow. Nothing is run.
"""

import subprocess
import sys

from dvc.repo import Repo

from reid.core import cli
from reid.core.errors import ReidError
from reid.engines.workflow import forget_other_models
from reid.params.reading import read_params


def snakemake(*options: str) -> str:
    """Run Snakemake for the target ``submission``; returns what it said."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options, "--", "submission"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise ReidError(f"snakemake {' '.join(options)} failed:\n{done.stdout}")
    return done.stdout


def record() -> None:
    """Enter a finished run into dvc.lock."""
    if "Nothing to be done" not in snakemake("--dry-run"):
        raise ReidError("Snakemake would still run something: `snakemake --cores 8 submission` first, then record")
    repo = Repo(".")
    repo.commit(force=True)
    if changed := repo.status():
        raise ReidError(f"these stages still differ from dvc.lock: {', '.join(sorted(changed))}; see `dvc status`")
    print("dvc.lock holds this run")


def adopt() -> None:
    """Let Snakemake take what DVC confirms for up to date."""
    params = read_params()
    forget_other_models([*params.models, *params.external_models])
    if changed := Repo(".").status():
        raise ReidError(
            f"these stages differ from dvc.lock: {', '.join(sorted(changed))}. `dvc repro` brings them up to date "
            "(what DVC keeps is taken from its cache); `dvc status` says what differs"
        )
    snakemake("--touch", "--forceall")
    print("Snakemake takes all files for up to date")


if __name__ == "__main__":
    commands = {"record": record, "adopt": adopt}
    parser = cli.parser(__doc__)
    parser.add_argument("command", choices=commands)
    cli.run(lambda args: commands[args.command](), parser)
