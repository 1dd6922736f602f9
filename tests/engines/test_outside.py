"""What params.yaml names outside of the pipeline is an input by its content, and must be there."""

import copy
import json
import os
import time

import numpy as np
import pytest
import yaml

from builders.model import changed
from builders.split import TinySplit, split_folder, split_zip, write_zip
from builders.whole import MINIMAL, load
from reid.core.errors import ReidError
from reid.core.splits import RANKED, SPLITS
from reid.engines import outside
from reid.params import check_params

NAMES = [
    "plain",
    "a b",
    "it's",
    '"q"',
    "{split}",
    "}{",
    "$HOME",
    "$(touch X)",
    "`touch X`",
    "b\\s",
    "é",
    "-n",
    "a;b&c|d",
]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty folder to work in, in which what was worked out is remembered at once."""
    folder = tmp_path / "project"
    (folder / ".snakemake").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 60)
    return folder


@pytest.fixture
def named(tmp_path):
    """``named(name)`` makes files and folders whose names hold ``name``, and the parameters that name them."""

    def make(name="plain"):
        top = tmp_path / f"out {name}"
        for split in SPLITS:
            split_zip(top / f"zips {name}" / f"{split}.zip", split)
        (top / f"embeddings {name}").mkdir()
        for split in RANKED:
            np.save(top / f"embeddings {name}" / f"{split}.npy", np.zeros((2, 3)))
        (top / f"w {name}.pth").write_bytes(b"weights")
        return top, params_of(top, name)

    return make


def params_of(top, name, changes=None):
    content = changed(load(MINIMAL), {"download": {"source": "local", "path": str(top / f"zips {name}")}})
    content["models"]["two"] = copy.deepcopy(content["models"]["one"])
    content = changed(content, {"models.one.network.weights": str(top / f"w {name}.pth")})
    content["external_models"] = {"elsewhere": {"folder": str(top / f"embeddings {name}")}}
    return check_params(changed(content, changes or {}))


def record(params):
    outside.record(params, params.model_dump(mode="json", exclude_unset=True))


def recorded(name):
    return json.loads((outside.RECORDS / f"{name}.json").read_text())


def all_of(params):
    """Everything that the engines depend on, as DVC finds it."""
    record(params)
    found = {name: recorded(name) for name in ("download", "external_models")}
    assert {path.stem for path in outside.WEIGHTS.glob("*.json")} == set(params.models)
    files = {name: recorded(f"weights/{name}")["file"] for name in params.models}
    return {**found, "weights": {name: file for name, file in files.items() if file}}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind_are_found_and_stand_nowhere_in_what_is_recorded(named, name):
    top, params = named(name)
    found = all_of(params)
    assert set(found["download"]) == set(SPLITS)
    assert set(found["weights"]) == {"one"}
    assert set(found["external_models"]["elsewhere"]) == set(RANKED)
    assert str(top) not in json.dumps(found, ensure_ascii=False)


def test_a_home_folder_and_paths_from_here_are_found(named, project, tmp_path, monkeypatch):
    top, params = named()
    found = all_of(params)
    monkeypatch.setenv("HOME", str(tmp_path))
    for short in (f"~/{top.name}", os.path.relpath(top)):
        changes = {
            "download.path": f"{short}/zips plain",
            "models.one.network.weights": f"{short}/w plain.pth",
            "external_models.elsewhere.folder": f"{short}/embeddings plain",
        }
        assert all_of(params_of(top, "plain", changes)) == found


def replace(path, content):
    """As a copy or `mv` does it: another file under the name."""
    path.with_name("new").write_bytes(content)
    os.replace(path.with_name("new"), path)


def test_what_is_replaced_or_changed_in_place_is_other_content_and_nothing_else_is(named):
    top, params = named()
    zips, embeddings, weights = top / "zips plain", top / "embeddings plain", top / "w plain.pth"
    before = all_of(params)
    assert all_of(params) == before

    split = TinySplit("test")
    split.boxes[0]["height"] = 40  # a name in the directory
    write_zip(zips / "new", split.members())
    os.replace(zips / "new", zips / "test.zip")
    after = all_of(params)
    assert after["download"]["test"] != before["download"]["test"]
    assert {**after["download"], "test": None} == {**before["download"], "test": None}

    members = TinySplit("valid").members()
    name = next(iter(members))
    content = bytearray(members[name])
    content[-20] ^= 1  # the same size
    write_zip(zips / "valid.zip", {**members, name: bytes(content)})
    assert all_of(params)["download"]["valid"] != before["download"]["valid"]

    replace(weights, b"weightz")
    again = all_of(params)
    assert again["weights"]["one"] != before["weights"]["one"]
    times = weights.stat()
    with open(weights, "r+b") as file:
        file.write(b"W")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # the time does not tell
    assert all_of(params)["weights"]["one"] not in (before["weights"]["one"], again["weights"]["one"])

    np.save(embeddings / "valid.npy", np.ones((2, 3)))
    last = all_of(params)["external_models"]["elsewhere"]
    assert last["valid"] != before["external_models"]["elsewhere"]["valid"]
    assert last["test"] == before["external_models"]["elsewhere"]["test"]


def test_a_copy_with_another_time_and_name_is_the_same_content(named, tmp_path):
    top, params = named()
    before = all_of(params)
    other, params = named("other")
    for old, new in (("w plain.pth", "w other.pth"), ("zips plain/test.zip", "zips other/test.zip")):
        replace(other / new, (top / old).read_bytes())
        os.utime(other / new, (1, 1))
    after = all_of(params)
    assert (after["weights"], after["download"]["test"]) == (before["weights"], before["download"]["test"])


def test_parameters_of_stages_without_are_recorded_and_a_record_that_holds_is_left_alone(named):
    top, params = named()
    record(params)
    content = load(MINIMAL)["models"]["one"]
    for name, path in (("one", str(top / "w plain.pth")), ("two", None)):
        found = recorded(f"weights/{name}")
        network = {**content["network"], **({"weights": path} if path else {})}
        assert {key: found[key] for key in ("network", "input")} == {"network": network, "input": content["input"]}

    def times():
        return {path.name: path.stat().st_mtime_ns for path in outside.WEIGHTS.iterdir()}

    before = times()
    record(params_of(top, "plain", {"models.two.seed": 7, "embed.batch_size": 3}))
    assert times() == before
    assert recorded("embed") == {**load(MINIMAL)["embed"], "batch_size": 3}
    record(params_of(top, "plain", {"models.two.input.height": 96}))
    assert {name for name, time in times().items() if time != before[name]} == {"two.json", ".two.json.sums"}
    (outside.WEIGHTS / "one.json").write_text("{")
    record(params)
    assert recorded("weights/one")["file"]["bytes"] == 7
    (outside.RECORDS / "weights.json").write_text("{}")  # as an earlier version left it
    record(check_params(load(MINIMAL)))
    left = {str(path.relative_to(outside.RECORDS)) for path in outside.RECORDS.rglob("*") if path.is_file()}
    kept = {"download.json", "external_models.json", "embed.json", "weights/one.json"}
    assert {name for name in left if not name.endswith(".sums")} == kept and len(left) == 2 * len(kept)


def test_sections_are_recorded_as_they_are_written(project):
    content = changed(load(MINIMAL), {"models.one.network.pooling": "gem", "embed.flip_test": False})
    outside.record(check_params(content), content)
    model = content["models"]["one"]
    assert recorded("weights/one") == {"network": model["network"], "input": model["input"], "file": None}
    assert recorded("embed") == content["embed"]


def test_nothing_is_read_again_that_was_not_touched(named, monkeypatch):
    _, params = named()
    before = all_of(params)

    def never(*args):
        raise AssertionError("read again")

    for name in ("sha256", "directory_bytes"):
        monkeypatch.setattr(outside, name, never)
    assert all_of(params) == before


def test_what_was_just_touched_is_not_remembered(named, monkeypatch):
    """Another change within a tick of the clock would have the same size and times."""
    top, params = named()
    touched = (top / "w plain.pth").stat().st_ctime
    for seconds, remembered in ((-1, False), (1, False), (3, True)):
        monkeypatch.setattr(time, "time", lambda now=touched + seconds: now)
        outside.weights(params, "one")
        assert outside.MEMORY.exists() == remembered


@pytest.mark.parametrize("memory", ["", "{", "[]", "null", '{"a": 1}'])
def test_a_damaged_memory_is_forgotten(named, memory):
    _, params = named()
    before = all_of(params)
    outside.MEMORY.write_text(memory)
    assert all_of(params) == before


def test_a_folder_to_pack_is_known_by_its_files(named, tmp_path):
    top, params = named()
    zips, away = top / "zips plain", tmp_path / "away"
    away.mkdir()
    (away / "a.png").touch()
    (zips / "valid.zip").unlink()
    split_folder(zips, "valid")
    before = outside.download(params, "valid")
    assert before["files"] == len(TinySplit("valid").members())
    image = next(zips.rglob("*.png"))
    for change in (
        lambda: image.write_bytes(b"other"),
        lambda: image.with_name("new.png").write_bytes(b""),
        lambda: image.with_name("new.png").rename(image.with_name("renamed.png")),
        lambda: image.unlink(),
        lambda: os.symlink(away, image.parent / "link"),
    ):
        change()
        after = outside.download(params, "valid")
        assert after != before
        before = after
    os.symlink(zips / "valid", away / "round")
    with pytest.raises(ReidError, match="round: is a link that leads back to a folder above it"):
        outside.download(params, "valid")


def test_what_is_missing_is_one_clear_error_that_names_it(named):
    top, params = named()
    (top / "w plain.pth").rename(top / "gone.pth")
    with pytest.raises(ReidError, match="models.one.network.weights: .*w plain.pth: there is no such file"):
        outside.check(params)
    with pytest.raises(ReidError, match=r"models.one.network.weights"):
        record(params)
    (top / "gone.pth").rename(top / "w plain.pth")

    for split, ending in (("test", "npy"), ("valid", "parquet")):
        (top / "embeddings plain" / f"{split}.npy").rename(top / "embeddings plain" / f"{split}.{ending}x")
        with pytest.raises(ReidError, match=f"external_models.elsewhere.folder: .* holds neither {split}.npy nor"):
            outside.external(params, "elsewhere", split)
    (top / "zips plain/train.zip").unlink()
    with pytest.raises(ReidError, match="download.path: .* holds neither train.zip nor train/"):
        outside.download(params, "train")
    assert not outside.RECORDS.exists()


@pytest.mark.parametrize("kind", ["half", "text", "pipe", "folder", "nowhere"])
def test_a_zip_that_is_none_is_refused_before_anything_is_removed(named, kind):
    top, params = named()
    path = top / "zips plain/test.zip"
    content = path.read_bytes()
    path.unlink()
    {
        "half": lambda: path.write_bytes(content[:1000]),
        "text": lambda: path.write_text("<html>"),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
        "nowhere": lambda: path.symlink_to("nowhere"),
    }[kind]()
    with pytest.raises(ReidError, match="test.zip"):
        outside.download(params, "test")


def test_a_checkpoint_that_a_run_here_makes_is_no_input_from_outside(named):
    top, _ = named()
    for written in ("results/models/one/last.safetensors", "./results/models/one/last.safetensors"):
        params = params_of(top, "plain", {"models.two.network.weights": written})
        outside.check(params)
        assert params.made_here("two") == "results/models/one/last.safetensors"
        assert outside.weights(params, "two") is None and params.made_here("one") is None
    params = params_of(top, "plain", {"models.two.network.weights": "results/models/three/model.safetensors"})
    with pytest.raises(ReidError, match="models.two.network.weights"):
        outside.check(params)


def test_nothing_is_named_by_a_synthetic_data_set_and_models_from_scratch():
    params = check_params(load(MINIMAL))
    assert all_of(params) == {"download": dict.fromkeys(SPLITS), "weights": {}, "external_models": {}}


def write_study(axes, base=None):
    """``studies/one.yaml`` on top of ``mine/base.yaml``; MINIMAL has the zips of a synthetic data set."""
    for folder in ("mine", "studies"):
        os.makedirs(folder, exist_ok=True)
    with open("mine/base.yaml", "w") as file:
        yaml.safe_dump(base or load(MINIMAL), file)
    with open("studies/one.yaml", "w") as file:
        yaml.safe_dump({"base": "mine/base.yaml", "seeds": [1, 2], "splits": ["valid"], "axes": axes}, file)


def of_study():
    outside.record_studies(["one"])
    return recorded("studies/one")


def test_a_study_depends_on_its_base_and_on_what_every_row_names_by_content(named):
    top, _ = named()
    local = {"source": "local", "path": str(top / "zips plain")}
    axes = [{"axis": "outside", "change": {"network.weights": str(top / "w plain.pth")}}]
    base = {**load(MINIMAL), "download": local}
    (top / "zips plain/test.zip").unlink()  # no row needs it
    write_study(axes, base)
    before = of_study()
    assert of_study() == before and str(top) not in json.dumps(before)

    replace(top / "w plain.pth", b"weightz")
    assert (after := of_study())["weights"] != before["weights"] and after["download"] == before["download"]
    (top / "zips plain/train.zip").write_bytes((top / "zips plain/valid.zip").read_bytes())
    assert (last := of_study())["download"] != after["download"] and last["base"] == before["base"]
    write_study(axes, changed(base, {"models.one.epochs": 77}))
    assert of_study() == {**last, "base": of_study()["base"]} != last

    (top / "w plain.pth").unlink()
    assert "outside: models.one.network.weights: " in (problem := of_study()["problem"]) and "w plain.pth" in problem


def test_a_study_that_cannot_be_is_recorded_with_the_reason_and_the_others_as_ever(named):
    write_study([{"axis": "margin", "change": {"epochs": 7}}])
    before = of_study()
    outside.record_studies(["gone", "one"])
    assert recorded("studies/one") == before
    assert list(recorded("studies/gone")) == ["problem"] and "gone.yaml" in recorded("studies/gone")["problem"]


def test_records_of_studies_go_with_them_and_not_with_those_of_params(named):
    write_study([{"axis": "margin", "change": {"epochs": 7}}])
    _, params = named()
    before = of_study()
    record(params)
    assert recorded("studies/one") == before
    outside.record_studies([])
    assert list(outside.STUDIES.iterdir()) == [] and recorded("embed")
