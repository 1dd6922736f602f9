"""Files that appear whole or not at all, and the few formats that every stage writes."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from reid.core import file_type
from reid.core.checksums import Sums, read_verified, sum_file, sums_path, write_sums
from reid.core.errors import ReidError
from reid.core.forms import short

WRITTEN: list[Path] = []  # by this process, in order, for the program to tell
_CSV, _JSON = 1 << 24, 1 << 26  # bytes that a file may have: far beyond what the true size needs
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def replacing(path: Path | str, sums: Callable[[], Sums] | None = None) -> Iterator[Path]:
    """Write beside ``path`` and rename at the end, so that ``path`` is never seen half-written.

    Yields the temporary path. If the body raises, the temporary file is removed and ``path`` is left as it was. A
    process that is killed leaves the temporary file (``.NAME.partial``), which the next run removes. The digests of
    the file lie beside it (:mod:`reid.core.checksums`).

    Args:
        path: the file to make; missing parent folders are made.
        sums: gives the digests after the body; by default the file is read once more for them.

    Yields:
        Path: where to write, in the same folder.

    Raises:
        ReidError: the disk is full, or the file must not be written there.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise ReidError(f"{path}: is a directory; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReidError(f"{path}: its folder cannot be made ({error.strerror})") from error
    partial, written = path.with_name(f".{path.name}.partial"), False
    try:
        partial.unlink(missing_ok=True)  # a pipe would hang, and a link be written through
    except OSError as error:
        reason = f"{partial.name} beside it is a directory" if os.path.isdir(partial) else error.strerror
        raise _unwritable(path, error, reason) from error
    try:
        yield partial
        written = True
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        write_sums(path, sums() if sums else sum_file(partial), partial)
        WRITTEN.append(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.truncate(partial, 0)  # its room is free at once, though a worker process may hold it open
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # some libraries name the file in the text alone
            ours = written or error.filename in (str(path), str(partial)) or str(partial) in str(error)
            if ours or error.errno in _FULL:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise _unwritable(path, error, reason) from error
        raise


def _unwritable(path: Path, error: OSError, reason: str | None) -> ReidError:
    if error.errno in _FULL:
        return ReidError(f"{path}: the disk is full or a quota used up; free some space and run again")
    return ReidError(f"{path}: cannot be written ({reason})")


def tell_written() -> str:
    """What this process wrote and is still there, in the order of writing: many files of a folder by their number."""
    paths = [path for path in dict.fromkeys(WRITTEN) if path.exists()]
    counts = Counter(path.parent for path in paths)
    told = [
        f"{path.parent}/ ({counts[path.parent]} files)" if counts[path.parent] > 4 else str(path) for path in paths
    ]
    return ", ".join(dict.fromkeys(told))


def write_json(path: Path | str, content: Any) -> None:
    """Write ``content`` as JSON: the same content gives the same bytes. Keys keep their order."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as partial:
        # names of files need not be text; what is no UTF-8 becomes an escape of JSON
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


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


def rewrite(path: Path | str, content: bytes) -> None:
    """Give a file that people keep another content: behind a link too, with its rights, and without digests.

    Raises:
        ReidError: as :func:`replacing`.
    """
    path = Path(os.path.realpath(path) if os.path.islink(path) else path)
    with replacing(path) as partial:
        partial.write_bytes(content)
        shutil.copymode(path, partial)
    sums_path(path).unlink(missing_ok=True)  # people edit it


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
        content = read_verified(regular(path, maker), _CSV)
        return list(_rows(content.decode("utf-8-sig"), columns, delimiter))
    except OSError as error:
        raise ReidError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        what = file_type.describe_bytes(content[:512])
        raise ReidError(f"{path}: is not the table expected (it is {what}); make it with {maker}") from error
    except (ValueError, csv.Error) as error:
        raise ReidError(f"{path}: is not the table expected ({error}); make it with {maker}") from error


def _rows(text: str, columns: dict[str, Callable[[str], Any]], delimiter: str) -> Iterator[dict[str, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next(reader, [])
    for name in columns:
        if header.count(name) != 1:
            raise ValueError(
                f"it has {'several columns' if name in header else 'no column'} {name}; "
                f"it is {file_type.describe_bytes(text[:512].encode())}"
            )
    if not text.endswith("\n"):
        raise ValueError("its last line is cut short")
    for row in filter(None, reader):  # blank lines are none
        if len(row) != len(header):
            raise ValueError(f"line {reader.line_num} has {len(row)} values for {len(header)} columns")
        values = dict(zip(header, row, strict=True))
        try:
            yield {name: of(values[name]) for name, of in columns.items()}
        except ValueError as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error


def read_json(path: Path | str, limit: int = _JSON, maker: str = "") -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        limit: bytes that it may have at most.
        maker: the program that makes it, for messages.

    Raises:
        ReidError: the file is missing, too large, or not JSON; a key stands twice in an object, or a number is none
            (NaN, Infinity, 1e400).
    """
    try:
        return parse_json(read_verified(regular(path, maker), limit), str(path))
    except OSError as error:
        raise ReidError(f"{error.filename or path}: cannot be read ({error.strerror})") from error


def put_table(path: Path | str, name: str, text: str) -> None:
    """Put a table, of lines that LF ends, between ``<!-- NAME -->`` and ``<!-- end -->`` of a Markdown file.

    All else stays to the byte, and the table's lines end as that of the first comment.

    Raises:
        ReidError: as :func:`table_place`.
    """
    before, after = table_place(path, name)
    if before.endswith("\r\n"):
        text = text.replace("\n", "\r\n")
    rewrite(path, f"{before}{text}{after}".encode())


def table_place(path: Path | str, name: str) -> tuple[str, str]:
    """What stands before and after the place for a table in a Markdown file, its comments included.

    Raises:
        ReidError: there is no such file, or it has no such place.
    """
    try:
        page = regular(path).read_bytes().decode()  # with its ends of lines
    except UnicodeDecodeError as error:
        raise ReidError(f"{path}: is not UTF-8 text; it is {file_type.describe(path)}") from error
    place = re.search(rf"(.*?<!-- {re.escape(name)} -->\r?\n).*?(<!-- end -->.*)", page, re.DOTALL)
    if not place:
        raise ReidError(f"{path}: has no place for the table, <!-- {name} --> and <!-- end -->")
    return place[1], place[2]


MOST_NESTED = 500  # lists and objects inside each other
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _depth(content: bytes) -> int:
    """How deep brackets are nested at the most."""
    import numpy as np  # a twentieth of a second, which programs that read no JSON need not wait

    brackets = np.frombuffer(content.translate(None, _NO_BRACKETS), np.uint8)
    opens = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opens, 1, -1)).max(initial=0))


