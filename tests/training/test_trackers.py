"""Trackers are chosen by an environment variable, read along, and cannot harm a training."""

import importlib.util
import struct

import pytest

from reid.core.errors import ReidError
from reid.training import trackers

SUMMARY = {
    "backbone": "resnet18",
    "parameters": 11,
    "flops": 22,
    "thumbnails": 33,
    "identities": 44,
    "seeds": [{"best": None}, {"best": {"mAP": 0.25}}, {"best": {"mAP": 0.5}}],
}


class Recorder:
    """A tracker that keeps what it is told; fails at the call that ``fails`` names."""

    package, fails, made = "json", "", None

    def __init__(self, run):
        self.run, self.points, self.ended = run, [], None
        type(self).made = self
        self.must("init")

    def must(self, call):
        if self.fails == call:
            raise ConnectionError("the server is gone")

    def add(self, step, values):
        self.must("add")
        self.points.append((step, values))

    def end(self, metrics, status):
        self.must("end")
        self.ended = metrics, status


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (trackers.VARIABLE, trackers.FOLDER, "MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recorder(monkeypatch):
    kind = type("Fresh", (Recorder,), {})
    monkeypatch.setitem(trackers.KINDS, "recorder", kind)
    monkeypatch.setenv(trackers.VARIABLE, "recorder")
    return kind


def begin(**more):
    return trackers.begin("small", "all that decides", {"model": {"a": {"b": 1, "off": None}}, "c": [1, 2]}, **more)


@pytest.mark.parametrize("text", ["json_a json_b", "json_a,json_b", "[json_a, json_b]", " JSON_A,,json_b,json_a "])
def test_trackers_are_named_as_a_list_in_any_way(monkeypatch, text):
    for name in ("json_a", "json_b"):
        monkeypatch.setitem(trackers.KINDS, name, Recorder)
    monkeypatch.setenv(trackers.VARIABLE, text)
    assert trackers.chosen() == ["json_a", "json_b"]


def test_without_the_variable_nothing_is_tracked_or_written(tmp_path):
    with begin() as tracking:
        tracking.add(0, {"loss": 1.0})
    assert trackers.chosen() == [] and list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_one_error_with_those_there_are(monkeypatch):
    monkeypatch.setenv(trackers.VARIABLE, "tensorbord")
    with pytest.raises(ReidError, match="'tensorbord' is no tracker; there are tensorboard, mlflow, wandb"):
        trackers.chosen()


def test_a_package_that_is_missing_is_one_error_with_the_line_that_installs_it(monkeypatch, recorder):
    recorder.package = "a_package_that_nobody_has"
    with pytest.raises(ReidError, match=r"recorder is not installed; `pip install .* -r envs/tracking\.txt`"):
        trackers.chosen()


def test_a_training_is_told_with_its_parameters_curves_and_final_numbers(recorder):
    with begin() as tracking:
        tracking.add(0, {"loss": 1.0})
        tracking.add(1, {"loss": 0.5})
        tracking.finish(trackers.final(SUMMARY))
    made = recorder.made
    assert made.run.params == {"model.a.b": 1, "c": [1, 2]}
    assert made.points == [(0, {"loss": 1.0}), (1, {"loss": 0.5})]
    assert made.ended[0] == {"parameters": 11, "flops": 22, "thumbnails": 33, "identities": 44, "valid_mAP": 0.5}
    assert made.ended[1] == "finished"


def test_the_same_training_is_the_same_run_and_another_one_is_not(recorder):
    assert begin().trackers["recorder"].run == begin().trackers["recorder"].run
    other = trackers.begin("small", "something else", {})
    assert other.trackers["recorder"].run.name != begin().trackers["recorder"].run.name


def test_processes_that_train_together_track_once(recorder):
    assert begin(first=False).trackers == {}


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "killed"), (ReidError, "failed")])
def test_how_a_training_ended_is_kept(recorder, error, status):
    with pytest.raises(error), begin():
        raise error("told")
    assert recorder.made.ended[1] == status


@pytest.mark.parametrize("call", ["init", "add", "end"])
def test_a_tracker_that_fails_is_told_of_once_and_stops_nothing(recorder, caplog, call):
    recorder.fails = call
    with begin() as tracking:
        for step in range(3):
            tracking.add(step, {"loss": 1.0})
    assert caplog.text.count("recorder fails (ConnectionError: the server is gone)") == 1


def points(folder):
    """(tag, step) of every scalar in the event files of a folder, read as TensorBoard lays them out."""
    from tensorboard.compat.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            size = struct.unpack_from("<Q", content, at)[0]
            event = Event.FromString(content[at + 12 : at + 12 + size])
            found += [(value.tag, event.step) for value in event.summary.value]
            at += 16 + size
    return found


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is an extra, not installed")
def test_tensorboard_has_the_curves_while_the_training_goes_on_and_once_after_it_resumed(monkeypatch, tmp_path):
    monkeypatch.setenv(trackers.VARIABLE, "tensorboard")
    for ends in (False, True):
        tracking = begin()
        for step in range(2):
            tracking.add(step, {"loss": 1.0 / (1 + step)})
        seen = points(tmp_path / "tracking/tensorboard")
        assert [point for point in seen if point[0] == "loss"] == [("loss", 0), ("loss", 1)]
        assert any(tag.startswith("parameters") for tag, _ in seen)
        if ends:
            tracking.finish({"valid_mAP": 0.5})
            tracking.__exit__(None, None, None)
    assert ("summary/valid_mAP", 0) in points(tmp_path / "tracking/tensorboard")
