"""Fixtures that tests of several packages share; what they are made of is in ``builders``."""

import os
import signal
import subprocess
import sys
import textwrap
import zipfile

import pytest

from builders import ROOT
from builders.split import write_zip

# tests run side by side: with more threads than cores they wait for each other, ten times as long as they compute
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # counts only if it is there before the first product
os.environ.setdefault("REID_JOBS_PER_GPU", "16")  # tests side by side share a GPU, and do not wait for it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background by a shell: Ctrl-C must work below
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Files with whole runs first: one that began last would keep one worker at work alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
    """A training sets threads, determinism and TF32 for its whole process."""
    import torch

    threads, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(strict)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def pytest_generate_tests(metafunc):
    """A test with the fixture ``device`` runs on every kind of device that there is."""
    if "device" in metafunc.fixturenames:
        import torch

        gpu = [pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []
        metafunc.parametrize("device", ["cpu", *gpu], indirect=True)


@pytest.fixture
def device(request, monkeypatch):
    """The device that networks run on: the CPU, and once more the GPU where there is one."""
    return _run_on(request.param, monkeypatch)


@pytest.fixture
def cpu(monkeypatch):
    """Networks run on the CPU, also where there is a GPU: for what is compared with one that the test runs itself."""
    return _run_on("cpu", monkeypatch)


def _run_on(kind, monkeypatch):
    import torch

    from reid.models import device

    monkeypatch.setattr(device, "device", lambda: torch.device(kind))
    return torch.device(kind)
