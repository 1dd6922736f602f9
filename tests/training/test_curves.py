"""Curve files of a training."""

import csv
import os

import pytest

from reid.core.checksums import sums_path, verify
from reid.core.errors import ReidError
from reid.reports.curves import read_curve
from reid.training.curves import Curves


def points(path):
    """Header and rows of a curve, numbers as numbers."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    return header, [(int(step), float(value)) for step, value in rows]


def test_curves_hold_a_point_for_every_epoch_in_which_there_is_one(tmp_path):
    curves = Curves(tmp_path / "a/curves", ["loss"])
    curves.add(0, {"loss": 0.1 + 0.2, "rate": 1e-7})
    curves.add(1, {"loss": 2})
    curves.add(2, {"loss": 1 / 3, "rate": 5e-324})
    assert {path.name for path in (tmp_path / "a/curves").iterdir()} == {"loss.tsv", "rate.tsv"}
    assert points(tmp_path / "a/curves/loss.tsv") == (["step", "loss"], [(0, 0.1 + 0.2), (1, 2.0), (2, 1 / 3)])
    assert points(tmp_path / "a/curves/rate.tsv") == (["step", "rate"], [(0, 1e-7), (2, 5e-324)])
    assert b"\r" not in (tmp_path / "a/curves/loss.tsv").read_bytes()


def test_named_curves_without_a_point_are_a_header(tmp_path):
    Curves(tmp_path, ["loss", "valid_mAP"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "loss.tsv": "step\tloss\n",
        "valid_mAP.tsv": "step\tvalid_mAP\n",
    }


def test_points_of_an_earlier_training_are_gone_from_the_start(tmp_path):
    Curves(tmp_path, ["loss"]).add(0, {"loss": 1.0, "triplet": 2.0})
    (tmp_path / "notes.txt").write_text("mine")
    curves = Curves(tmp_path, ["loss"])
    assert {path.name for path in tmp_path.iterdir()} == {"loss.tsv", "notes.txt"}
    assert points(tmp_path / "loss.tsv") == (["step", "loss"], [])
    curves.add(0, {"loss": 3.0})
    assert points(tmp_path / "loss.tsv") == (["step", "loss"], [(0, 3.0)])


def test_curves_that_have_ended_are_read_only_as_they_were_written(tmp_path):
    curves = Curves(tmp_path, ["loss"])
    curves.add(0, {"loss": 3.5, "triplet": 2.5})
    assert read_curve(tmp_path / "loss.tsv", "loss")[1] == [3.5]  # as it grows
    curves.end()
    assert read_curve(tmp_path / "loss.tsv", "loss")[1] == [3.5]
    for name in ("loss", "triplet"):
        path = tmp_path / f"{name}.tsv"
        path.write_text(path.read_text().replace(".5", ".1"))
        with pytest.raises(ReidError, match=rf"{name}\.tsv: is not what was written"):
            read_curve(path, name)


@pytest.mark.parametrize("removed", [True, False])
def test_digests_of_an_earlier_training_are_gone_from_the_start(tmp_path, removed):
    for number in range(2):
        curves = Curves(tmp_path, ["loss"])
        curves.add(number, {"loss": number, "triplet": number})
        for name in ("loss", "triplet"):
            verify(tmp_path / f"{name}.tsv")
        curves.end()
        if removed:  # as engines do before a training
            (tmp_path / "loss.tsv").unlink()
    assert sums_path(tmp_path / "triplet.tsv").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_curve_on_a_full_disk_is_named(tmp_path):
    curves = Curves(tmp_path, ["loss"])
    (tmp_path / "triplet.tsv").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*triplet\.tsv'"):
        curves.add(0, {"triplet": 1.0})
