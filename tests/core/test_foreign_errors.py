"""Exceptions of the system and of libraries come out of a program as one line that says what to do; bugs do not."""

import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import errno, io, os, resource, sys
from pathlib import Path
from reid.core import cli
from reid.core.errors import ReidError

def main(args):
    {}

cli.run(main, cli.parser("Ends badly."))
"""
LOWER = "; lower sampler.actions, identities or instances, embed.batch_size, chunk or input, set network.checkpointing"
MEMORY = LOWER + ", or use fewer --threads"
# as PyTorch 2.11 and 2.15 write them
OF_CUDA = (
    "CUDA out of memory. Tried to allocate {}. GPU 0 has a total capacity of 79.18 GiB of which 1.06 MiB is free. "
    "Including non-PyTorch memory, this process has 79.17 GiB memory in use. Of the allocated memory 78.40 GiB is "
    "allocated by PyTorch, and 194.87 MiB is reserved by PyTorch but unallocated. If reserved but unallocated memory "
    "is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


def run(start_program, body, *arguments, **environment):
    process = start_program(PROGRAM.format(body), *arguments, **environment)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


RAISED = {
    "memory": ("raise MemoryError", "the machine has too little memory" + MEMORY),
    "memory of NumPy": (
        "import numpy; numpy.zeros(1 << 60, dtype='u1')",
        r"the machine has too little memory \(asked for 1.00 EiB\)" + MEMORY,
    ),
    "memory of Python": ("bytearray(1 << 60)", "the machine has too little memory" + MEMORY),
    "memory of Arrow": (
        "import pyarrow; pyarrow.allocate_buffer(1 << 60)",
        "the machine has too little memory" + MEMORY,
    ),
    "memory of a GPU": (
        f"import torch; raise torch.OutOfMemoryError({OF_CUDA.format('29.76 GiB')!r})",
        rf"the GPU has too little memory \(asked for 29.76 GiB\){LOWER}",
    ),
    "memory of a GPU by an older name": (
        f"raise type('OutOfMemoryError', (RuntimeError,), {{}})({OF_CUDA.format('2.50 MiB')!r})",
        rf"the GPU has too little memory \(asked for 2.50 MiB\){LOWER}",
    ),
    "memory of a GPU in a compiled network": (
        f"raise RuntimeError('OutOfMemoryError: ' + {OF_CUDA.format('512.00 KiB')!r})",
        rf"the GPU has too little memory \(asked for 512.00 KiB\){LOWER}",
    ),
    "memory of a GPU that is shared": (
        "raise RuntimeError('CUDA out of memory. Allocation was preemptively rejected because it would exceed "
        "per_process_memory_fraction limit. Requested size: 1.50 GiB')",
        rf"the GPU has too little memory \(asked for 1.50 GiB\){LOWER}",
    ),
    "memory of a GPU as CUDA names it": (
        "raise RuntimeError('CUDA error: out of memory\\nCUDA kernel errors might be asynchronously reported')",
        f"the GPU has too little memory{LOWER}",
    ),
    "memory of a GPU as NCCL names it": (
        "raise RuntimeError(\"ncclUnhandledCudaError: Call failed.\\nLast error:\\nCuda failure 2 'out of memory'\")",
        f"the GPU has too little memory{LOWER}",
    ),
    "memory of cuBLAS": (
        "raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')",
        f"the GPU has too little memory{LOWER}",
    ),
    "memory of PyTorch": (
        "import torch; torch.empty(1 << 58)",
        r"the machine has too little memory \(asked for 1152921504606846976 bytes\)" + MEMORY,
    ),
    "full disk": (
        "raise OSError(errno.ENOSPC, 'x', 'a/b')",
        "a/b: the disk is full or a quota used up; free some space",
    ),
    "quota": ("raise OSError(errno.EDQUOT, 'x', 'a/b')", "a/b: the disk is full or a quota used up"),
    "full disk without a name": ("raise OSError(errno.ENOSPC, 'x')", "the disk is full or a quota used up"),
    "rights": ("raise PermissionError(errno.EACCES, 'x', 'a/b')", "a/b: must not be read or written by this user"),
    "rights of the system": (
        "raise OSError(errno.EPERM, 'x', 'a/b')",
        "a/b: must not be read or written by this user",
    ),
    "read-only": ("raise OSError(errno.EROFS, 'x', 'a/b')", "a/b: lies on a disk that cannot be written to"),
    "missing": ("open('not/there')", "not/there: there is no such file or folder"),
    "missing, by a path": ("Path('not/there').stat()", "not/there: there is no such file or folder"),
    "too many files": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)); files = [open('/dev/null') for _ in range(9)]",
        r"/dev/null: too many files are open; raise the limit \(ulimit -n\)",
    ),
    "too many files of all": ("raise OSError(errno.ENFILE, 'x')", "too many files are open on this machine"),
    "long name": ("open('a' * 5000)", "a{5000}: the name is longer than the file system takes; give a shorter one"),
    "broken disk": ("raise OSError(errno.EIO, 'x', 'a/b')", "a/b: the disk does not answer"),
    "lost mount": ("raise OSError(errno.ESTALE, 'x', 'a/b')", "a/b: the network file system has lost it"),
    "directory": ("open('/')", "/: Is a directory"),
    "file for a folder": ("open('/dev/null/x')", "/dev/null/x: Not a directory"),
    "loop of links": ("os.symlink('l', 'l'); open('l')", "l: Too many levels of symbolic links"),
    "another pipe": (
        "r, w = os.pipe(); os.close(r); os.write(w, b'x')",
        "a program that this one works with has",
    ),
}


@pytest.mark.parametrize("kind", RAISED)
def test_nobodys_bug_is_one_line_without_traceback(tmp_path, monkeypatch, start_program, kind):
    monkeypatch.chdir(tmp_path)
    body, message = RAISED[kind]
    code, _, err = run(start_program, body, "--log", "a.log")
    assert code == 1
    assert re.fullmatch(rf"error: {message}.*\n", err), err
    assert (tmp_path / "a.log").read_text() == err


@pytest.mark.parametrize(
    "body",
    ["raise OSError('without a number')", "raise RuntimeError('CUDA error: device-side assert')", "1 / 0", "[][1]"],
)
def test_bug_is_a_bug_still(start_program, body):
    code, _, err = run(start_program, body)
    assert code == 2 and err.startswith("this is a bug in the pipeline") and "Traceback" in err


def test_error_of_a_worker_process_is_translated_too(start_program):
    body = "from reid.core import parallel as p; p.cores = lambda: 2; list(p.ordered_map(os.stat, ['none'] * 4, 2))"
    code, _, err = run(start_program, body)
    assert (code, err) == (1, "error: none: there is no such file or folder\n")


# ---- output that nobody takes


def shell(tmp_path, body, redirection, **environment):
    (tmp_path / "program.py").write_text(PROGRAM.format(body))
    command = f"{sys.executable} program.py {redirection}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


MANY = "[print('line', i) for i in range(100_000)]"


@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("body", [MANY, "import time; print('line', 0, flush=True); time.sleep(0.5); print(1)"])
def test_reader_that_has_enough_ends_the_program_quietly(tmp_path, environment, body):
    assert shell(tmp_path, body, "| head -n 1; exit ${PIPESTATUS[0]}", **environment) == (141, "line 0\n", "")


def test_reader_of_the_messages_may_have_enough_too(tmp_path):
    body = "[cli.log.info('line %d', i) for i in range(100_000)]"
    assert shell(tmp_path, body, "2>&1 | head -n 1; exit ${PIPESTATUS[0]}") == (141, "line 0\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("body", [MANY, "print(1)"])
def test_output_on_a_full_disk_is_an_error(tmp_path, environment, body):
    code, out, err = shell(tmp_path, body, "> /dev/full", **environment)
    assert (code, out) == (1, "")
    assert re.fullmatch("error: (the output: )?the disk is full or a quota used up.*\n", err)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_output_does_no_harm(tmp_path, redirection):
    assert shell(tmp_path, "print(1); Path('made').touch(); os.write", redirection)[0] == 0
    assert (tmp_path / "made").exists()


def test_names_that_are_no_text_are_printed_and_logged(tmp_path):
    body = "name = os.fsdecode(b'\\xff\\xe9'); print(name); cli.log.info(name); open(name)"
    code, out, err = shell(tmp_path, body, "--log a.log")
    assert (code, out) == (1, "\\udcff\\udce9\n")
    assert err == "\\udcff\\udce9\nerror: \\udcff\\udce9: there is no such file or folder\n"
    assert (tmp_path / "a.log").read_text() == err


# ---- the log


@pytest.mark.parametrize(
    "log, message",
    [
        ("/dev/full", "the disk is full or a quota used up"),
        ("folder", "folder: is a directory, not a file"),
        ("file/below", "file: File exists"),
        ("pipe", "pipe: is a named pipe, not a file"),
        ("l" * 300, "l{300}: the name is longer than the file system takes"),
    ],
)
def test_log_that_cannot_be_written_is_one_line(tmp_path, log, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    code, out, err = shell(tmp_path, "cli.log.info('begins'); print('ends')", f"--log {log}")
    assert code == 1 and out == ""
    assert re.fullmatch(rf"(begins\n)?error: {message}.*\n", err)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_an_error_that_the_log_cannot_take_stands_on_the_terminal_alone(tmp_path):
    code, out, err = shell(tmp_path, "raise ReidError('no room')", "--log /dev/full")
    assert (code, out, err) == (1, "", "error: no room\n")


def test_an_error_is_logged_as_soon_as_there_is_room_again(tmp_path):
    body = """file = next(h for h in cli.log.handlers if hasattr(h, "baseFilename"))
    class Full(io.StringIO):
        tries = 0
        def flush(self):
            self.tries += 1
            if self.tries < 3:
                raise OSError(errno.ENOSPC, "full")
            Path("found").write_text(self.getvalue())
    file.stream = Full()
    raise ReidError("no room")"""
    assert shell(tmp_path, body, "--log a.log") == (1, "", "error: no room\n")
    assert (tmp_path / "found").read_text() == "error: no room\n"


def test_log_may_be_a_device(tmp_path):
    assert shell(tmp_path, "cli.log.info('begins')", "--log /dev/null") == (0, "", "begins\n")


# ---- arguments

ARGUMENTS = """
from reid.core import cli

