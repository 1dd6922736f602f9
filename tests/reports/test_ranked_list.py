"""The picture of ranked lists: what is drawn of whom, and the program."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from builders import ROOT
from builders.gallery import make_index, write_split
from reid.core.errors import ReidError
from reid.data.index import read_index
from reid.ranking.distances import read_distances
from reid.reports import ranked_list
from reid.reports.chosen_queries import choose
from reid.reports.ranked_list import draw_ranked_list
from reid.retrieval.order import rank

SIZES = [(3, 7), (5, 40), (1, 1)]


def drawn(folder, monkeypatch, labels=True, queries=(4, 0), boxes=6, trained_on=False):
    """The sheet's path, its lines and texts, the index and the rankings."""
    paths = write_split(folder, make_index(SIZES, labels), "valid" if labels else "challenge")
    table, about = read_index(paths["index"])
    pairs, given = read_distances(paths["distances"]), []
    sheet = ranked_list.ranked_sheet
    monkeypatch.setattr(ranked_list, "ranked_sheet", lambda *of: (given.append(of), sheet(*of)))
    chosen = choose(table, pairs, "d", queries, 0, boxes)
    draw_ranked_list(
        folder / "list.png", about["split"], trained_on, chosen, boxes, table, np.load(paths["thumbnails"])
    )
    return given[0], table.to_pylist(), rank(pairs)


def test_the_queries_named_are_drawn_in_their_order(tmp_path, monkeypatch):
    (path, title, key, notice, lines, boxes, _), rows, ranked = drawn(tmp_path, monkeypatch)
    assert title == "valid: ranked lists" and not notice and "Match: tick" in key[1] and boxes == 6
    assert [rows[line.row]["bbox_idx"] for line in lines] == [4, 0]
    with Image.open(path) as image:
        assert image.size[0] >= 900 and not image.info
    for line in lines:
        query = rows[line.row]
        order = ranked.gallery[ranked.query == query["bbox_idx"]].tolist()
        shown = [rows[box.row] for box in line.boxes]
        assert [row["bbox_idx"] for row in shown[:6]] == order[:6]
        assert all(row["action_idx"] == query["action_idx"] for row in shown)
        same = [
            box.match is (row["person_uid"] == query["person_uid"]) for box, row in zip(line.boxes, shown, strict=True)
        ]
        assert all(same) and f"query {query['bbox_idx']}   AP " in line.known
        assert f"action {query['action_idx']}  ·  " in line.more and "first match at rank" in line.more


def test_hidden_labels_have_no_marks_and_a_trained_split_its_notice(tmp_path, monkeypatch):
    given, *_ = drawn(tmp_path / "a", monkeypatch, labels=False)
    assert "hidden" in given[2][1] and all(box.match is None for line in given[4] for box in line.boxes)
    assert "AP" not in given[4][0].known
    monkeypatch.undo()
    given, *_ = drawn(tmp_path / "b", monkeypatch, trained_on=True)
    assert given[3] == "valid was trained on: these scores are not a valid result"
    with pytest.raises(ReidError, match="there is no query 99 in this split; near are"):
        drawn(tmp_path / "c", monkeypatch, queries=(99,))


def test_the_program_draws_what_the_library_draws(tmp_path, monkeypatch):
    given, *_ = drawn(tmp_path, monkeypatch, boxes=10)
    command = [sys.executable, ROOT / "scripts/ranked_list.py", "--params", ROOT / "params.yaml", "--query", "4", "0"]
    for name, file in (("index", "index.parquet"), ("thumbnails", "t.npy"), ("distances", "d.parquet")):
        command += [f"--{name}", tmp_path / file]
    done = subprocess.run([*command, "--out", tmp_path / "again.png"], capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    assert (tmp_path / "again.png").read_bytes() == given[0].read_bytes()
