"""Two results of the same queries against each other: is one really better?

Both are resampled together, action by action, so that what makes an action hard for both is no part of the difference.
"""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reid.core.errors import ReidError
from reid.core.files import regular
from reid.core.tables import column, values
from reid.evaluation.intervals import Resamples, action_codes, mean_intervals
from reid.evaluation.queries import read_queries

Result = tuple[pa.Table, dict[str, Any]]  # scored queries, and what is known of them (reid.evaluation.queries)

_SAME = 1e-9  # differences of AP that rounding may make


def open_result(name: str, split: str) -> Result:
    """Find the scored queries of a result.

    Args:
        name: a Parquet file of scripts/evaluate.py or scripts/score_ranking.py; a folder of results; or a Git
            revision or DVC experiment of the project in the working folder. What is on disk goes first.
        split: whose queries are wanted of a folder or revision.

    Returns:
        (pyarrow.Table, dict): as :func:`reid.evaluation.queries.read_queries`

    Raises:
        ReidError: there is no such result.
    """
    return read_queries(*find_result(name, f"queries/{split}.parquet", "scripts/evaluate.py --queries"))


def find_result(name: str, place: str, maker: str) -> tuple[Path | bytes, str]:
    """Find a file of a result.

    Args:
        name: the file itself (Parquet); a folder of results; or a Git revision or DVC experiment of the project in the
            working folder. What is on disk goes first.
        place: of the file in a folder of results.
        maker: the program that makes it, for messages.

    Returns:
        (Path or bytes, str): the file or its content; what to call it in messages

    Raises:
        ReidError: there is no such result.
    """
    path = Path(name)
    if path.is_dir():
        path = path / place
        if not path.exists():
            raise ReidError(f"{path}: is missing; a folder of results has it from {maker}")
    if path.exists() or path.suffix == ".parquet":
        return regular(path), str(path)
    wanted = f"results/{place}"
    return _of_revision(name, wanted), f"{name}: {wanted}"


def _of_revision(revision: str, path: str) -> bytes:
    """Content of a file that Git or DVC tracks, as it was in a revision."""
    import dvc.api  # takes seconds
    from dvc.exceptions import DvcException, NotDvcRepoError, OutputNotFoundError, PathMissingError
    from dvc.scm import SCMError

    try:
        return dvc.api.read(path, rev=revision, mode="rb")
    except NotDvcRepoError as error:
        raise ReidError(
            f"{revision}: is no file or folder, and this folder is no DVC project with revisions"
        ) from error
    except (OutputNotFoundError, PathMissingError, FileNotFoundError) as error:
        raise ReidError(
            f"{revision}: {path} cannot be had; the revision did not make it, or it is not in DVC's cache here "
            f"(`dvc fetch --all-commits` brings it from a remote)"
        ) from error
    except (AttributeError, UnicodeError) as error:  # of a tree or a file in Git, and of a name that is no text
        kind = subprocess.run(["git", "cat-file", "-t", revision], capture_output=True).stdout.strip()
        if kind in (b"tree", b"blob") or not revision.isprintable():
            raise ReidError(f"{revision}: is no commit; name a Git revision or DVC experiment that is one") from error
        raise
    except (SCMError, DvcException) as error:
        reason = str(error).strip() or type(error).__name__
        raise ReidError(f"{revision}: is no file, folder, Git revision or DVC experiment here ({reason})") from error


def align(a: Result, b: Result, names: tuple[str, str]) -> tuple[pa.Table, pa.Table]:
    """Bring the queries of two results into one order.

    Args:
        a, b: of :func:`open_result`.
        names: what to call them in messages.

    Returns:
        (pyarrow.Table, pyarrow.Table): both by bbox_idx

    Raises:
        ReidError: they are not about the same queries and galleries.
    """
    splits = [about["split"] for _, about in (a, b)]
    if splits[0] != splits[1]:
        raise ReidError(f"{names[0]} is of {splits[0]} and {names[1]} of {splits[1]}; compare one split")
    one, other = (table.take(np.argsort(column(table, "bbox_idx"), kind="stable")) for table, _ in (a, b))
    ids, others = (column(table, "bbox_idx") for table in (one, other))
    for name, bbox in zip(names, (ids, others), strict=True):
        if (np.diff(bbox) == 0).any():
            raise ReidError(f"{name}: query {bbox[:-1][np.diff(bbox) == 0][0]} stands twice")
    if not np.array_equal(ids, others):
        alone = len(np.setdiff1d(ids, others)), len(np.setdiff1d(others, ids))
        raise ReidError(
            f"{names[0]} and {names[1]} have not the same queries: {alone[0]} are only in the first and {alone[1]} "
            "only in the second; score both on the same data"
        )
    for field in ("action_idx", "gallery_size", "positives"):
        first, second = (column(table, field) for table in (one, other))
        differ = np.flatnonzero(first != second)
        if len(differ):
            raise ReidError(
                f"{names[0]} and {names[1]} are not of the same data: query {ids[differ[0]]} has {field} "
                f"{first[differ[0]]} and {second[differ[0]]}; score both on the same data"
            )
    return one, other


