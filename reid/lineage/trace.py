"""What made a file: found by its content in this folder, in Git's history and in DVC's ledger of every commit."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from reid.core import checksums, dvc_lock
from reid.core.cli import log
from reid.core.errors import ReidError
from reid.core.files import parse_json, read_json, regular, sha256
from reid.params.parsing import parse


class Origin(NamedTuple):
    """One place that knows a file: what it is called there, where that was found, the commit, and parameters."""

    path: str
    where: str
    commit: str | None
    parameters: dict[str, Any] | None
    get_back: list[str]


def _git(*words: str) -> bytes:
    try:
        return subprocess.run(["git", *words], capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise ReidError("git is not installed; it is needed to look into the history") from error
    except subprocess.CalledProcessError as error:
        raise ReidError(f"git {words[0]} failed: {error.stderr.decode(errors='replace').strip()}") from error


def trace(path: Path) -> list[Origin]:
    """Everything here that knows a file of this content, the present folder first, then the oldest commit.

    Args:
        path: a ranking, checkpoint, metrics file or anything else that a run made, under any name.

    Raises:
        ReidError: it is missing.
    """
    digest = sha256(regular(path))
    return [*_in_folder(path, digest), *_in_history(path, checksums.md5(path), digest)]


def _in_folder(path: Path, digest: str) -> Iterator[Origin]:
    size = path.stat().st_size
    for place in sorted(Path("results").rglob("*.provenance.json")):
        try:
            record = read_json(place)
        except ReidError as error:
            log.warning("passed over: %s", error)
            continue
        yield from _in_record(record, str(place), None, digest)
    for other in sorted(Path("results").rglob("*")):
        same = other.is_file() and not other.name.startswith(".") and other.stat().st_size == size
        if same and other.resolve() != path.resolve() and sha256(other) == digest:
            yield Origin(str(other), "the same file lies in this folder", None, None, [])


def _in_record(record: Any, name: str, commit: str | None, digest: str) -> Iterator[Origin]:
    """What a provenance record knows of a file; nothing if it is another kind of JSON."""
    try:
        known = [record["submission"], *record["inputs"], *record["checkpoints"]]
        hit = next((item for item in known if item.get("sha256") == digest), None)
        if hit is None:
            return
        made_by = record["code"]["commit"]
        clean = "" if record["code"]["clean"] else " with changes (see the record)"
        at = made_by or commit
        yield Origin(hit["path"], f"{name}: made at {record['time']}{clean}", at, record["parameters"], _back(at))
    except (KeyError, TypeError, AttributeError):
        return


def _back(commit: str | None) -> list[str]:
    return [f"git checkout {commit}", "dvc checkout  # or dvc pull", "make adopt"] if commit else []


def _in_history(path: Path, md5: str, digest: str) -> Iterator[Origin]:
    if not Path(".git").exists():
        return
    # the oldest first: it is the one that made the file; refs of DVC's experiments are among --all
    commits = _records(_git("log", "-z", "--all", "--reverse", "--format=%H %cs %s"))
    seen: set[str] = set()
    own = _git("hash-object", "--no-filters", "--", str(path)).decode().strip()
    for commit, subject in (line.split(" ", 1) for line in commits):
        for line in _records(_git("ls-tree", "-rz", commit, "--", "dvc.lock", "results")):
            about, name = line.split("\t", 1)
            blob = about.split()[2]
            where = f"commit {commit[:10]} ({subject})"
            if blob == own:
                back = [f"git show {shlex.quote(f'{commit}:{name}')}"]
                yield Origin(name, f"in Git, {where}", commit, _params(commit), back)
            if blob in seen:
                continue
            seen.add(blob)
            if name == "dvc.lock":
                yield from _in_ledger(_git("cat-file", "blob", blob), where, commit, md5)
            elif name.endswith(".provenance.json"):
                yield from _in_record(_committed(blob), f"{name} of {where}", commit, digest)


def _records(output: bytes) -> list[str]:
    """What Git ends with NUL each: names and subjects hold any other character."""
    return os.fsdecode(output).split("\0")[:-1]


def _committed(blob: str) -> Any:
    """JSON of Git's history; None if it is none."""
    try:
        return parse_json(_git("cat-file", "blob", blob), blob)
    except ReidError:
        return None


def _in_ledger(content: bytes, where: str, commit: str, md5: str) -> Iterator[Origin]:
    """What a ``dvc.lock`` knows of a file."""
    try:
        stages = dvc_lock.stages(content)
    except ValueError:
        return
    for stage, entry in stages.items():
        for out in entry["outs"]:
            if out.get("md5") == md5:
                kept = Path(".dvc/cache/files/md5", md5[:2], md5[2:]).exists()
                cache = "" if kept else "; not in DVC's cache here, `dvc fetch` may bring it"
                back = [f"dvc get . {out['path']} --rev {commit[:10]} -o COPY", *_back(commit)]
                yield Origin(out["path"], f"stage {stage} of {where}{cache}", commit, _params(commit), back)


def _params(commit: str) -> dict[str, Any] | None:
    try:
        content = parse(_git("show", f"{commit}:params.yaml"), "params.yaml")
    except ReidError:  # it is not there, or another kind of file
        return None
    return content if isinstance(content, dict) else None
