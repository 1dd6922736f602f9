"""Compare what lies under data/ and results/ with what was recorded of it: `make verify`.

Two records are there: the digests that a program writes beside each file that it makes, and the MD5 in dvc.lock. Each
file that differs or is missing is named, with the command that makes it again. Ends with status 1 if one differs or
cannot be read; that one is missing is no fault, for DVC does not bring zips, stores and pretrained weights, nor that
dvc.lock records another than the program wrote: a run that was not recorded is like that.
"""

import os
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from reid.core import cli, file_type
from reid.core.checksums import difference, in_ledger, ledger_stages, read_sums, recorded, sums_path
from reid.core.errors import ReidError
from reid.lineage.lock import declared

FOLDERS = ("data", "results")


_UNRECORDED = (
    "is as it was written, but dvc.lock records another: was it put there, or made without `make record` after it?"
)


def files(unread: Callable[[OSError], object]) -> Iterator[Path]:
    """Everything that a run made, but for hidden files, and folders that lie where it made a file.

    ``unread`` is called for each folder that cannot be read.
    """
    for folder in filter(os.path.lexists, FOLDERS):
        found = []
        for place, within, names in os.walk(folder, onerror=unread):
            found += [Path(place, name) for name in names]
            found += [path for name in within if os.path.lexists(sums_path(path := Path(place, name)))]
        yield from sorted(path for path in found if not path.name.startswith("."))


def check(path: Path, ledger: dict[str, str]) -> str | None:
    """What is wrong with a file; an empty text if nothing is, None if nothing is recorded of it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        sums = read_sums(path)
    except ReidError as error:
        return str(error)
    if sums is None and str(path) not in ledger:
        return None
    if not path.is_file():
        return f"is {file_type.describe(path)}, not a file"
    if in_ledger(path, ledger):
        return ""
    problem = "differs from dvc.lock" if sums is None else difference(path, sums)
    return problem or (_UNRECORDED if str(path) in ledger else "")


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
    present = recorded([entry for name, entry in entries.items() if name in stages])
    made = [Path(path) for path in present if Path(path).parts[0] in FOLDERS]
    folders = [path for path in made if os.path.isdir(path) and not present[str(path)].endswith(".dir")]
    results: dict[Path, str | None] = {}
    unread: dict[Path, OSError] = {}
    for path in dict.fromkeys([*files(lambda error: unread.update({Path(error.filename): error})), *folders]):
        try:
            results[path] = check(path, ledger)
        except OSError as error:
            unread[path] = error
    missing = [path for path in made if not os.path.lexists(path) and not unread.keys() & set(path.parents)]
    wrong = {path: problem for path, problem in results.items() if problem and problem != _UNRECORDED}
    unknown, other = ([path for path, found in results.items() if found == what] for what in (None, _UNRECORDED))

    def say(line: str) -> None:
        print(cli.plain(line))

    for path, problem in wrong.items():
        words = [f"rm {'-r ' * os.path.isdir(path)}{shlex.quote(str(path))}", maker(path, outs)]
        say(f"{path}: {problem}\n    {' && '.join(filter(None, words))}")
    for path, refused in unread.items():
        say(f"{path}: cannot be read ({refused.strerror})")
    for path in missing:
        say(f"{path}: is in dvc.lock and not here\n    {maker(path, outs) or 'snakemake --cores 8 submission'}")
    for path in unknown:
        say(f"{path}: nothing is recorded of it")
    for path in other:
        say(f"{path}: {_UNRECORDED}")
    good = len(results) - len(wrong) - len(unknown) - len(other)
    more = f", {len(other)} as written and not in dvc.lock" if other else ""
    print(f"{len(results)} files: {good} as recorded{more}, {len(wrong)} differ")
    if wrong:
        raise ReidError(f"{len(wrong)} files differ from what was written; remove them and run again")
    if unread:
        raise ReidError(f"{len(unread)} files or folders cannot be read; give this user the right to and run again")


if __name__ == "__main__":
    cli.run(lambda args: main(), cli.parser(__doc__))
