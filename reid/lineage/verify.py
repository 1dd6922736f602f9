"""Compare what lies under data/ and results/ with what was recorded of it: `make verify`.

Two records are there: the digests that a program writes beside each file that it makes, and the MD5 in dvc.lock. Each
difference is named, with the command that makes the file again. Ends with status 1 if there is one.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

from reid.core import cli
from reid.core.checksums import difference, in_ledger, read_sums, recorded
from reid.core.errors import ReidError

FOLDERS = ("data", "results")


def files(folders: tuple[str, ...] = FOLDERS) -> Iterator[Path]:
    """Everything that a run made, but for hidden files."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield path


def check(path: Path, ledger: dict[str, str]) -> str | None:
    """What is wrong with a file; an empty text if nothing is, None if nothing is recorded of it."""
    try:
        sums = read_sums(path)
    except ReidError as error:
        return str(error)
    if sums is not None:
        problem = difference(path, sums)
        return "" if problem is None or in_ledger(path, ledger) else problem
    if str(path) in ledger:
        return "" if in_ledger(path, ledger) else "differs from dvc.lock"
    return None


def main() -> None:
    ledger = recorded(Path("dvc.lock"))
    results = {path: check(path, ledger) for path in files()}
    missing = [name for name in ledger if Path(name).parts[0] in FOLDERS and not Path(name).exists()]
    wrong = {path: problem for path, problem in results.items() if problem}
    unknown = [path for path, problem in results.items() if problem is None]
    for path, problem in wrong.items():
        name = shlex.quote(str(path))
        print(f"{path}: {problem}\n    rm {name} && snakemake --cores 8 {shlex.quote(name)}")
    for name in missing:
        print(f"{name}: is in dvc.lock and not here\n    snakemake --cores 8 {shlex.quote(name)}")
    for path in unknown:
        print(f"{path}: nothing is recorded of it")
    print(f"{len(results)} files: {len(results) - len(wrong) - len(unknown)} as recorded, {len(wrong)} differ")
    if wrong:
        raise ReidError(f"{len(wrong)} files differ from what was written; remove them and run again")


if __name__ == "__main__":
    cli.run(lambda args: main(), cli.parser(__doc__))
