"""Files of arrays: harmless ones of many makers are read; of any other the message says what it is."""

import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from builders.hostile import SECONDS
from builders.torchscript import torchscript
from reid.core.errors import ReidError
from reid.models.arrays import misfit, not_finite, read_safetensors, read_weights, sound

pytestmark = pytest.mark.filterwarnings("error", "ignore:.*deprecated", "ignore:.*sparse")

ARRAYS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.count": torch.tensor(3)}


def same(arrays, prefix=""):
    """Whether the arrays behind a prefix are those of this test."""
    found = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return found.keys() == ARRAYS.keys() and all(torch.equal(value, ARRAYS[key]) for key, value in found.items())


def read_sound(path):
    return sound(read_weights(path), path)


def fails(path, words, reader=read_sound):
    """Check that a file is refused in one short line that names it, in time and without PyTorch's advice."""
    started = time.process_time()
    with pytest.raises(ReidError) as caught:
        reader(path)
    message = str(caught.value)
    assert str(path) in message and words in message, message
    assert message.isprintable() and len(message) < len(str(path)) + 300, message
    assert not any(word in message for word in ("weights_only", "safe_globals", "issue", "trust")), message
    assert time.process_time() - started < SECONDS
    return message


# ---- what is read


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.ckpt", "w.pth.tar-60", "w", "w.safetensors"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_content_and_not_the_name_says_what_a_file_is(tmp_path, kind, name):
    if kind == "safetensors":
        safetensors.torch.save_file(ARRAYS, tmp_path / name)
    else:
        torch.save(ARRAYS, tmp_path / name, _use_new_zipfile_serialization=kind == "zip")
    assert same(read_weights(tmp_path / name))


BESIDE = {
    "nothing": {},
    "numbers": {"epoch": 3, "rank1": 0.5, "done": True, "none": None, "complex": 1j, "large": 10**30},
    "texts": {"arch": "resnet50", "note": "é", "bytes": b"abc", "no bytes": b""},
    "lists": {"a": [1, (2, {3}), {"b": [4]}], "frozen": frozenset([1]), "ordered": collections.OrderedDict(a=1)},
    "counter": {"seen": collections.Counter("abc")},
    "options": {"args": argparse.Namespace(lr=0.1, more=argparse.Namespace(milestones=[20]))},
    "paths": {"out": pathlib.Path("/tmp/x"), "pure": pathlib.PureWindowsPath("C:/x")},
    "times": {
        "at": datetime.datetime(2024, 2, 28, 1, 2, 3, tzinfo=datetime.UTC),
        "day": datetime.date(2024, 2, 28),
        "took": datetime.timedelta(hours=1),
    },
    "NumPy's scores": {
        "cmc": np.zeros(20, np.float32),
        "empty": np.zeros((0, 3)),
        "image": np.zeros((2, 2), np.uint8),
    },
    "NumPy's numbers": {
        "mAP": np.float64(0.5),
        "rank1": np.float32(0.5),
        "epoch": np.int64(3),
        "done": np.bool_(True),
    },
    "NumPy's texts": {"names": np.array(["a", "bc"])},
    "itself": (lambda loop: loop.setdefault("loop", loop))({"epoch": 3}),
    "optimizer": {"optimizer": torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))]).state_dict()},
    "random state": {"rng": torch.get_rng_state(), "device": torch.device("cpu"), "dtype": torch.float16},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("key", ["state_dict", "net_dict"])
def test_arrays_are_read_that_stand_beside_harmless_things(tmp_path, key, beside, legacy):
    content = {**BESIDE[beside], key: ARRAYS}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "w.pth"), f"{key}.")


def test_names_of_numpy_before_its_second_version_are_known(tmp_path):
    content = {"state_dict": ARRAYS, "cmc": np.zeros(3), "mAP": np.float64(0.5)}
    torch.save(content, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"cnumpy._core.", b"cnumpy.core."))
    assert same(read_weights(tmp_path / "old.pth"), "state_dict.")


