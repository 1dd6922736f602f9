"""Arrays of a TorchScript archive (OpenAI's CLIP), read without its code: what is pickled in it is taken as data.

Every class and function that the pickle names is replaced by one that only keeps what it is called with.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_DEEPEST = 64  # modules inside modules


class _Named:
    """What a pickle makes of something by its name: the name, and what it was made of."""

    name = ""

    def __new__(cls, *arguments: Any) -> "_Named":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(self.state, dict):
            self.state[key] = value


class _Storage(NamedTuple):
    """Numbers of a tensor: the class that they had, and the file in the archive."""

    kind: str
    key: str


class _Unpickler(pickle._Unpickler):  # the one in C takes as much memory as a number in the file says
    """A reader of pickles that imports nothing and calls nothing but :class:`_Named`."""

    def find_class(self, module: str, name: str) -> Any:
        return type("_Named", (_Named,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        kind, key = pid[1], pid[2]
        return _Storage(kind.name.rpartition(".")[2], str(key))


def read_torchscript(path: Path | str) -> dict[str, torch.Tensor]:
    """Arrays of a TorchScript archive by the names of its modules.

    Args:
        path: a zip whose sizes and checksums are known to be sound.

    Raises:
        ValueError, TypeError, KeyError, ...: it is not what torch.jit.save writes.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        root = pickled.removesuffix("data.pkl")
        storages: dict[_Storage, torch.Tensor] = {}

        def numbers(storage: _Storage) -> torch.Tensor:
            if storage not in storages:
                content = bytearray(archive.read(f"{root}data/{storage.key}"))
                storages[storage] = torch.frombuffer(content, dtype=_DTYPES[storage.kind])
            return storages[storage]

        whole = _Unpickler(io.BytesIO(archive.read(pickled))).load()
        return {name: _tensor(made, numbers) for name, made in _tensors(whole)}


def _tensors(whole: Any) -> Iterator[tuple[str, _Named]]:
    """Tensors inside modules inside modules, by their dotted names, each module once."""
    known: set[int] = set()
    waiting = [("", whole, 0)]
    while waiting:
        name, made, depth = waiting.pop()
        if not isinstance(made, _Named) or id(made) in known or depth > _DEEPEST:
            continue
        if made.name == _TENSOR:
            yield name, made
        elif isinstance(made.state, dict):
            known.add(id(made))
            inside = [(f"{name}.{key}" if name else str(key), value) for key, value in made.state.items()]
            waiting += [(key, value, depth + 1) for key, value in reversed(inside)]


def _tensor(made: _Named, numbers: Any) -> torch.Tensor:
    storage, offset, shape, strides, *_ = made.arguments
    content = numbers(storage)
    end = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    negative = any(number < 0 for number in (offset, *shape, *strides))
    if negative or end >= len(content) or math.prod(shape) > len(content):
        raise ValueError(f"a tensor of {list(shape)} is not in {storage.key}")
    return content.as_strided(shape, strides, offset)