parser = cli.parser("Takes numbers.")
parser.add_argument("--count", type=cli.whole(1, 1000), nargs="+")
parser.add_argument("--share", type=cli.number(0, 1))
cli.run(lambda args: print(args.count, args.share), parser)
"""


def test_numbers_in_their_range_are_taken(start_program):
    process = start_program(ARGUMENTS, "--count", "1", "1000", "--share", "0.25")
    assert process.communicate(timeout=600) == ("[1, 1000] 0.25\n", "")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--count", "0"], "argument --count: 0 is not a whole number from 1 to 1,000"),
        (["--count", "5", "-3"], "argument --count: -3 is not a whole number from 1 to 1,000"),
        (["--count", "1001"], "argument --count: 1001 is not a whole number from 1 to 1,000"),
        (["--count", "1.0"], 'argument --count: "1.0" is not a whole number from 1 to 1,000'),
        (["--count", "9" * 9999], f'argument --count: "{"9" * 44}... is not a whole number from 1 to 1,000'),
        (["--count"], "argument --count: expected at least one argument"),
        (["--share", "nan"], 'argument --share: "nan" is not a number from 0 to 1'),
        (["--share", "inf"], 'argument --share: "inf" is not a number from 0 to 1'),
        (["--share", "1e400"], "argument --share: 1e400 is not a number from 0 to 1"),
        (["--share=-0.1"], "argument --share: -0.1 is not a number from 0 to 1"),
        (["--other"], "unrecognized arguments: --other"),
    ],
)
def test_number_out_of_its_range_is_one_line(start_program, words, message):
    process = start_program(ARGUMENTS, *words)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (2, "", f"error: {message} (see --help)\n")