def parse_json(content: bytes, name: str) -> Any:
    """JSON as :func:`read_json` takes it; ``name`` is what messages call it.

    Raises:
        ReidError: as there.
    """

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            twice = next(key for key, times in Counter(key for key, _ in items).items() if times > 1)
            raise ReidError(f"{name}: the key {short(twice)} stands twice in an object")
        return result

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise ReidError(f"{name}: {short(text)[1:-1]} is not a finite number")
        return number

    # Python's own limit differs between its versions; texts are taken out only where it matters
    if _depth(content) > MOST_NESTED and _depth(_TEXT.sub(b"", content)) > MOST_NESTED:
        raise ReidError(f"{name}: is nested too deeply")
    try:
        return json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=unique, parse_float=finite, parse_constant=finite
        )
    except RecursionError as error:
        raise ReidError(f"{name}: is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ReidError(f"{name}: is not UTF-8 text; it is {file_type.describe_bytes(content[:512])}") from error
    except json.JSONDecodeError as error:
        kind = file_type.describe_bytes(content[:512])
        raise ReidError(f"{name}: is not valid JSON ({error}); it is {kind}") from error
    except ValueError as error:  # Python reads no more digits than this
        raise ReidError(f"{name}: a number in it has more than {sys.get_int_max_str_digits():,} digits") from error


def regular(path: Path | str, maker: str = "") -> Path:
    """A path that names a regular file, perhaps by a link; pipes would hang, and devices have no end.

    Args:
        path: the file.
        maker: the program that makes it, for messages.

    Raises:
        ReidError: it does not.
    """
    if not os.path.isfile(path):
        what = file_type.describe(path)
        problem = "there is no such file" if what == "missing" else f"is {what}, not a file"
        raise ReidError(f"{path}: {problem}" + (f"; make it with {maker}" if maker else ""))
    return Path(path)


def as_text(path: Path | str) -> str:
    """A path for libraries that take no other than text.

    Raises:
        ReidError: it is not UTF-8, which names of files need not be.
    """
    try:
        os.fspath(path).encode()
        return os.fspath(path)
    except UnicodeEncodeError as error:
        raise ReidError(f"{path}: its path is not UTF-8, and safetensors opens no such file; rename it") from error


def sha256(path: Path | str) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
