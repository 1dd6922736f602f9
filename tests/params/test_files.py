"""Files that a parameter file names: what is a path and what a name, where it leads, and whether it is there."""

import os
from pathlib import Path

import pytest

from builders.whole import FULL, changed, load
from reid.params import check_params
from reid.params.files import made_here, missing_files, named_files


@pytest.fixture
def content():
    return load(FULL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, with a home folder in it."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_of(content, weights):
    return check_params(changed(content, "models.two.network.weights", weights)).models["two"].network.file()


PATHS = [
    "a/b.safetensors",
    "b.pth",
    "b.pt",
    "b.bin",
    "b.ckpt",
    "b.pkl",
    "b.onnx",
    "b.pth.zip",
    "m/model.pth.tar-60",
    "m.pth/DEFAULT",
    "models/none",
    "./DEFAULT",
    "../DEFAULT",
    "/DEFAULT",
    ".hidden",
    "~",
    "~somebody",
    "C:\\weights\\none",
    "$(touch X).pth",
    "{model}.pth",
    "with spaces.pth",
    "two\nlines.pth",
]


@pytest.mark.parametrize("weights", PATHS)
def test_weights_that_look_like_a_path_are_a_file(content, here, weights):
    assert file_of(content, weights) == str(Path(os.path.expanduser(weights)))


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1", "laion2b_ft_in12k_in1k", "openai", "none"])
def test_weights_that_do_not_are_a_name_unless_there_is_such_a_file(content, here, weights):
    assert file_of(content, weights) is None
    (here / weights).mkdir()
    assert file_of(content, weights) is None
    (here / weights).rmdir()
    (here / weights).write_bytes(b"")
    assert file_of(content, weights) == weights


def test_no_name_of_weights_looks_like_a_path():
    """What Network.file rests on."""
    import timm
    import torchvision

    tags = {tag.partition(".")[2] for tag in timm.list_pretrained()}
    tags |= {w.name for name in torchvision.models.list_models() for w in torchvision.models.get_model_weights(name)}
    assert len(tags) > 300
    assert not [tag for tag in tags if any(mark in tag for mark in "./\\~")]


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
@pytest.mark.parametrize("place", ["download.path", "models.two.network.weights", "external_models.elsewhere.folder"])
def test_text_that_no_path_can_be_is_refused(content, place, path):
    with pytest.raises(Exception, match=place):
        check_params(changed(content, place, path))


def test_home_is_meant_by_a_tilde_at_every_path(content, here):
    content["download"] = {"source": "local", "path": "~/zips"}
    changed(content, "models.two.network.weights", "~/w.pth")
    changed(content, "external_models.elsewhere.folder", "~/made")
    params = check_params(content)
    home = here / "home"
    assert named_files(params) == [
        ("download.path", home / "zips"),
        ("models.two.network.weights", home / "w.pth"),
        ("external_models.elsewhere.folder", home / "made"),
    ]
    assert len(missing_files(params)) == 3
    for name in ("zips", "made"):
        (home / name).mkdir()
    (home / "w.pth").write_bytes(b"")
    assert missing_files(params) == []


def test_files_that_are_named_are_those_that_are_used(content):
    content["download"] = {"source": "soccernet", "path": "not/used"}
    changed(content, "models.two.network.weights", "DEFAULT")
    del content["external_models"]
    del content["distances"]["models"]
    params = check_params(content)
    assert named_files(params) == missing_files(params) == []


SCRATCH = "; put it there, or leave network.weights out to train from scratch"


def test_weights_of_osnet_that_are_missing_say_where_they_come_from(content, here):
    changed(content, "models.two.network.weights", "none.pth")
    changed(content, "models.two.network.backbone", "osnet_x1_0")
    told = [problem for problem in missing_files(check_params(content)) if problem.startswith("models.two")]
    assert len(told) == 1 and "MODEL_ZOO) has osnet_x1_0: put the file there" in told[0]


def test_each_missing_file_is_one_line_that_says_where_it_is_named(content, here):
    content["download"] = {"source": "local", "path": "zips"}
    changed(content, "models.two.network.weights", "none.pth")
    changed(content, "external_models.elsewhere.folder", "made.npy")
    (here / "made.npy").write_bytes(b"\x93NUMPY")
    assert missing_files(check_params(content)) == [
        "download.path: zips: there is no such folder",
        f"models.two.network.weights: none.pth: there is no such file{SCRATCH}",
        "external_models.elsewhere.folder: made.npy: is a NumPy array, not a folder",
    ]
    (here / "none.pth").mkdir()
    os.mkfifo(here / "zips")
    (here / "made.npy").unlink()
    (here / "made.npy").symlink_to("nowhere")
    assert missing_files(check_params(content)) == [
        "download.path: zips: is a named pipe, not a folder",
        f"models.two.network.weights: none.pth: is a directory, not a file{SCRATCH}",
        "external_models.elsewhere.folder: made.npy: is a link to nothing, not a folder",
    ]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_file_that_must_not_be_read(content, here):
    del content["external_models"], content["distances"]["models"]
    (here / "w.pth").write_bytes(b"")
    (here / "w.pth").chmod(0)
    params = check_params(changed(content, "models.two.network.weights", "w.pth"))
    assert missing_files(params) == [
        "models.two.network.weights: w.pth: must not be read by this user; change its rights"
    ]


@pytest.mark.parametrize("file", ["model.safetensors", "last.safetensors"])
def test_checkpoint_of_another_model_of_this_run_need_not_be_there_yet(content, here, file):
    del content["external_models"], content["distances"]["models"]
    for name, made, lines in (("one", f"results/models/one/{file}", 0), ("three", None, 1)):
        for path in (f"./results/models/{name}/{file}", f"{here}/home/../results/models/{name}/{file}"):
            params = check_params(changed(content, "models.two.network.weights", path))
            assert made_here(params, "two") == made and len(missing_files(params)) == lines


def test_no_model_starts_from_what_is_made_of_it(content, here):
    del content["external_models"], content["distances"]["models"], content["models"]["one"]["network"]["init"]
    for name in ("one", "two"):
        (here / f"results/models/{name}").mkdir(parents=True)
        (here / f"results/models/{name}/model.safetensors").touch()
    path = "results/models/two/model.safetensors"
    params = check_params(changed(content, "models.two.network.weights", path))
    itself = f"models.two.network.weights: {path}: is made of two itself; name another file"
    assert missing_files(params) == [itself]
    changed(content, "models.one.network.weights", f"{here}/{path}")
    assert missing_files(check_params(content)) == [itself]
    changed(content, "models.two.network.weights", "results/models/one/model.safetensors")
    assert missing_files(check_params(content)) == [
        f"models.one.network.weights: {here}/{path}: is made of one itself through two; name another file",
        "models.two.network.weights: results/models/one/model.safetensors: is made of two itself through one; "
        "name another file",
    ]
