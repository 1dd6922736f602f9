"""Metrics, curves and summaries of odd content: one clear error with the file and the place, or a figure."""

import argparse
import copy
import json
import runpy

import numpy as np
import pytest
from PIL import Image

from builders import ROOT, gallery
from reid.core.errors import ReidError
from reid.reports.curves import draw_curves, read_curve, read_summary
from reid.reports.scorecard import draw_scores, read_cmc, read_scores, read_slices

SCORES = {
    "split": "valid",
    "mAP": 0.6,
    "rank-1": 0.5,
    "mINP": 0.4,
    "chance": {"mAP": 0.2, "rank-1": 0.1},
    "queries": 12,
    "pairs": 99,
    "actions": 3,
    "interval": {"mAP": [0.5, 0.7], "rank-1": None, "mINP": [0.3, 0.5]},
}
SUMMARY = {
    "model": "small",
    "trained_on": ["train"],
    "backbone": "resnet18",
    "parameters": 11176512,
    "flops": 248709120,
    "thumbnails": 2545,
    "identities": 1607,
    "seeds": [
        {"seed": 1, "images": 1000, "best": {"mAP": 0.5, "epoch": 2, "weights": "raw"}},
        {"seed": 2, "images": 1000, "best": None},
    ],
}
GONE = object()


def with_value(content, place, value):
    """A copy of ``content`` with another value at a place, or without it."""
    content = copy.deepcopy(content)
    *parents, key = place
    part = content
    for parent in parents:
        part = part[parent]
    if value is GONE:
        del part[key]
    else:
        part[key] = value
    return content


