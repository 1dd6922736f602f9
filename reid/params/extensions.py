"""The modules of ``extensions/`` at the project's root, which add parts to the registries."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import reid
from reid.core.cli import of_memory
from reid.core.errors import ReidError
from reid.core.files import sha256
from reid.params.registries import ALL

FOLDER = Path(reid.__file__).resolve().parents[1] / "extensions"
_PACKAGE = "reid_extensions."  # under which their modules are known to Python


def files(folder: Path = FOLDER) -> list[Path]:
    """All files below the folder, by path: extensions, and what they may import and read.

    They are those that DVC sees there: neither hidden ones nor what Python makes (.dvcignore).
    """
    found = (path for path in folder.rglob("*") if path.is_file() and path != folder / "README.md")
    return sorted(path for path in found if not any(map(_passed_over, path.relative_to(folder).parts)))


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def digests() -> dict[str, str]:
    """SHA-256 of each of :func:`files`, by its path in the folder: what a result of extensions is made of."""
    return {path.relative_to(FOLDER).as_posix(): sha256(path) for path in files(FOLDER)}


def load(folder: Path = FOLDER) -> None:
    """Run every extension once; again only what is new. They are the Python files of the folder itself.

    Raises:
        ReidError: a file cannot be run, or adds what is there already.
    """
    for path in files(folder):
        name = _PACKAGE + path.stem
        if path.parent != folder or path.suffix != ".py" or name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        before = [registry.snapshot() for registry in ALL]
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            for registry, state in zip(ALL, before, strict=True):
                registry.restore(state)
            raise ReidError(
                f"{path}{_line_in(module.__file__, error)}: the extension cannot be loaded "
                f"({type(error).__name__}: {error})"
            ) from error


def source(builder: object, error: BaseException | None = None) -> str:
    """The extension that a part comes from, for messages; nothing for our own.

    Args:
        builder: what builds the part (Registry.builder).
        error: whose line in the extension is told, if it came by there.

    Returns:
        str: ``" (extensions/NAME.py)"``, ``" (extensions/NAME.py, line 12)"`` or ``""``
    """
    name = getattr(builder, "__module__", "") or ""
    if not name.startswith(_PACKAGE):
        return ""
    line = _line_in(sys.modules[name].__file__, error) if error else ""
    return f" (extensions/{name.removeprefix(_PACKAGE)}.py{line})"


@contextlib.contextmanager
def named(builder: object, what: str, *others: object) -> Iterator[None]:
    """A context in which an error of an extension's part is one that names its file; errors of our own stay.

    So do those that say already what to do: of a ReidError, and for want of memory.

    Args:
        builder: what builds the part.
        what: the parameter and its value, for the message.
        others: what builds parts that work with it, any of which may have failed.

    Raises:
        ReidError: the extension failed.
    """
    try:
        yield
    except ReidError:
        raise
    except Exception as error:
        files = dict.fromkeys(source(one, error) for one in (builder, *others))
        if (file := "".join(files)) and not of_memory(error):
            raise ReidError(f"{what}{file} fails: {type(error).__name__}: {error}") from error
        raise


def _line_in(path: str | None, error: BaseException) -> str:
    """The line of a file that an error came by last."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    line, trace = "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == path:
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
