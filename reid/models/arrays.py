"""Files of arrays by name, safetensors and PyTorch's own: what they are, and whether all they hold is numbers.

The first bytes decide what a file is, not its name. No code of a file is run.
"""

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch

from reid.core import checksums, file_type
from reid.core.errors import ReidError
from reid.core.files import as_text, parse_json, regular
from reid.models.torchscript import read_torchscript
from reid.params.parsing import shown

LARGEST = 1 << 35  # bytes, of a file and of what it unpacks to: the largest networks there are have a third of that
_HEADER = 1 << 24  # bytes of the header of safetensors, and of the pickle in a file of PyTorch's
_SQUEEZED = 20  # times that a zip may unpack to its own size; weights hardly shrink at all
_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # in what torch.save wrote before it wrote zips
_DEEPEST = 8  # dicts in a dict
_DAMAGED = "is damaged or only a part of the file"


class Arrays(NamedTuple):
    """What a safetensors file holds: arrays by name, and texts by key."""

    arrays: dict[str, torch.Tensor]
    metadata: dict[str, str]


def read_safetensors(path: Path | str, maker: str = "") -> Arrays:
    """Read a safetensors file, checked against the digests beside it if there are any.

    Args:
        path: the file.
        maker: the program that makes such a file, for messages.

    Raises:
        ReidError: it is missing, not what was written, or another kind of file; or an array in it is none of numbers.
    """
    _checked(path, maker)
    with open(path, "rb") as file:
        kind = file_type.describe_bytes(file.read(512))
    if kind != "a safetensors file":
        raise ReidError(f"{path}: is {kind}, not a safetensors file" + _made_by(maker))
    _check_header(Path(path))
    name = as_text(path)
    try:
        with safetensors.safe_open(name, "pt") as content:
            arrays = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
            metadata = content.metadata() or {}
    except (OSError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise ReidError(f"{path}: {_DAMAGED} ({shown(str(error))})" + _made_by(maker)) from error
    return Arrays(sound(arrays, path), metadata)


def _made_by(maker: str) -> str:
    return f"; make it with {maker}" if maker else ""


def _checked(path: Path | str, maker: str) -> None:
    size = regular(path, maker).stat().st_size
    if size > LARGEST:
        raise ReidError(f"{path}: has {size:,} bytes, and {LARGEST:,} is the most that weights can have")
    checksums.verify(path)


def _check_header(path: Path) -> None:
    """Check that a safetensors file is as long as its header says, before anything is made of it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER:
            raise ReidError(f"{path}: {_DAMAGED} (its header would have {length:,} bytes)")
        content = file.read(length)
    if len(content) < length:
        raise ReidError(f"{path}: {_DAMAGED} (it has {size:,} bytes, and its header alone {8 + length:,})")
    header = parse_json(content, f"{path}, its header")
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    try:
        whole = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries), default=0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ReidError(f"{path}: {_DAMAGED} (its header does not say where its arrays are)") from error
    if whole != size:
        raise ReidError(f"{path}: {_DAMAGED} (it has {size:,} bytes instead of {whole:,})")


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """Arrays of a file of anybody's by name: safetensors, what torch.save writes, or a TorchScript archive.

    Of checkpoints of a training (Torchreid's, MoCo's, DINO's, ...) the names begin with the keys that the arrays stand
    behind, as ``state_dict.module.conv1.weight``. What stands beside them is passed over: numbers, texts, dates,
    paths, NumPy's numbers, the options of argparse, ... NumPy's arrays of floating numbers count as arrays.

    Returns:
        dict: of which those that are used must be :func:`sound`

    Raises:
        ReidError: the file is missing, another kind of file, would run code, or holds no array.
    """
    kind = file_type.describe(path)
    if kind == "a safetensors file":
        content: Any = read_safetensors(path).arrays
    else:
        _checked(path, "")
        with open(path, "rb") as file:
            start = file.read(32)
        if not start.startswith(b"PK") and _MAGIC not in start:
            raise ReidError(f"{path}: is {kind}; weights are a safetensors file, or what torch.save writes")
        content = _load(path, start.startswith(b"PK") and _check_zip(path))
    if not isinstance(content, dict):
        raise ReidError(f"{path}: holds a {type(content).__name__}, not arrays by name (a state_dict)")
    arrays: dict[str, torch.Tensor] = {}
    for name, value in _arrays_inside(content):
        arrays.setdefault(_WRAPPERS.sub("", name), value)
    if not arrays:
        others = "".join(f", but {shown(repr(key))}, ..." for key in list(content)[:1])
        raise ReidError(f"{path}: holds no array{others}")
    return arrays


# what PyTorch puts into the names of modules that are compiled, shared between GPUs, or computed twice
_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def _arrays_inside(content: dict[Any, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Arrays in a dict and in those inside it, in their order; each dict once, for one can hold itself."""
    known: set[int] = set()

    def inside(part: dict[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
        known.add(id(part))
        for key, value in part.items():
            if not isinstance(key, str):
                continue  # as in the state of an optimizer
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.itemsize <= 8:
                yield prefix + key, torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
            elif isinstance(value, torch.Tensor):
                yield prefix + key, value
            elif isinstance(value, dict) and id(value) not in known and depth < _DEEPEST:
                yield from inside(value, f"{prefix}{key}.", depth + 1)

    return inside(content, "", 0)


def _check_zip(path: Path | str) -> bool:
    """Check what a zip holds and unpacks to before it is read; whether it is a TorchScript archive."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ReidError(f"{path}: {_DAMAGED} (a zip without its end; torch.save writes such)") from error
    with archive:
        members = archive.infolist()
        names = [Path(member.filename).name for member in members]
        if "data.pkl" not in names:
            holds = f"holds {shown(members[0].filename)}" if members else "is empty"
            raise ReidError(f"{path}: is a zip archive that torch.save did not write: it {holds}")
        whole, size = sum(member.file_size for member in members), Path(path).stat().st_size
        if whole > min(LARGEST, _SQUEEZED * size + _HEADER):
            raise ReidError(f"{path}: unpacks to {whole:,} bytes of {size:,}, which no weights do")
        pickled = sum(member.file_size for member in members if member.filename.endswith(".pkl"))
        if pickled > _HEADER:
            raise ReidError(f"{path}: has {pickled:,} bytes beside its arrays, and {_HEADER:,} is the most")
        _check_sums(path, archive)
    return "constants.pkl" in names


def _check_sums(path: Path | str, archive: zipfile.ZipFile) -> None:
    """Check each member against its checksum, which PyTorch does not; it writes 0 when it is told to make none."""
    for member in archive.infolist():
        try:
            if member.CRC and not member.is_dir():
                with archive.open(member) as file:
                    while file.read(1 << 22):
                        pass
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise ReidError(f"{path}: is damaged: {shown(member.filename)} in it is not what was saved") from error


def _load(path: Path | str, torchscript: bool) -> Any:
    """What torch.save wrote, of harmless classes only; PyTorch's advice to run the rest is not passed on."""
    try:
        if torchscript:
            return read_torchscript(path)
        # opened here, for of a name PyTorch would take the kind of file
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise a dozen kinds
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise ReidError(f"{path}: asks for more memory than this machine has") from error
        raise ReidError(f"{path}: {_reason(str(error))}") from error


_CLASS = re.compile(r"GLOBAL (\S+)|but got <class '([^']+)'|unrecognized function <\w+ '?([^'> ]+)")


def _reason(text: str) -> str:
    """What PyTorch could not read, in our words."""
    if of_class := _CLASS.search(text):
        name = next(group for group in of_class.groups() if group)
        return (
            f"holds a pickled {shown(name.strip('`.'))}, which is not made here, for it could run code; "
            "save the model's state_dict() alone"
        )
    if "legacy .tar format" in text:
        return "is of a PyTorch before 0.2; read it there and save it again"
    return f"{_DAMAGED} (it begins like what torch.save writes)"


def _harmless() -> list[Any]:
    """Classes beyond PyTorch's own that a file may hold: making one runs nothing."""
    import argparse
    import datetime
    import pathlib

    from numpy._core import multiarray

    made: list[Any] = [argparse.Namespace, datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone]
    made += [bytes, frozenset, np.dtype, np.ndarray, *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdFDSU"}]
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):  # the second before NumPy 2
        made += [(multiarray.scalar, f"{module}.scalar"), (multiarray._reconstruct, f"{module}._reconstruct")]
    for module in ("pathlib", "pathlib._local"):
        for kind in ("Path", "PosixPath", "PurePosixPath"):
            made.append((pathlib.PurePosixPath, f"{module}.{kind}"))
        for kind in ("WindowsPath", "PureWindowsPath"):
            made.append((pathlib.PureWindowsPath, f"{module}.{kind}"))
    return made


def sound(arrays: dict[str, torch.Tensor], path: Path | str) -> dict[str, torch.Tensor]:
    """Arrays that are dense and stored whole.

    Args:
        arrays: of a file, by name.
        path: the file, for messages.

    Raises:
        ReidError: one is not, or takes more memory than the file has for it.
    """
    for name, value in arrays.items():
        if problem := _problem(value):
            raise ReidError(f"{path}: {shown(name)} {problem}")
    numbers = sum(value.numel() for value in arrays.values())
    if numbers > LARGEST // 2:
        raise ReidError(f"{path}: holds {numbers:,} numbers, and {LARGEST // 2:,} is the most that weights can have")
    return {name: value.detach() for name, value in arrays.items()}


def _problem(value: torch.Tensor) -> str | None:
    """What keeps an array from being read, in words that follow its name."""
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"is no array, but of the type {type(value).__name__}"
    if value.layout is not torch.strided:
        return "is a sparse array, and weights are dense"
    if value.is_quantized:
        return "is quantised; save it as float32"
    if value.device.type == "meta":
        return "holds no numbers, its shape alone"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"has the shape {list(value.shape)}, for which the file has too few numbers"
    return None


def not_finite(value: torch.Tensor) -> str | None:
    """What an array holds that is no number, in words; None if all are numbers."""
    if value.is_floating_point() and value.element_size() == 1:
        value = value.float()  # PyTorch hardly computes with eight bits
    # a sum is three times as fast as a look at each, and of numbers it hardly ever overflows
    if not (value.is_floating_point() or value.is_complex()) or bool(torch.isfinite(value.sum())):
        return None
    if bool(torch.isnan(value).any()):
        return "holds NaN"
    return None if bool(torch.isfinite(value).all()) else "holds infinite numbers"


def misfit(value: torch.Tensor, own: torch.Tensor) -> str | None:
    """What keeps an array from being put where another is, in words that follow its name.

    Floating numbers of any width go into floating ones, whole ones into whole ones, also those written as floating.
    """
    if value.shape != own.shape:
        return f"has the shape {list(value.shape)} instead of {list(own.shape)}"
    kinds = _kind(value), _kind(own)
    # averaging a training's last checkpoints makes floating numbers of its counters
    averaged = kinds == (_FLOATING, _WHOLE) and not_finite(value) is None and bool((value == value.round()).all())
    if kinds[0] != kinds[1] and not averaged:
        return f"holds {kinds[0]} instead of {kinds[1]}"
    if problem := not_finite(value):
        return problem
    if own.is_floating_point() and value.dtype != own.dtype and not_finite(value.to(own.dtype)):
        return f"holds numbers beyond the range of {str(own.dtype).removeprefix('torch.')}"
    return None


def _kind(value: torch.Tensor) -> str:
    if value.is_complex():
        return "complex numbers"
    if value.dtype == torch.bool:
        return "truth values"
    return _FLOATING if value.is_floating_point() else _WHOLE


_FLOATING, _WHOLE = "floating numbers", "whole numbers"
