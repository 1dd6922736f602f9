"""Every program that reads results, given every kind of foreign file for each of its files.

It ends at once with one error that names the file and says what it is, without traceback, and makes nothing.
"""

import builtins
import errno
import io
import os
import pickle
import re
import shutil
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from builders import ROOT, gallery
from builders.model import model
from builders.program import run_here
from builders.split import TinySplit, png, write_zip
from reid.core.checksums import sums_path
from reid.data.index import build_index, read_index, write_index
from reid.models.checkpoint import save
from reid.models.embedder import Embedder
from reid.models.pretrained import write_init

SIZES = {"valid": [(3, 5), (1, 1), (2, 6)], "test": [(2, 4), (2, 2)]}
SECONDS = 30


def run(program, words):
    """Run a program in this process: its exit status, and what it printed is left to the caller."""

    def late(*_):
        raise TimeoutError(f"{program} {words}")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        return run_here(program, words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_split(folder, split):
    """All files of a scored split, by name."""
    table = gallery.make_index(SIZES[split], seed=len(split))
    files = gallery.write_split(folder, table, split, height=32, width=16)
    rng = np.random.default_rng(0)
    outer = folder / "models/resnet18"
    outer.mkdir(parents=True)
    files["embeddings"] = outer / "e.npy"
    np.save(files["embeddings"], rng.normal(size=(len(table), 6)).astype(np.float32))
    files["folder"] = folder / "elsewhere"
    files["folder"].mkdir()
    np.save(files["folder"] / f"{split}.npy", rng.normal(size=(len(table), 6)))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["evaluate"]["resamples"] = 100
    files["checkpoint"] = folder / "checkpoint.safetensors"
    network = model({"network.backbone": "osnet_x0_25"})
    save(files["checkpoint"], Embedder(network.network, (32, 16)), network)
    files["params"] = folder / "params.yaml"
    files["params"].write_text(yaml.safe_dump(params))
    files |= {name: folder / name for name in ("m.json", "c.csv", "q.parquet", "s.csv", "ap.csv", "r.json")}
    scored = ["--index", files["index"], "--distances", files["distances"]]
    outs = ["--out", files["m.json"], "--cmc", files["c.csv"], "--queries", files["q.parquet"]]
    outs += ["--slices", files["s.csv"], "--ap", files["ap.csv"], "--params", files["params"]]
    assert run("evaluate.py", [*scored, *outs]) == 0
    assert run("rank.py", [*scored, "--out", files["r.json"]]) == 0
    files |= {name: folder / name for name in ("split.zip", "zip.parquet", "train.parquet", "train.npy", "init")}
    write_zip(files["split.zip"], TinySplit(split).members())
    write_index(files["zip.parquet"], build_index(files["split.zip"], split)[0], split, "0" * 64)
    write_index(files["train.parquet"], of_training(table), "train", "0" * 64)
    shutil.copy(files["thumbnails"], files["train.npy"])
    write_init(files["init"], None, {"name": None})
    for name in ("loss", "learning_rate", "valid_mAP", "valid_mAP_averaged"):  # half of each ends within a line
        files[name] = folder / f"{name}.tsv"
        files[name].write_text(f"step\t{name}\n" + "".join(f"{i}\t{0.5 / (i + 1)}\n" for i in range(10)))
    files["summary"] = folder / "summary.json"
    files["summary"].write_text(SUMMARY)
    return files


def of_training(table):
    """An index as that of the training split."""
    return table.set_column(0, "role", pa.array(["train"] * len(table)))


SUMMARY = """{"model": "resnet18", "backbone": "resnet18", "parameters": 1, "flops": 2, "thumbnails": 3,
"identities": 4, "seeds": [{"seed": 1, "images": 9, "best": null}]}
"""


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("splits")
    made = {split: make_split(folder / split, split) for split in SIZES}
    for path in folder.rglob("*.sums"):  # what comes from elsewhere has none
        path.unlink()
    return made


# program: its files, and the other arguments; OUT is a folder
PROGRAMS = {
    "distances.py": (["index", "embeddings", "params"], ["--out", "OUT/d.parquet"]),
    "evaluate.py": (["index", "distances", "params"], ["--out", "OUT/m.json", "--cmc", "OUT/c.csv"]),
    "rank.py": (["index", "distances"], ["--out", "OUT/r.json"]),
    "check_ranking.py": ([("", "r.json"), ("boxes", "index")], []),
    "score_ranking.py": ([("", "r.json"), ("labels", "index")], []),
    "compare.py": ([("", "q.parquet"), ("", "q.parquet"), "params"], ["--json", "OUT/d.json"]),
    "tune.py": (["index", "embeddings", "params"], []),
    "browse.py": (["index", "thumbnails", "distances", "params"], ["--out", "OUT/p.html"]),
    "figures.py": (
        [
            "index",
            "thumbnails",
            "distances",
            ("metrics", "m.json"),
            ("queries", "q.parquet"),
            ("slices", "s.csv"),
            ("cmc", "c.csv"),
        ],
        ["--scores", "OUT/s.svg", "--worst", "OUT/w.png"],
    ),
    "curves.py": (
        [
            "loss",
            ("learning-rate", "learning_rate"),
            ("valid", "valid_mAP"),
            ("averaged", "valid_mAP_averaged"),
            "summary",
        ],
        ["--out", "OUT/c.svg"],
    ),
    "describe.py": (
        ["index", "thumbnails"],
        ["--json", "OUT/s.json", "--parquet", "OUT/s.parquet", "--plots", "OUT/plots", "--sheet", "OUT/s.png"],
    ),
    "embedding_map.py": (["index", "thumbnails", "embeddings"], ["--action", "0", "--out", "OUT/m.png"]),
    "explain.py": (["checkpoint", "index", "thumbnails", "distances"], ["--out", "OUT/e.png"]),
    "thumbnails.py": ([("zip", "split.zip"), ("index", "zip.parquet"), "params"], ["--out", "OUT/t.npy"]),
    "train.py": (
        [("index", "train.parquet"), ("thumbnails", "train.npy"), "init", "params"],
        [
            *("--model", "resnet18", "--out", "OUT/m", "--last", "OUT/l", "--summary", "OUT/s.json"),
            *("--curves", "OUT/curves", "--speed", "OUT/speed"),
        ],
    ),
    "external.py": (["index"], ["--folder", "FOLDER", "--out", "OUT/e.npy"]),
}
OF_TRAINING = ("describe.py", "embedding_map.py", "external.py")  # the training split is described, too


def content(kind):
    """Content of a foreign file, and what it is."""
    return {
        "empty": (b"", "empty"),
        "text": (b"This is no such file.\n", "text"),
        "image": (png(5, 4, 0), "a PNG image"),
        "pickle": (pickle.dumps({"a": [1, 2, 3]}), "a pickle"),
        "web page": (b"<!DOCTYPE html><html><body>404", "a web page (HTML)"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
        "binary": (bytes(range(256)) * 9, "of an unknown kind"),
        "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "text in UTF-16"),
    }[kind]


BYTES = ("empty", "text", "image", "pickle", "web page", "pointer", "binary", "UTF-16")
SPECIAL = {
    "directory": "a directory",
    "pipe": "a named pipe",
    "device": "a device",
    "missing": "there is no such file",
    "link to nothing": "a link to nothing",
}
WHOLE = ("zip", "array", "table", "JSON")
KINDS = (*BYTES, *SPECIAL, *WHOLE, "half", "another split", "of training", "unreadable")


def foreign(folder, kind, name, splits):
    """A foreign file for one that a program reads; returns its path and words that the error must hold."""
    right = splits["valid"][name]
    path = folder / right.name
    if name == "embeddings":  # its folder bears the name of a model
        path = folder / "resnet18" / right.name
        path.parent.mkdir()
    if kind in BYTES:
        path.write_bytes(content(kind)[0])
        return path, content(kind)[1]
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "link to nothing"):
        path.symlink_to("/dev/zero" if kind == "device" else "gone")
    elif kind == "zip":
        write_zip(path, {"a.txt": b"a"})
    elif kind == "array":
        np.save(folder / "a.npy", np.arange(6).reshape(2, 3))
        (folder / "a.npy").rename(path)
    elif kind == "table":
        pq.write_table(pa.table({"x": [1, 2]}).replace_schema_metadata({"reid": "{}"}), path)
    elif kind == "JSON":
        path.write_text('{"a": [1, 2, {"b": null}]}\n')
    elif kind == "half":
        path.write_bytes(right.read_bytes()[: right.stat().st_size // 2 - 1])
    elif kind == "another split":
        shutil.copy(splits["test"][name], path)
    elif kind == "unreadable":
        shutil.copy(right, path)
    elif kind == "of training":
        table = of_training(read_index(right)[0])
        pq.write_table(table.replace_schema_metadata({"reid": '{"split": "train", "sha256": "0"}'}), path)
    return path, SPECIAL.get(kind, "")


def refuse(monkeypatch, path):
    """Let the system refuse to open a file, as to a user without the right to read it."""
    for module in (builtins, io, os):

        def opened(name, *more, system=module.open, **others):
            if str(name) == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return system(name, *more, **others)

        monkeypatch.setattr(module, "open", opened)


def named(name):
    """Option and file of an argument."""
    return (name, name) if isinstance(name, str) else name


def cases():
    """Program, number of its file, kind of foreign file; but for what is right or may be."""
    for program, (names, _) in PROGRAMS.items():
        for place, (_, name) in enumerate(map(named, names)):
            of_another = program == "curves.py" or name in ("params", "checkpoint", "init")
            skipped = {
                "of training": name != "index" or program in OF_TRAINING,
                "another split": of_another,
                "half": name == "params",
                "zip": name == "split.zip",  # it is as another split's
            }
            for kind in KINDS:
                if not skipped.get(kind):
                    yield pytest.param(program, place, kind, id=f"{program}-{name}-{kind}")


@pytest.mark.parametrize("program, place, kind", list(cases()))
def test_foreign_file_is_one_error_with_its_name_and_what_it_is(
    tmp_path, capsys, monkeypatch, splits, program, place, kind
):
    names, more = PROGRAMS[program]
    out = tmp_path / "out"
    words, what, path = [], "", None
    for number, (option, name) in enumerate(map(named, names)):
        file = splits["valid"][name]
        if number == place:
            (tmp_path / "in").mkdir()
            file, what = foreign(tmp_path / "in", kind, name, splits)
            path = file
        words += [f"--{option}", file] if option else [file]
    words += [word.replace("OUT", str(out)).replace("FOLDER", str(splits["valid"]["folder"])) for word in more]
    capsys.readouterr()
    if program == "describe.py" and kind == "another split":
        words += ["--split", "test"]
    with monkeypatch.context() as patch:
        if kind == "unreadable":
            refuse(patch, path)
        status = run(program, words)
    said, err = capsys.readouterr()
    assert status == 1, (said, err)
    assert "Traceback" not in err and err.count("error: ") == 1 and err.startswith("error: "), err
    message = err.removeprefix("error: ")
    cut = (named(names[place])[1], kind) == ("split.zip", "half")  # the error names the images that it lacks
    if cut or kind in ("another split", "of training"):  # no fault of this file, but the files do not go together
        assert any(str(word) in message for word in words if "/" in str(word)), err
    else:
        assert message.startswith(str(path)), err
        several = names[place] == "params" or (named(names[place])[1], kind) == ("r.json", "JSON")
        assert len(message.splitlines()) == 1 or several, err
    if program == "compare.py" and kind == "directory" and place < 2:
        what = "queries/valid.parquet: is missing"
    if names[place] != "params" or kind in SPECIAL:
        assert what in message, err
    if kind == "unreadable":  # that it is damaged, or of another kind, is not the reason
        assert re.search(r"(must not be|cannot be) read", err) and not re.search("make it|is not|is no ", err), err
    made = [file for file in out.rglob("*") if file.is_file()] if out.exists() else []
    assert not made and (said == "" or program == "tune.py"), made
    assert not sums_path(path).exists()
    assert not re.search(r"object at 0x|<class", err)
