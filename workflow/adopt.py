"""Tell Snakemake that the files which DVC restored are up to date.

After `dvc pull`, `dvc checkout` or `dvc exp apply` the files have the times of their copying, and Snakemake has no
record of them. What DVC's ledger confirms is touched in the order of the workflow; nothing is run.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from dvc.repo import Repo

from reid import cli
from reid.errors import ReidError
from reid.params import read_params


def main(args):
    import engine

    engine.forget_other_models(read_params().models)
    changed = Repo(".").status()
    if changed:
        raise ReidError(
            f"these stages differ from dvc.lock: {', '.join(sorted(changed))}. `dvc repro` brings them up to date "
            "(what DVC keeps is taken from its cache); `dvc status` says what differs"
        )
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all"]
    if subprocess.run([*command, "--", "submission"]).returncode:
        raise ReidError("snakemake --touch failed; see its message above")
    print("Snakemake takes all files for up to date")


if __name__ == "__main__":
    cli.run(main, cli.parser(__doc__))
