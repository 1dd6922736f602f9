"""Compare what lies under data/ and results/ with what was recorded of it: `make verify`.

Two records are there: the digests that a program writes beside each file that it makes, and the MD5 in dvc.lock. Each
file that differs or is missing is named, with the command that makes it again. Ends with status 1 if one differs; that
one is missing is no fault, for DVC does not bring zips, stores and pretrained weights.
"""

import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from reid.core import cli
from reid.core.checksums import difference, in_ledger, ledger_stages, read_sums, recorded
from reid.core.errors import ReidError
from reid.lineage.lock import declared

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


def maker(path: Path, outs: Collection[str]) -> str | None:
    """The command that makes a file or folder again; None if none of the pipeline's does.

    Args:
        path: from the project's folder.
        outs: what the present stages make.
    """
    match path.parts:
        case "data", "inputs", *_:
            return "dvc repro workflow/inputs/dvc.yaml:inputs"
        case "data", "studies", *_:
            return "python scripts/study.py NAME"
        case "results", "studies", name, *_:
            return f"python scripts/study.py {shlex.quote(name)}"
    if not {str(place) for place in (path, *path.parents)} & set(outs):
        return None
    return f"snakemake --cores 8 {shlex.quote(str(path)) if path.suffix else 'submission'}"  # no folder is a target


def main() -> None:
    entries = ledger_stages(Path("dvc.lock"))
    try:
        stages = declared()
    except ReidError as error:  # what was written is known all the same
        cli.log.warning("%s; so all of dvc.lock counts, also stages that there are no more", error)
        stages = {name: [] for name in entries}
    outs = {path for paths in stages.values() for path in paths}
    ledger = recorded(entries.values())
    results = {path: check(path, ledger) for path in files()}
    present = map(Path, recorded([entry for name, entry in entries.items() if name in stages]))
    missing = [path for path in present if path.parts[0] in FOLDERS and not path.exists()]
    wrong = {path: problem for path, problem in results.items() if problem}
    unknown = [path for path, problem in results.items() if problem is None]
    for path, problem in wrong.items():
        words = [f"rm {shlex.quote(str(path))}", maker(path, outs)]
        print(f"{path}: {problem}\n    {' && '.join(filter(None, words))}")
    for path in missing:
        print(f"{path}: is in dvc.lock and not here\n    {maker(path, outs) or 'snakemake --cores 8 submission'}")
    for path in unknown:
        print(f"{path}: nothing is recorded of it")
    print(f"{len(results)} files: {len(results) - len(wrong) - len(unknown)} as recorded, {len(wrong)} differ")
    if wrong:
        raise ReidError(f"{len(wrong)} files differ from what was written; remove them and run again")


if __name__ == "__main__":
    cli.run(lambda args: main(), cli.parser(__doc__))