def compare(a: pa.Table, b: pa.Table, resamples: int, seed: int, shown: int = 10) -> dict[str, Any]:
    """The difference of two results.

    Args:
        a, b: tables of ``reid.evaluation.queries``, aligned by :func:`align`.
        resamples, seed: of the bootstrap over actions.
        shown: how many queries to list at most.

    Returns:
        dict: ``queries``, ``actions``; ``mAP`` and ``rank-1``, each with ``a``, ``b``, ``difference`` (b - a),
        ``interval`` of it (95 %; None with one action) and ``differs`` (the interval leaves out 0); how many queries
        are ``better``, ``worse`` and the ``same`` by AP; ``moved``: the queries whose AP changed most, each with
        ``bbox_idx``, ``action_idx``, ``clazz``, ``before``, ``after``
    """
    action, actions = action_codes(values(a, "action_idx"))
    pair = {
        "mAP": [values(table, "AP") for table in (a, b)],
        "rank-1": [(values(table, "first_match_rank") == 1).astype(float) for table in (a, b)],
    }
    change = {name: after - before for name, (before, after) in pair.items()}
    intervals = mean_intervals(action, change, Resamples(actions, resamples, seed))
    result: dict[str, Any] = {"queries": len(a), "actions": actions}
    for name, (before, after) in pair.items():
        interval = intervals[name]
        result[name] = {
            "a": float(before.mean()),
            "b": float(after.mean()),
            "difference": float(change[name].mean()),
            "interval": interval,
            "differs": interval is not None and (interval[0] > 0 or interval[1] < 0),
        }
    return result | moved(a, pair["mAP"][0], pair["mAP"][1], shown)


def moved(queries: pa.Table, before: np.ndarray, after: np.ndarray, shown: int) -> dict[str, Any]:
    """How the AP of single queries changed.

    Args:
        queries: their table, of ``reid.evaluation.queries``.
        before, after: float array, the AP of each.
        shown: how many to list at most.

    Returns:
        dict: how many are ``better``, ``worse`` and the ``same``; ``moved``, as :func:`compare` has it
    """
    change = after - before
    most = np.lexsort((values(queries, "bbox_idx"), -np.round(np.abs(change), 9)))[:shown]
    rows = queries.select(["bbox_idx", "action_idx", "clazz"]).take(most).to_pylist()
    return {
        "better": int((change > _SAME).sum()),
        "worse": int((change < -_SAME).sum()),
        "same": int((np.abs(change) <= _SAME).sum()),
        "moved": [
            {**row, "before": float(before[i]), "after": float(after[i])}
            for row, i in zip(rows, most.tolist(), strict=True)
            if abs(change[i]) > _SAME
        ],
    }


def report(result: dict[str, Any], names: tuple[str, str]) -> str:
    """A difference in words.

    Args:
        result: of :func:`compare`.
        names: of the two results.

    Returns:
        str, several lines
    """
    lines = [f"A  {names[0]}", f"B  {names[1]}", f"{result['queries']} queries of {result['actions']} actions", ""]
    lines.append(f"{'':8}{'A':>9}{'B':>9}{'B - A':>10}   95 % interval")
    for name in ("mAP", "rank-1"):
        score = result[name]
        if score["interval"] is None:
            interval = "none: one action says nothing about others"
        else:
            interval = "{:+.4f} to {:+.4f}".format(*score["interval"])
            interval += "" if score["differs"] else "   includes 0: no difference shown"
        lines.append(f"{name:8}{score['a']:9.4f}{score['b']:9.4f}{score['difference']:+10.4f}   {interval}")
    lines += ["", f"AP: {result['better']} queries better in B, {result['worse']} worse, {result['same']} the same"]
    if result["moved"]:
        wide = max(len("class"), *(len(row["clazz"]) for row in result["moved"]))
        lines += ["", f"{'query':>8}{'action':>8}  {'class':{wide}}{'AP in A':>9}{'AP in B':>9}{'B - A':>10}"]
        lines += [
            f"{row['bbox_idx']:8}{row['action_idx']:8}  {row['clazz']:{wide}}{row['before']:9.4f}{row['after']:9.4f}"
            f"{row['after'] - row['before']:+10.4f}"
            for row in result["moved"]
        ]
    return "\n".join(lines)