def test_names_of_compiled_and_shared_modules_are_those_of_the_modules(tmp_path):
    names = ["_orig_mod.conv._fsdp_wrapped_module.weight", "bn._checkpoint_wrapped_module._orig_mod.count"]
    torch.save(dict(zip(names, ARRAYS.values(), strict=True)), tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"))


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8"])
def test_numpys_arrays_are_arrays(tmp_path, dtype):
    own = {"conv.weight": ARRAYS["conv.weight"].numpy().astype(dtype), "bn.count": ARRAYS["bn.count"]}
    torch.save(own, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert torch.equal(found["conv.weight"].float(), ARRAYS["conv.weight"])
    assert found["conv.weight"].element_size() == int(dtype[-1])


@pytest.mark.parametrize("name", ["ViT-B-32.pt", "w.jit", "w"])
def test_arrays_of_a_torchscript_archive_are_read_without_its_code(tmp_path, name):
    arrays = {**ARRAYS, "visual.class_embedding": torch.arange(6.0).reshape(2, 3).t(), "visual.a.b": torch.zeros(())}
    torchscript(tmp_path / name, arrays)
    found = read_sound(tmp_path / name)
    assert found.keys() == arrays.keys() and all(torch.equal(found[key], arrays[key]) for key in arrays)
    torchscript(tmp_path / name, arrays, half=True)
    assert all(value.dtype == torch.float16 for key, value in read_sound(tmp_path / name).items() if key != "bn.count")


def repickled(path, change):
    """The archive with another pickle, and checksums that fit."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, member in content.items():
            new.writestr(name, change(member) if name.endswith("/data.pkl") else member)


def test_nothing_that_a_torchscript_archive_names_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torchscript(tmp_path / "w.pt", ARRAYS)
    call = b"cposix\nsystem\n(X\x0d\0\0\0touch was-runtR"  # before all else, and dropped from the stack
    repickled(tmp_path / "w.pt", lambda old: old[:2] + call + b"0" + old[2:])
    assert same(read_sound(tmp_path / "w.pt"))
    assert os.listdir() == ["w.pt"]


def test_torchscript_archive_with_a_changed_pickle_is_refused_or_read(tmp_path):
    path, rng = tmp_path / "w.pt", np.random.default_rng(1)
    torchscript(path, ARRAYS)
    whole, refused = path.read_bytes(), 0
    for _ in range(150):
        path.write_bytes(whole)
        place, byte = rng.integers(10**6), bytes([rng.integers(256)])
        repickled(path, lambda old, i=place, b=byte: old[: i % len(old)] + b + old[i % len(old) + 1 :])
        try:
            read_sound(path)
        except ReidError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 20


def test_array_of_a_torchscript_archive_that_is_not_in_it_is_refused(tmp_path):
    torchscript(tmp_path / "w.pt", ARRAYS)
    # 2 x 3 x 2 x 2 becomes 9 x 3 x 2 x 2
    repickled(tmp_path / "w.pt", lambda old: old.replace(b"(K\x02K\x03K\x02K\x02", b"(K\x09K\x03K\x02K\x02"))
    fails(tmp_path / "w.pt", "is damaged")


@pytest.mark.parametrize("kind", ["parameter", "ordered", "view", "deflated", "without checksums"])
def test_unusual_files_are_read(tmp_path, kind):
    arrays, path = dict(ARRAYS), tmp_path / "w.pth"
    if kind == "parameter":
        arrays["conv.weight"] = torch.nn.Parameter(arrays["conv.weight"])
    elif kind == "ordered":
        arrays = collections.OrderedDict(arrays)
    elif kind == "view":
        arrays["conv.weight"] = (
            torch.arange(48.0).reshape(2, 3, 2, 4)[..., ::2].clone(memory_format=torch.channels_last)
        )
        arrays["conv.weight"].copy_(ARRAYS["conv.weight"])
    checksums = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(kind != "without checksums")
    torch.save(arrays, path)
    torch.serialization.set_crc32_options(checksums)
    if kind == "deflated":
        with zipfile.ZipFile(path) as stored, zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as deflated:
            for name in stored.namelist():
                deflated.writestr(name, stored.read(name))
        path = tmp_path / "x"
    assert same(read_weights(path))


# ---- what is no file of arrays

OTHERS = {
    "empty": (b"", "is empty"),
    "web page": (b"<!DOCTYPE html>\n<html>Sign in</html>", "is a web page (HTML)"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
    "text": (b"no weights", "is text"),
    "JSON": (b'{"a": 1}', "is JSON"),
    "zeros": (bytes(1000), "is zeros"),
    "NumPy": (b"\x93NUMPY\x01\0", "is a NumPy array"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    "gzip": (b"\x1f\x8b\x08\0", "is a gzip file"),
    "pickle": (pickle.dumps({"a": 1}), "is a pickle"),
    "pickled array": (pickle.dumps(np.zeros(3)), "is a pickle"),
    "noise": (np.random.default_rng(0).bytes(1000), "is of an unknown kind"),
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", OTHERS)
def test_file_of_another_kind_is_called_what_it_is(tmp_path, kind, suffix):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(OTHERS[kind][0])
    fails(path, f"{OTHERS[kind][1]}")
    fails(path, f"{OTHERS[kind][1]}", read_safetensors)


@pytest.mark.parametrize("reader", [read_weights, read_safetensors])
def test_what_is_no_regular_file_is_not_opened(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "link.pth").symlink_to("nowhere")
    fails(tmp_path / "pipe.pth", "is a named pipe, not a file", reader)
    fails(tmp_path, "is a directory, not a file", reader)
    fails(tmp_path / "link.pth", "is a link to nothing, not a file", reader)
    fails(tmp_path / "none.pth", "there is no such file", reader)
    fails("/dev/zero", "is a device, not a file", reader)


def test_a_sound_file_whose_name_is_no_text_is_not_called_damaged(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.safetensors")
    path.write_bytes(safetensors.torch.save(ARRAYS))
    with pytest.raises(ReidError, match="its path is not UTF-8, and safetensors opens no such file; rename it"):
        read_safetensors(path)


def test_file_of_a_thousand_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "w.safetensors", "wb") as file:
        file.truncate(1 << 40)
    fails(tmp_path / "w.safetensors", "is the most that weights can have")


def test_half_a_file_is_called_a_part(tmp_path):
    torch.save(ARRAYS, tmp_path / "zip.pth")
    torch.save(ARRAYS, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(ARRAYS, tmp_path / "w.safetensors")
    for name in ("zip.pth", "legacy.pth", "w.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for end in (len(whole) // 2, len(whole) * 3 // 4, len(whole) - 1, 40, 9):
            (tmp_path / name).write_bytes(whole[:end])
            fails(tmp_path / name, "is ")
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        fails(tmp_path / name, "is damaged or only a part of the file")


def test_flipped_bytes_of_a_zip_are_found(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(10000.0)}, path)
    whole = bytearray(path.read_bytes())
    for place in range(2000, 40_000, 3011):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        path.write_bytes(flipped)
        fails(path, "is damaged: w/data/0 in it is not what was saved")
    header = whole.index(b"w/data/0")  # its name, and the bit that says that this is UTF-8
    whole[header + 2], whole[header - 23] = 0xFF, whole[header - 23] | 8
    path.write_bytes(whole)
    fails(path, "is damaged: w/data/0 in it is not what was saved")


ZIPS = {
    "empty": {},
    "other": {"a/readme.txt": b"x"},
    "NumPy": {"a.npy": b"x"},
    "no pickle": {"archive/data/0": b"x"},
    "TorchScript": {"archive/data.pkl": b"x", "archive/constants.pkl": b"x", "archive/code/a.py": b"x"},
    "broken pickle": {"archive/data.pkl": b"\x80\x02not a pickle"},
    "unpacks": {"archive/data.pkl": b"\x80\x02N.", "archive/data/0": bytes(200_000_000)},
    "pickle unpacks": {"archive/data.pkl": b"\x80\x02" + b"]" * 20_000_000},
}


@pytest.mark.parametrize(
    "kind, words",
    [
        ("empty", "is "),
        ("other", "is a zip archive that torch.save did not write: it holds a/readme.txt"),
        ("NumPy", "is a zip archive that torch.save did not write: it holds a.npy"),
        ("no pickle", "is a zip archive that torch.save did not write"),
        ("TorchScript", "is damaged or only a part of the file"),
        ("broken pickle", "is damaged or only a part of the file"),
        ("unpacks", "unpacks to 200,000,004 bytes of "),
        ("pickle unpacks", "has 20,000,002 bytes beside its arrays"),
    ],
)
def test_zip_of_something_else_is_refused_before_it_is_unpacked(tmp_path, kind, words):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in ZIPS[kind].items():
            file.writestr(name, content)
        if kind == "pickle unpacks":  # by itself too little for the size of such a file
            file.writestr(zipfile.ZipInfo("archive/data/0"), np.random.default_rng(0).bytes(2_000_000))
    tracemalloc.start()
    try:
        fails(tmp_path / "w.pth", words)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def safetensors_file(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def entry(shape, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


HEADERS = {
    "no JSON": (b'{"a": b}', "is not valid JSON"),
    "deep": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "is nested too deeply"),
    "twice": (b'{"a": 1, "a": 2}', 'the key "a" stands twice'),
    "infinite": (b'{"a": 1e400}', "is not a finite number"),
    "number": ({"a": 3}, "its header does not say where its arrays are"),
    "no places": ({"a": {"dtype": "F32"}}, "its header does not say where its arrays are"),
    "places of text": ({"a": entry([1], "x")}, "its header does not say where its arrays are"),
    "terabyte": ({"a": entry([10**12], 4 * 10**12)}, "instead of 4,000,000,000,"),
    "before its start": ({"a": entry([-1], -4)}, "is damaged"),
    "other shape": ({"a": entry([2], 4)}, "is damaged"),
    "overlapping": ({"a": entry([1], 4), "b": entry([1], 4)}, "is damaged"),
    "unknown kind of number": ({"a": entry([1], 4, "Q9")}, "is damaged"),
    "metadata": ({"__metadata__": 3, "a": entry([1], 4)}, "is damaged"),
    "metadata of numbers": ({"__metadata__": {"a": 3}, "a": entry([1], 4)}, "is damaged"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_header_that_does_not_fit_is_refused_before_anything_is_made_of_it(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    header, words = HEADERS[kind]
    safetensors_file(path, header, b"1234")
    fails(path, words)
    fails(path, words, read_safetensors)


def test_header_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 90_000_000) + b"{" + b" " * 1000)
    fails(tmp_path / "w.safetensors", "its header would have 90,000,000 bytes")


# ---- what would run code


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class Mine:
    """A class of a training's own."""


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "value, name",
    [
        (Call(os.system, "touch was-run"), "posix.system"),
        (Call(eval, "open('was-run', 'w')"), "eval"),
        (Call(getattr, {}, "clear"), "getattr"),
        (Call(exec, "open('was-run', 'w')"), "exec"),
        (Call(open, "was-run", "w"), "open"),
        (torchvision.models.alexnet, "torchvision.models.alexnet.alexnet"),
        (Mine(), "Mine"),
        (np.array([1, None], object), "ObjectDType"),
        (collections.defaultdict(list, a=[1]), "defaultdict"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ],
)
def test_what_would_run_code_is_refused_by_its_name(tmp_path, monkeypatch, value, name, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": ARRAYS, "x": value}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    message = fails(tmp_path / "w.pth", "which is not made here, for it could run code")
    assert name in message and os.listdir() == ["w.pth"]


@pytest.mark.parametrize(
    "value",
    [Call(bytearray, 10**15), Call(np._core.multiarray._reconstruct, np.ndarray, (10**15,), b"d")],
    ids=["bytes", "array"],
)
def test_thing_larger_than_memory_is_refused(tmp_path, value):
    torch.save({"state_dict": ARRAYS, "x": value}, tmp_path / "w.pth")
    fails(tmp_path / "w.pth", "asks for more memory than this machine has")


# ---- what is no array of numbers

NO_ARRAYS = {
    "list": ([torch.zeros(3)], "holds a list, not arrays by name"),
    "array": (torch.zeros(3), "holds a Tensor, not arrays by name"),
    "nothing": ({}, "holds no array"),
    "nothing inside": ({"epoch": 3, "state_dict": {}}, "holds no array, but 'epoch', ..."),
    "text": ({"model": {"a": "b"}}, "holds no array, but 'model', ..."),
    "names that are numbers": ({1: torch.zeros(3)}, "holds no array, but 1, ..."),
    "sparse": ({"conv.weight": torch.zeros(3, 3).to_sparse()}, "conv.weight is a sparse array"),
    "sparse rows": ({"conv.weight": torch.eye(3).to_sparse_csr()}, "conv.weight is a sparse array"),
    "meta": ({"conv.weight": torch.zeros(3, device="meta")}, "conv.weight holds no numbers, its shape alone"),
    "repeated": ({"conv.weight": torch.zeros(1).expand(10**12)}, "has the shape [1000000000000], for which the file"),
    "name that steers": ({"\x1b[31m": torch.zeros(1).expand(9)}, "\\x1b[31m has the shape [9]"),
}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_array_of_numbers_is_refused_by_its_name(tmp_path, kind):
    torch.save(NO_ARRAYS[kind][0], tmp_path / "w.pth")
    fails(tmp_path / "w.pth", NO_ARRAYS[kind][1])


def test_quantised_array_is_refused_by_its_name(tmp_path):
    torch.save({"conv.weight": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)}, tmp_path / "w.pth")
    fails(tmp_path / "w.pth", "conv.weight is quantised; save it as float32")


def test_one_array_under_a_million_names_is_counted(tmp_path):
    value = torch.zeros(1_000_000)
    torch.save({f"a{number}": value for number in range(20_000)}, tmp_path / "w.pth")
    fails(tmp_path / "w.pth", "holds 20,000,000,000 numbers")


# ---- whether an array fits

OWN = torch.zeros(2, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_floating_numbers_of_any_width_fit(dtype):
    assert misfit(torch.ones(2, 3).to(dtype), OWN) is None


@pytest.mark.parametrize(
    "value, own, words",
    [
        (torch.zeros(3, 2), OWN, "has the shape [3, 2] instead of [2, 3]"),
        (torch.zeros(0, 3), OWN, "has the shape [0, 3] instead of [2, 3]"),
        (OWN > 0, OWN, "holds truth values instead of floating numbers"),
        (OWN.to(torch.complex64), OWN, "holds complex numbers instead of floating numbers"),
        (OWN.long(), OWN, "holds whole numbers instead of floating numbers"),
        (OWN.to(torch.uint8), OWN, "holds whole numbers instead of floating numbers"),
        (torch.full((2, 3), torch.nan), OWN, "holds NaN"),
        (torch.full((2, 3), torch.nan).to(torch.float8_e5m2), OWN, "holds NaN"),
        (torch.full((2, 3), -torch.inf), OWN, "holds infinite numbers"),
        (torch.full((2, 3), 1e300, dtype=torch.float64), OWN, "holds numbers beyond the range of float32"),
        (torch.tensor(0.5), torch.tensor(1), "holds floating numbers instead of whole numbers"),
        (torch.tensor(torch.nan), torch.tensor(1), "holds floating numbers instead of whole numbers"),
        (torch.tensor(True), torch.tensor(1), "holds truth values instead of whole numbers"),
    ],
)
def test_what_does_not_fit_is_told(value, own, words):
    assert misfit(value, own) == words


def test_counters_may_be_whole_numbers_of_any_kind():
    for value in (torch.tensor(3, dtype=torch.int32), torch.tensor(3.0)):
        assert misfit(value, torch.tensor(1)) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_large_numbers_whose_sum_is_infinite_are_finite(dtype):
    value = torch.full((100,), torch.finfo(dtype).max, dtype=dtype)
    assert not_finite(value) is None
    value[3] = torch.inf
    assert not_finite(value) == "holds infinite numbers"
    value[4] = -torch.inf
    assert not_finite(value) == "holds infinite numbers"
    value[5] = torch.nan
    assert not_finite(value) == "holds NaN"
