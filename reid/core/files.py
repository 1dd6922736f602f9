"""Files that appear whole or not at all, and the few formats that every stage writes."""

import contextlib
import csv
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from reid.core.errors import ReidError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Write beside ``path`` and rename at the end, so that ``path`` is never seen half-written.

    Yields the temporary path. If the body raises, the temporary file is removed and ``path`` is left as it was. A
    process that is killed leaves the temporary file (``.NAME.partial``), which the next run overwrites.

    Args:
        path: the file to make; missing parent folders are made.

    Yields:
        Path: where to write, in the same folder.

    Raises:
        ReidError: the disk is full, or the file must not be written there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReidError(f"{path}: its folder cannot be made ({error.strerror})") from error
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ReidError(f"{path}: the disk is full or a quota used up; free some space and run again") from error
        if isinstance(error, OSError) and str(error.filename) in (str(partial), str(path)):
            raise ReidError(f"{path}: cannot be written ({error.strerror})") from error
        raise


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as JSON: the same content gives the same bytes. Keys keep their order."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV: floats so that they read back the same, None as nothing, lines ended by LF.

    Args:
        path: the file to make.
        header: names of the columns.
        rows: iterable of iterables, one value per column.
    """
    with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(
    path: Path | str, columns: dict[str, Callable[[str], Any]], maker: str, delimiter: str = ","
) -> list[dict[str, Any]]:
    """Read a table of text.

    Args:
        path: the file; its first line names the columns.
        columns: dict from the name of each column wanted to a function from its text to its value.
        maker: the program that makes such a file, for messages.
        delimiter: what stands between columns.

    Returns:
        list of dict: name to value, one per row

    Raises:
        ReidError: the file is missing, lacks a column, or holds what a column cannot hold.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
                raise ValueError(f"it has no column {missing[0]}")
            return [{name: of(row[name]) for name, of in columns.items()} for row in rows]
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror}); make it with {maker}") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise ReidError(f"{path}: is not the table expected ({error}); make it with {maker}") from error


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        ReidError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ReidError(f"{path}: is not valid JSON ({error})") from error


def sha256(path: Path | str, progress: Callable[[int], Any] | None = None) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits, read in blocks of 8 MB.

    Args:
        path: the file.
        progress: called with the number of bytes after each block.
    """
    digest = hashlib.sha256()
    block = memoryview(bytearray(8 << 20))
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(block):
            digest.update(block[:size])
            if progress:
                progress(size)
    return digest.hexdigest()
