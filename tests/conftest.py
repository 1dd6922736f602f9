"""Fixtures that tests of several packages share; what they are made of is in ``builders``."""

import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

from builders import ROOT
from builders.split import write_zip


@pytest.fixture
def make_zip(tmp_path):
    """``make_zip(members, name=..., method=...)`` writes a zip into the test's own folder and returns its path."""

    def make(members, name="split.zip", method=zipfile.ZIP_STORED):
        return write_zip(tmp_path / name, members, method)

    return make


@pytest.fixture
def start_program(tmp_path):
    """``start_program(text, *arguments, **environment)`` starts a Python program and returns its process."""

    def start(text, *arguments, **environment):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        env = {key: value for key, value in os.environ.items() if key != "REID_ENGINE_PID"} | environment
        command = [sys.executable, path, *arguments]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="session")
def pku():
    """Folder of the PKU sample: 560 real crops under made-up games, one zip a split."""
    folder = ROOT.parent / "shared/data/pku"
    if not folder.is_dir():
        pytest.skip("the PKU sample is not beside the repository (../shared/data/pku)")
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """Networks of the size that tests have are slower on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def torch_as_it_was():
    """A training sets threads and determinism for its whole process."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