def places(content, at=()):
    """Every place in JSON, of the outer ones first."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


DEEP = json.loads("[" * 300 + "]" * 300)
ODD = [None, True, False, -1, 0.5, 1.5, 10**400, [], {}, [1], {"a": 1}, DEEP, GONE]
ODD += ["x", "", "$\\frac{1}", "\ud800", "\0", "a\nb", "\x85", "\u202e", "日", "x" * 200, "x" * 201]
NAMES = {"model", "backbone", "weights"}
FREE = {"pairs", "trained_on", "seed"}  # what nothing is made of


def plotted_curve(values=(3.0, 2.0)):
    return np.arange(1, len(values) + 1), np.array(values)


def draw_all(folder, scores=None, summary=None):
    """Draw what was read, as the programs do."""
    if scores:
        slices = [{"slice": "class", "value": "a", "queries": 3, "mAP": 0.5, "low": None, "high": None}]
        draw_scores(folder / "s.svg", *scores, (np.array([1, 2]), np.array([0.5, 1])), np.array([0.5, 1]), slices)
    if summary:
        draw_curves(folder / "c.svg", plotted_curve(), plotted_curve(), *[plotted_curve(())] * 2, summary)


@pytest.mark.parametrize("kind", ["scores", "summary"])
def test_any_value_at_any_place_is_refused_with_the_place_or_drawn(tmp_path, kind):
    content, read = {"scores": (SCORES, read_scores), "summary": (SUMMARY, read_summary)}[kind]
    path, taken = tmp_path / "a.json", 0
    for place in places(content):
        for value in ODD:
            path.write_text(json.dumps(with_value(content, place, value)))
            try:
                result = read(path)
            except ReidError as error:
                message = str(error)
                assert message.startswith(f"{path}: ") and "make it with scripts/" in message, message
                assert len(message) < 300 + len(str(path)) and message.isprintable() and message.isascii(), message
                assert str(place[0]) in message or "unexpected" in message or "is no" in message, (place, message)
            else:
                taken += 1
                drawn = place[-1] in NAMES or (place[-1] not in FREE and taken % 29 == 0)  # a third of a second each
                if drawn:
                    draw_all(tmp_path, **{kind: result})
    assert taken > 20


@pytest.mark.parametrize(
    "content", ["", "x", "3", "null", "[]", '"a"', "{}", "[" * 5000, '{"mAP": 1e400}', '{"mAP": NaN}']
)
@pytest.mark.parametrize("read", [read_scores, read_summary])
def test_other_json_is_refused(tmp_path, read, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ReidError, match=r"a\.json: ") as caught:
        read(tmp_path / "a.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("read", [read_scores, read_summary])
def test_file_without_end_is_refused_by_its_size(tmp_path, read):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ReidError, match="has 1,073,741,824 bytes, and .* is the most"):
        read(tmp_path / "a.json")


def test_scores_of_training_data_must_be_there_and_be_scores(tmp_path):
    path = tmp_path / "a.json"
    for content, problem in (
        ({"split": "valid", "trained_on": True}, "it: null is not an object"),
        ({"split": "valid", "trained_on": True, "of_training_data": []}, r"it: \[\] is not an object"),
        ({"split": "valid", "trained_on": 1, "of_training_data": SCORES}, "trained_on: 1 is not true or false"),
        (
            {"split": "train", **{key: SCORES[key] for key in SCORES if key != "split"}},
            'split: "train" is not valid or',
        ),
        ({**SCORES, "interval": {**SCORES["interval"], "rank-0": None}, "rank-0": 0.5}, 'there is no score "rank-0"'),
        ({**SCORES, "interval": {**SCORES["interval"], "rank-5": None}}, "rank-5 is missing"),
        ({**SCORES, "chance": {**SCORES["chance"], "rank-x": 0.5}}, 'there is no score "rank-x"'),
        ({**SCORES, "chance": {**SCORES["chance"], "rank-" + "9" * 30: 0.5}}, "there is no score"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ReidError, match=f"a.json: has no scores with intervals .{problem}"):
            read_scores(path)


def test_as_many_scores_as_no_figure_can_hold_are_refused(tmp_path):
    names = [f"rank-{k}" for k in range(1, 3000)]
    many = {**SCORES, **dict.fromkeys(names, 0.5), "interval": dict.fromkeys(names, None)}
    (tmp_path / "a.json").write_text(json.dumps(many))
    with pytest.raises(ReidError, match="it has 3,000 scores, and 1,000 is the most that can be drawn"):
        read_scores(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps(SUMMARY | {"seeds": [{"images": 1, "best": None}] * 3000}))
    with pytest.raises(ReidError, match="it has 3000 seeds"):
        read_summary(tmp_path / "a.json")


# ---- tables of text

CMC, SLICES, CURVE = (
    "rank,share\n1,0.5\n2,1.0\n",
    "slice,value,queries,mAP,low,high\na,b,3,0.5,0.4,0.6\na,c,4,0.5,,\n",
    ("step\tloss\n0\t3.5\n1\t1e-3\n"),
)
READERS = {
    "cmc": (CMC, read_cmc, "scripts/evaluate.py"),
    "slices": (SLICES, read_slices, "scripts/evaluate.py --slices"),
    "curve": (CURVE, lambda path: read_curve(path, "loss"), "scripts/train.py"),
}


def test_tables_of_text_are_read(tmp_path):
    for name, (content, read, _) in READERS.items():
        (tmp_path / name).write_text(content)
        assert len(read(tmp_path / name)) == 2
    assert [part.tolist() for part in read_curve(tmp_path / "curve", "loss")] == [[1, 2], [3.5, 0.001]]


@pytest.mark.parametrize(
    "kind, content",
    [
        ("cmc", "rank,share\n"),
        ("cmc", CMC + "2,1.0\n"),
        ("cmc", CMC + "4,1.0\n"),
        ("cmc", "rank,share\n0,0.5\n"),
        ("cmc", "rank,share\n2,0.5\n1,0.5\n"),
        ("cmc", CMC.replace("0.5", "1.5")),
        ("cmc", CMC.replace("0.5", "nan")),
        ("cmc", CMC.replace("0.5", "")),
        ("cmc", CMC.replace("0.5", "1e400")),
        ("cmc", CMC.replace("1,0.5", "1.0,0.5")),
        ("cmc", CMC.replace("1,0.5", "9" * 30 + ",0.5")),
        ("slices", SLICES.splitlines()[0]),
        ("slices", SLICES.replace("3,0.5", "-3,0.5")),
        ("slices", SLICES.replace("3,0.5", "3,-0.5")),
        ("slices", SLICES.replace("0.4", "x")),
        ("slices", SLICES.replace("0.4", "4")),
        ("slices", SLICES.replace("b,3", "3")),
        ("slices", SLICES.replace("a,b", 'a,"b\0"')),
        ("slices", SLICES.replace("a,b", "a," + "b" * 300)),
        ("slices", SLICES.splitlines()[0] + "\na,b,3,0.5,0.4,0.6" * 2000),
        ("curve", CURVE + "1\t2\n"),
        ("curve", CURVE + "0\t2\n"),
        ("curve", CURVE + "-1\t2\n"),
        ("curve", CURVE + "2\tnan\n"),
        ("curve", CURVE + "2\tinf\n"),
        ("curve", CURVE + "2\t1e300\n"),
        ("curve", CURVE + "2.5\t1\n"),
        ("curve", CURVE.replace("\t", ",")),
        ("curve", CURVE.replace("loss", "Loss")),
    ],
)
def test_tables_of_odd_content_are_refused_with_their_maker(tmp_path, kind, content):
    _, read, maker = READERS[kind]
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ReidError, match=rf"a\.csv: .*; make it with {maker}$") as caught:
        read(tmp_path / "a.csv")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


def test_largest_values_that_are_read_are_drawn(tmp_path):
    """Beyond them matplotlib fails."""
    for values in ([1e30, -1e30], [0.0, 0.0], [1e-300, 1e30], [5.0]):
        draw_curves(tmp_path / "c.svg", *[plotted_curve(values)] * 4, SUMMARY)


@pytest.mark.parametrize("name", ["$", "$x$", "$\\frac{1}$", "a $ b $ c", "_^{", "<b>&amp;", "\\n"])
def test_names_are_no_formulas_and_no_markup(tmp_path, name):
    draw_curves(tmp_path / "c.svg", *[plotted_curve()] * 2, *[plotted_curve(())] * 2, SUMMARY | {"model": name})
    text = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f">{text}: training</text>" in (tmp_path / "c.svg").read_text(encoding="utf-8")


# ---- numbers of images that a program would draw


@pytest.mark.parametrize("queries, worst, matches", [(None, 1000, 5), (None, 8, 1000), (list(range(600)), 8, 5)])
def test_more_images_than_a_sheet_can_hold_are_refused_before_work(tmp_path, queries, worst, matches):
    program = runpy.run_path(str(ROOT / "scripts/explain.py"))
    files = gallery.write_split(tmp_path, gallery.make_index([(2, 3)]))
    given = {"checkpoint": tmp_path / "none", "out": tmp_path / "out.png", "threads": 1, **files}
    with pytest.raises(ReidError, match="images, 1500 the most"):
        program["main"](argparse.Namespace(queries=queries, worst=worst, matches=matches, **given))
    assert not (tmp_path / "out.png").exists()


def test_split_of_another_name_is_not_described(tmp_path):
    program = runpy.run_path(str(ROOT / "scripts/describe.py"))
    files = gallery.write_split(tmp_path, gallery.make_index([(2, 3)]), split="mine")
    outs = {name: tmp_path / "out" / name for name in ("json", "parquet", "plots", "sheet")}
    given = {"index": [files["index"]], "thumbnails": [files["thumbnails"]], "split": "mine", **outs}
    words = r'index\.parquet: is not an index .*split: "mine" is not train or valid or test or challenge'
    with pytest.raises(ReidError, match=words):
        program["main"](argparse.Namespace(**given))
    assert not (tmp_path / "out").exists()


def test_one_thumbnail_is_an_image_whatever_its_size(tmp_path):
    files = gallery.write_split(tmp_path, gallery.make_index([(1, 1)]), height=2, width=200)
    assert Image.fromarray(np.load(files["thumbnails"])[0]).size == (200, 2)
