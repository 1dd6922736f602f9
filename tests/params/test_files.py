"""Files that a parameter file names: what is a path and what a name, where it leads, and whether it is there."""

import os
import re
from pathlib import Path

import pytest

from builders import ROOT
from builders.whole import FULL, changed, load
from reid.params import check_params
from reid.params.files import missing_files, named_files


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
            assert params.made_here("two") == made and len(missing_files(params)) == lines


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


def outputs_that_could_be_named():
    """Outputs of all stages that have a name by which zips, embeddings or weights are looked for."""
    text = (ROOT / "dvc.yaml").read_text().replace("${key}", "one")
    for path in re.findall(r"^ *- ((?:data|results)/\S+?):?(?:\s|$)", text[text.index("stages:") :], re.MULTILINE):
        stem, ending = Path(path).stem, Path(path).suffix
        if ending in (".zip", ".safetensors") or (stem in ("valid", "test") and ending in (".npy", ".parquet")):
            yield path


def naming(content, path):
    """The parameters that name an output as their input, and the place that does."""
    del content["external_models"], content["distances"]["models"]
    changed(content, "models.two.network.weights", "DEFAULT")
    if path.suffix == ".zip":
        content["download"] = {"source": "local", "path": str(path.parent)}
        return "download.path", check_params(content)
    if path.suffix == ".safetensors":
        place = "models.two.network.weights"
        return place, check_params(changed(content, place, str(path)))
    content["external_models"] = {"mine": {"folder": str(path.parent)}}
    return "external_models.mine.folder", check_params(content)


OUTPUTS = sorted(set(outputs_that_could_be_named()))


@pytest.mark.parametrize("linked", ["", "file", "folder", "outputs"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_what_lies_where_jobs_remove_files_to_make_their_own_is_refused(content, here, output, linked):
    path = Path(output)
    if linked == "outputs":
        (here / "disk").mkdir()
        (here / path.parts[0]).symlink_to(here / "disk")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    if linked == "file":
        (here / "mine").mkdir()
        (here / "mine" / path.name).symlink_to(here / path)
    elif linked == "folder":
        (here / "mine").symlink_to(here / path.parent)
    named = {"": path, "outputs": here / "disk" / Path(*path.parts[1:])}.get(linked, here / "mine" / path.name)
    place, params = naming(content, named)
    problems = missing_files(params)
    if linked == "" and output.startswith("results/models"):
        assert problems == []
    else:
        assert len(problems) == 1 and problems[0].startswith(f"{place}: ")
        assert re.search(f"leads to {'/'.join(path.parts[:2])}.*, where the pipeline makes its own and", problems[0])


def test_outputs_of_every_kind_are_known_to_the_test_above():
    assert {str(Path(output).parent) for output in OUTPUTS} == {
        *("data/raw", "data/index", "data/thumbnails", "data/weights"),
        *("results/models/one", "results/embeddings/one", "results/distances", "results/queries"),
    }


def test_embeddings_of_a_model_that_no_longer_is_are_no_folder_of_the_users(content, here):
    (here / "results/embeddings/old").mkdir(parents=True)
    _, params = naming(content, Path("results/embeddings/old/valid.npy"))
    assert "leads to results/embeddings," in missing_files(params)[0]


def test_zips_are_looked_for_in_reid_too(content, here):
    (here / "data/raw").mkdir(parents=True)
    (here / "mine").mkdir()
    (here / "mine/reid").symlink_to(here / "data/raw")
    assert "leads to data/raw" in missing_files(naming(content, Path("mine/valid.zip"))[1])[0]


@pytest.mark.parametrize(
    "path",
    [
        *("data/own/valid.zip", "data/rawer/x.zip", "data/raw/SoccerNet/valid.zip"),
        *("results/mine/valid.npy", "data/weights/clip.pt.safetensors"),
    ],
)
def test_what_lies_beside_them_is_a_users_own(content, here, path):
    Path(path).parent.mkdir(parents=True)
    Path(path).write_bytes(b"mine")
    assert missing_files(naming(content, Path(path))[1]) == []
