"""Two runs on one page: what the program writes, and what a browser shows of it, against the rankings themselves."""

import subprocess
import sys

import numpy as np
import pytest

from builders import ROOT
from builders.contrast import contrast
from builders.gallery import make_index, write_split
from builders.page import data_of, make_page, parts_of
from reid.core.errors import ReidError
from reid.data.index import read_index
from reid.evaluation.comparison import compare, find_result
from reid.evaluation.queries import query_table, write_queries
from reid.evaluation.true_matches import scored_rows
from reid.page.header import Score, differences
from reid.page.rankings import rank_actions
from reid.ranking.distances import read_distances
from reid.retrieval.metrics import average_precision, first_match_rank
from reid.retrieval.order import rank

SIZES = [(3, 7), (1, 1), (5, 40), (4, 9), (6, 24)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Files of a split with those of the later run, and the distances of the earlier one."""
    folder = tmp_path_factory.mktemp("runs")
    table = make_index(SIZES)
    return write_split(folder, table), write_split(folder / "before", table, seed=1)["distances"]


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return make_page(runs[0], tmp_path_factory.mktemp("page") / "two.html", runs[1])


@pytest.fixture(scope="module")
def ranked(runs):
    """Of both runs: ranking of every query, its AP, rank of its first match."""
    table, _ = read_index(runs[0]["index"])
    result = []
    for path in (runs[1], runs[0]["distances"]):
        order = rank(read_distances(path))
        match, *_ = scored_rows(order, table, path)
        boxes = np.split(order.gallery, order.start[1:])
        ap, first = average_precision(match, order.start), first_match_rank(match, order.start)
        result.append((dict(zip(order.query[order.start].tolist(), boxes, strict=True)), ap, first))
    return result


def test_the_page_holds_both_rankings_and_their_scores(page, ranked):
    data, parts = data_of(page), parts_of(page)
    (before, *scores_before), (after, *scores_after) = ranked
    assert data["runs"] == ["first", "second"]
    for key, one, other in zip(("ap", "firstMatchRank"), scores_before, scores_after, strict=True):
        assert data["queries"]["before"][key] == one.tolist() and data["queries"][key] == other.tolist()
    for query, action, place in zip(*(data["queries"][k] for k in ("bbox", "action", "place")), strict=True):
        size = len(data["actions"]["gallery"][action])
        content = parts[action]
        gallery = np.array(content["bbox"][len(content["bbox"]) - size :])
        for key, wanted in (("before", before), ("order", after)):
            order = content[key][place * size : (place + 1) * size]
            assert gallery[order].tolist() == wanted[query].tolist()


def scored_queries(table, distances):
    """What scripts/evaluate.py writes of the queries."""
    order = rank(read_distances(distances))
    match, gallery, query = scored_rows(order, table, distances)
    return query_table(match, order.start, gallery, query, table)


def test_the_difference_is_that_of_compare(runs):
    """scripts/compare.py takes another way: over the tables of queries."""
    table, _ = read_index(runs[0]["index"])
    tables, pages = [], []
    for path in (runs[1], runs[0]["distances"]):
        tables.append(scored_queries(table, path))
        pages.append(rank_actions(table, read_distances(path), path))
    wanted = compare(*tables, 200, 3)
    for score in differences(*pages, 200, 3):
        assert isinstance(score, Score) and score.chance is None
        assert score.value == pytest.approx(wanted[score.name]["difference"])
        assert score.interval == wanted[score.name]["interval"]


def test_the_program_takes_files_and_folders(runs, tmp_path):
    split, before = runs
    (tmp_path / "results/distances").mkdir(parents=True)
    (tmp_path / "results/distances/valid.parquet").write_bytes(split["distances"].read_bytes())
    command = [sys.executable, ROOT / "scripts/compare_page.py", "--index", split["index"], "--params"]
    command += [ROOT / "params.yaml", "--thumbnails", split["thumbnails"], "--out", tmp_path / "two.html"]
    done = subprocess.run([*command, before, tmp_path / "results"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = data_of(tmp_path / "two.html")
    assert page["runs"] == [str(before), str(tmp_path / "results")] and not page["trainedOn"]
    (tmp_path / "results/queries").mkdir()
    queries = scored_queries(read_index(split["index"])[0], split["distances"])
    write_queries(tmp_path / "results/queries/valid.parquet", queries, "valid", trained_on=True)
    done = subprocess.run([*command, before, tmp_path / "results"], capture_output=True, text=True)
    assert f"{tmp_path / 'results'} was trained on valid: its rankings are not a valid result" in done.stderr
    assert data_of(tmp_path / "two.html")["trainedOn"]
    with pytest.raises(ReidError, match="distances/valid.parquet: is missing"):
        find_result(str(tmp_path), "distances/valid.parquet", "scripts/distances.py")


def test_files_that_are_not_named_are_those_of_the_indexs_split(tmp_path):
    split = write_split(tmp_path, make_index(SIZES), "test")
    for program, more in (("compare_page.py", [split["distances"]] * 2), ("ranked_list.py", ["--out", "list.png"])):
        command = [sys.executable, ROOT / "scripts" / program, "--index", split["index"], "--params"]
        done = subprocess.run([*command, ROOT / "params.yaml", *more], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1 and "/test." in done.stderr and "valid" not in done.stderr


def test_a_browser_sorts_filters_and_marks_by_the_difference(visit, page, ranked):
    (before, ap_before, first_before), (after, ap, first) = ranked
    bbox, gain = list(after), ap - ap_before
    shown = visit(page, height=8000)

    def rows():
        return shown.eval_on_selector_all(".row", "rows => rows.map(row => Number(row.dataset.bbox))")

    for value, key in (("-moved", -np.abs(gain)), ("gain", gain), ("-gain", -gain)):
        shown.select_option("#sort", value)
        assert rows() == [bbox[i] for i in np.lexsort((bbox, key))], value
    for value, fits in (("better", gain > 0), ("worse", gain < 0), ("same", gain == 0)):
        shown.select_option("#change", value)
        assert sorted(rows()) == [b for b, fit in zip(bbox, fits, strict=True) if fit], value
    shown.click("#again")
    summary = shown.inner_text("#summary")
    assert f"mAP {ap_before.mean():.3f} → {ap.mean():.3f}" in summary
    assert f"{(gain > 0).sum()} better in B, {(gain < 0).sum()} worse, {(gain == 0).sum()} the same" in summary
    i = int(np.abs(gain).argmax())
    query = bbox[i]
    shown.fill("#search", str(query))
    text = shown.inner_text(".row .about")
    assert f"{ap_before[i]:.3f} → {ap[i]:.3f}" in text
    assert f"first match: {first_before[i]} → {first[i]} of" in text
    shown.keyboard.press("Escape")
    shown.fill("#search", str(query))
    if shown.locator(".row .all").count():
        shown.locator(".row .all").click()
    shown.wait_for_function("[...document.querySelectorAll('.row .place span')].every(e => e.textContent)")
    for run, own in enumerate((before[query].tolist(), after[query].tolist())):
        boxes = shown.locator(".ranking").nth(run).locator(".box")
        assert boxes.count() == len(own)
        for place, (label, classes) in enumerate(
            boxes.evaluate_all("all => all.map(box => [box.ariaLabel, box.className.split(' ')])")
        ):
            ranks = [list(of[query]).index(own[place]) + 1 for of in (before, after)]
            assert f"gallery {own[place]}," in label and label.endswith(f"rank {ranks[0]} in A and {ranks[1]} in B")
            assert ("moved" in classes) is (ranks[0] != ranks[1])
            assert ("better" in classes) is ("match" in classes and ranks[1] < ranks[0])
            assert ("worse" in classes) is ("match" in classes and ranks[1] > ranks[0])


def test_what_is_marked_can_be_read_light_and_dark(visit, page):
    shown = visit(page)
    shown.wait_for_function("document.querySelector('.box.better .place span') && document.querySelector('.gained')")
    for scheme in ("light", "dark"):
        shown.emulate_media(color_scheme=scheme)
        shown.wait_for_function("() => document.getAnimations().length === 0")
        for selector in (
            ".run",
            ".gained",
            ".late",
            ".box.better .place span",
            ".box.worse .place span",
            ".moved span",
        ):
            assert contrast(shown, selector) >= 4.5, (scheme, selector)
