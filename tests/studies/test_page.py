"""The tables and the page of a study say what its scores say."""

import csv
import io
import json
import re

import numpy as np
import pytest

from builders.study import Skills, read
from reid.core.errors import ReidError
from reid.studies.jobs import training_path
from reid.studies.page import Scale, _spans, write_page
from reid.studies.plan import expand, read_base
from reid.studies.result import _curve, _valid_curve, result
from reid.studies.table import HEADER, csv_rows, markdown


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with a row that failed, its scores, and what was found."""
    folder = tmp_path_factory.mktemp("study")
    file, path = read(folder)
    scored = Skills(folder / "out", {"base": 0.3, "wide": None, "supcon": 0.8, "metric": 0.9}, folder / "work")
    plan = expand(file, path, read_base(file, path), scored)
    (folder / "base.yaml").write_text("# edited while the study ran\n")
    return plan, scored, result("some", plan, scored, folder / "out")


def _lines(found):
    stream = io.StringIO()
    csv.writer(stream).writerows([HEADER, *csv_rows(found)])
    return io.StringIO(stream.getvalue())


def test_figures_are_those_of_the_scores(study):
    plan, scored, found = study
    json.dumps(found, allow_nan=False)
    supcon = found["axes"][0]["rows"][2]
    row = plan.axes[0].rows[1]
    for split in ("valid", "test"):
        after, before = scored.scores(row, [1, 2], split), scored.scores(plan.base, [1, 2], split)
        assert supcon[split]["mAP"] == pytest.approx(np.mean([one.mean() for one in after.ap]))
        assert supcon[split]["seeds"] == pytest.approx([one.mean() for one in after.ap])
        assert supcon["change"][split]["mAP"]["difference"] == pytest.approx(after.ap.mean() - before.ap.mean())
        moved = np.sum(after.ap.mean(0) > before.ap.mean(0) + 1e-9)
        assert supcon["change"][split]["better"] == moved
    assert supcon["seconds"] == pytest.approx(300 * (1 / 50 + 1 / 100) / 2)
    assert found["comparisons"] == 2  # wide failed
    assert found["trainings"] == 6 and found["kept"] == "metric"
    assert found["axes"][1]["rows"][0]["row"] == "supcon" and found["axes"][1]["rows"][1]["stays"]
    assert "supcon" in found["difference"] and "cosine" in found["difference"]


def test_a_curve_of_valid_is_of_the_averaged_weights_where_there_are_any(study, tmp_path):
    row = study[0].base
    path = training_path(tmp_path, row, 1, "curves/valid_mAP.tsv")
    path.parent.mkdir(parents=True)
    path.write_text("step\tvalid_mAP\n0\t0.3\n1\t0.4\n2\t0.4\n")
    assert _valid_curve(row, 1, tmp_path) == [[1, 0.3], [2, 0.4], [3, 0.4]]
    averaged = path.with_name("valid_mAP_averaged.tsv")
    averaged.write_text("step\tvalid_mAP_averaged\n")
    assert _valid_curve(row, 1, tmp_path) == [[1, 0.3], [2, 0.4], [3, 0.4]]
    averaged.write_text("step\tvalid_mAP_averaged\n1\t0.6\n2\t0.7\n")
    assert _valid_curve(row, 1, tmp_path) == [[1, 0.3], [2, 0.6], [3, 0.7]]


def test_a_curve_that_is_none_is_named(tmp_path):
    path = tmp_path / "loss.tsv"
    assert _curve(path, "loss") == []
    path.write_text("step\tloss\n0\t2.5\n1\t2\n")
    assert _curve(path, "loss") == [[1, 2.5], [2, 2.0]]
    path.write_text("step\tloss\n0\t2.5\n1\n")
    with pytest.raises(ReidError, match=re.escape(f"{path}: is not the table expected (line 3")):
        _curve(path, "loss")


def test_slices_are_the_parts_that_differ_most(study):
    plan, scored, found = study
    rows = found["axes"][0]["rows"][2]["slices"]
    change = scored.valid(plan.axes[0].rows[1], [1, 2]).ap.mean(0) - scored.valid(plan.base, [1, 2]).ap.mean(0)
    queries = scored.valid(plan.base, [1, 2]).queries
    left = np.array([clazz == "Player_team_left" for clazz in queries["clazz"].to_pylist()])
    (row,) = [row for row in rows if row["value"] == "Player_team_left"] or [None]
    if row:
        assert row["difference"] == pytest.approx(change[left].mean()) and row["queries"] == left.sum()
    far = [abs(row["difference"] - change.mean()) for row in rows]
    assert rows and far == sorted(far, reverse=True)


def test_markdown_and_csv_hold_every_row(study):
    _, _, found = study
    text = markdown(found)
    assert "| wide | failed: it broke |" in text
    # bootstraps know nothing of seeds: no word of one in twenty for rows that train
    assert "not what another training would" in text and "about one in twenty" not in text
    for axis in found["axes"]:
        for row in axis["rows"]:
            if not row["problem"]:
                assert f"| {row['row']} | {100 * row['valid']['mAP']:.1f} |" in text
    rows = list(csv.DictReader(_lines(found)))
    assert [(row["axis"], row["row"], row["stays"]) for row in rows] == [
        ("loss", "base", "no"), ("loss", "wide", "no"), ("loss", "supcon", "yes"),
        ("metric", "supcon", "no"), ("metric", "metric", "yes"),
    ]  # fmt: skip
    assert float(rows[2]["test mAP"]) == found["axes"][0]["rows"][2]["test"]["mAP"]
    assert rows[1]["problem"] == "it broke" and rows[1]["valid mAP"] == ""


def test_page_stands_alone_and_says_the_same(study, tmp_path):
    _, _, found = study
    write_page(tmp_path / "index.html", found)
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page) and "<script" not in page
    for axis in found["axes"]:
        for row in axis["rows"]:
            if not row["problem"]:
                assert f"{100 * row['valid']['mAP']:.1f} <small>rank-1" in page
    assert "failed: it broke" in page and "look at the single seeds" in page
    write_page(tmp_path / "again.html", found)
    assert (tmp_path / "again.html").read_text() == page


def test_without_test_nothing_of_it_is_said(study, tmp_path):
    plan, scored, whole = study
    file = plan.study.model_copy(update={"splits": ["valid"]})
    found = result("some", plan._replace(study=file), scored, scored.folder)
    assert [*found["queries"]] == ["valid"] and "test" not in found["axes"][0]["rows"][0]
    assert found["axes"][1]["rows"][1]["valid"] == whole["axes"][1]["rows"][1]["valid"]
    write_page(tmp_path / "index.html", found)
    text = re.sub("<style>.*</style>", "", (tmp_path / "index.html").read_text(), flags=re.DOTALL) + markdown(found)
    assert not re.search(r"\btest\b", text) and "seeds on valid" in text
    rows = list(csv.DictReader(_lines(found)))
    assert all(row["test mAP"] == row["test seeds"] == "" and None not in row for row in rows)


def test_names_cannot_break_the_page(study, tmp_path):
    _, _, found = study
    hostile = json.loads(json.dumps(found))
    hostile["axes"][0]["rows"][1]["problem"] = "</section><script>alert(1)</script>"
    write_page(tmp_path / "index.html", hostile)
    assert "<script" not in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("places", [5, 9])
@pytest.mark.parametrize("where", [0.95, 0.8, 0.6, 0.3])
def test_points_in_one_place_have_one_label_that_stays_inside(study, tmp_path, where, places):
    _, _, found = study
    crowded = json.loads(json.dumps(found))
    base, _, here = crowded["axes"][0]["rows"]
    here["seconds"] = where * base["seconds"]
    elsewhere = here | {"seconds": 0.05 * base["seconds"]}
    crowded["axes"] = [crowded["axes"][0] | {"rows": [base, *[here, elsewhere] * places]}]
    write_page(tmp_path / "index.html", crowded)
    page, numbers = (tmp_path / "index.html").read_text(), ", ".join(map(str, range(2, 2 * places + 1, 2)))
    (label,) = re.findall(f"<text ([^>]*)>{numbers}</text>", page)
    left = float(re.findall(r'x="([\d.]+)%"', label)[0])
    wide = 2.1 * len(numbers)  # per cent, on a phone
    left += -wide - 2.5 if "end" in label else -wide / 2 if "middle" in label else 2.5
    assert left >= 0 and left + wide <= 100


def test_numbers_in_a_row_are_a_span():
    assert [_spans(numbers) for numbers in ([3], [3, 4], [3, 4, 5], [1, 3, 4, 5, 9, 10])] == [
        "3", "3, 4", "3–5", "1, 3–5, 9, 10",
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[0, 1], [31.2, 31.2], [-3, 40], [1e-4, 3e-4], [12, 47.5, 33]])
def test_scales_hold_all_values_between_a_few_round_ticks(values):
    scale = Scale(values)
    assert all(0 <= scale(value) <= 100 for value in values)
    assert 2 <= len(scale.ticks) <= 12 and all(0 <= scale(tick) <= 100 for tick in scale.ticks)
