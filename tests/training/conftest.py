"""Extensions for the tests of a training."""

import sys

import pytest

from reid.params import extensions
from reid.params.registries import ALL


@pytest.fixture
def extend(tmp_path):
    """``extend(name, text)`` writes and loads an extension, which is forgotten after the test; returns its path."""
    registries, modules = [registry.snapshot() for registry in ALL], set(sys.modules)
    folder = tmp_path / "extensions"
    folder.mkdir()

    def write(name, text):
        path = folder / f"{name}.py"
        path.write_text(text)
        extensions.load(folder)
        return path

    yield write
    for registry, state in zip(ALL, registries, strict=True):
        registry.restore(state)
    for name in set(sys.modules) - modules:
        if name.startswith("reid_extensions."):
            del sys.modules[name]
