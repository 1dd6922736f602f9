"""The gallery page's content: rankings, scores, parts and images, against the modules that the score comes from."""

import io
import subprocess
import sys
from base64 import b64decode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from builders import ROOT
from builders.gallery import make_index, write_split
from builders.page import data_of, make_page, parts_of
from reid.core.errors import ReidError
from reid.core.tables import column
from reid.data.actions import group_actions
from reid.data.index import read_index, write_index
from reid.evaluation.true_matches import scored_rows
from reid.page.header import About, facts, scores_of
from reid.page.parts import NAMES, divide, part_paths
from reid.page.rankings import rank_actions
from reid.page.sprites import sprite, tile_size
from reid.ranking.distances import read_distances
from reid.ranking.ranking_file import ranking_of
from reid.retrieval.metrics import average_precision, first_match_rank, score
from reid.retrieval.order import rank

SIZES = [(3, 7), (1, 1), (5, 30), (2, 2), (4, 9)] * 3


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    return write_split(folder, make_index(SIZES))


@pytest.fixture(scope="module")
def page(split, tmp_path_factory):
    return make_page(split, tmp_path_factory.mktemp("page") / "valid.html")


def test_rankings_are_those_of_the_submission_and_ap_that_of_the_score(split, page):
    table, _ = read_index(split["index"])
    ranked = rank(read_distances(split["distances"]))
    ranking = ranking_of(ranked)
    person = {(row["role"], row["bbox_idx"]): row["person_uid"] for row in table.to_pylist()}
    match = np.array(
        [person["gallery", box] == person["query", int(query)] for query, boxes in ranking.items() for box in boxes]
    )
    start = np.cumsum([0, *map(len, ranking.values())])[:-1]
    data, parts = data_of(page), parts_of(page)
    assert data["queries"]["bbox"] == [int(query) for query in ranking]
    assert data["queries"]["ap"] == average_precision(match, start).tolist()
    assert data["queries"]["firstMatchRank"] == first_match_rank(match, start).tolist()
    assert np.mean(data["queries"]["ap"]) == pytest.approx(score(match, start)["mAP"])
    for q, (query, wanted) in enumerate(ranking.items()):
        action, place = data["queries"]["action"][q], data["queries"]["place"][q]
        content, size = parts[action], len(wanted)
        queries = len(content["bbox"]) - size
        order = content["order"][place * size : (place + 1) * size]
        assert content["bbox"][place] == int(query)
        assert [content["bbox"][queries + box] for box in order] == wanted
        matches = [content["person"][queries + box] == content["person"][place] for box in order]
        assert matches == match[start[q] : start[q] + size].tolist()
        assert np.cumsum(data["actions"]["gallery"][action]).tolist() == content["bbox"][queries:]


def test_the_header_says_score_chance_interval_models_and_data(split, page):
    table, _ = read_index(split["index"])
    pairs = read_distances(split["distances"])
    rankings = rank_actions(table, pairs, "")
    match, *_ = scored_rows(rank(pairs), table, "")
    wanted = score(match, rank(pairs).start)
    scores = scores_of(rankings, 300, 5)
    for given in scores:
        assert given.value == pytest.approx(wanted[given.name])
        assert given.chance == pytest.approx(wanted["chance"][given.name])
        low, high = given.interval
        assert low < given.value < high
    about = About("valid", zip_sha256="0123456789abcdef" * 4, models={"b": 1.0, "<a>": 0.5})
    told = facts(about, scores)
    assert told[0].startswith(f"mAP {wanted['mAP']:.3f} ({scores[0].interval[0]:.3f} to ")
    assert told[0].endswith(f", chance {wanted['chance']['mAP']:.3f})")
    assert told[2:] == ["models 1 b + 0.5 <a>", "data valid.zip, SHA-256 0123456789ab…"]
    assert facts(About("challenge"), []) == []
    assert "model resnet18" in page.read_text()


def test_distances_and_labels_are_those_of_the_boxes(split, page):
    table, _ = read_index(split["index"])
    pairs = read_distances(split["distances"])
    wanted = dict(zip(zip(pairs.query.tolist(), pairs.gallery.tolist(), strict=True), pairs.distance, strict=True))
    data = data_of(page)
    for action, content in parts_of(page).items():
        size = len(data["actions"]["gallery"][action])
        queries = len(content["bbox"]) - size
        for i, distance in enumerate(content["distance"]):
            pair = content["bbox"][i // size], content["bbox"][queries + i % size]
            assert distance == pytest.approx(wanted[pair], rel=1e-5)
    rows = {row["bbox_idx"]: row for row in table.to_pylist() if row["role"] == "query"}
    for q, query in enumerate(data["queries"]["bbox"]):
        row, game = rows[query], data["actions"]["game"][data["queries"]["action"][q]]
        assert data["classes"][data["queries"]["class"][q]] == row["clazz"]
        assert data["jerseys"][data["queries"]["jersey"][q]] == row["id"]
        assert data["games"][game] == [row["championship"], row["game"]]
        assert data["queries"]["height"][q] == row["height"]
        assert data["actions"]["idx"][data["queries"]["action"][q]] == row["action_idx"]


def test_the_order_of_the_distance_file_does_not_matter(split, page, tmp_path):
    """A file of another program may hold actions and boxes in any order."""
    rng = np.random.default_rng(1)
    rows = []
    for row in pq.read_table(split["distances"]).to_pylist():
        queries, boxes = rng.permutation(len(row["query"])), rng.permutation(len(row["gallery"]))
        matrix = np.array(row["distance"]).reshape(len(queries), len(boxes))[queries][:, boxes]
        row |= {"query": np.array(row["query"])[queries].tolist(), "gallery": np.array(row["gallery"])[boxes].tolist()}
        rows.append(row | {"distance": matrix.ravel().tolist()})
    shuffled = tmp_path / "shuffled.parquet"
    pq.write_table(pa.Table.from_pylist(rows[::-1]), shuffled)
    again = make_page(split | {"distances": shuffled}, tmp_path / "valid.html")
    assert again.read_bytes() == page.read_bytes()
    assert parts_of(again) == parts_of(page)


def test_same_bytes_from_any_number_of_processes(split, page, tmp_path):
    again = make_page(split, tmp_path / "valid.html", workers=2)
    for path, other in zip([page, *part_paths(page)], [again, *part_paths(again)], strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name


def test_all_parts_are_there_and_hold_every_action_once(page):
    data, parts = data_of(page), parts_of(page)
    assert len(part_paths(page)) == len(NAMES) == 64
    assert data["parts"] == list(NAMES)
    there = {path.name for path in page.with_suffix("").iterdir() if not path.name.endswith(".sums")}
    assert there == {path.name for path in part_paths(page)}
    assert sorted(parts) == list(range(len(SIZES))) == list(range(len(data["actions"]["idx"])))
    for action, number in enumerate(data["actions"]["part"]):
        assert f'"{action}":{{' in part_paths(page)[number].read_text()


def test_parts_are_balanced():
    sizes = np.random.default_rng(0).integers(2, 120, 1751)
    part = divide(sizes, 64)
    boxes = np.bincount(part, sizes, minlength=64)
    assert (np.diff(part) >= 0).all() and part[0] == 0 and part[-1] == 63
    assert np.abs(boxes - sizes.sum() / 64).max() <= sizes.max()
    assert divide(np.array([5]), 64).tolist() == [32] and set(divide(np.ones(128, int), 64)) == set(range(64))


def test_images_stand_where_the_page_looks_for_them(tmp_path):
    table = make_index(SIZES)
    split = write_split(tmp_path, table, height=32, width=16)
    page = make_page(split, tmp_path / "valid.html")
    store = np.load(split["thumbnails"])
    parts, (height, width) = parts_of(page), data_of(page)["tile"]
    for number, action in enumerate(group_actions(table)):
        content = parts[number]
        sheet = np.asarray(Image.open(io.BytesIO(b64decode(content["sprite"]))), np.float64)
        for i, row in enumerate([*action.query, *action.gallery]):
            y, x = i // content["columns"] * height, i % content["columns"] * width
            mean = sheet[y : y + height, x : x + width].mean((0, 1))
            assert np.abs(mean - store[row].mean((0, 1))).max() < 8  # JPEG


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((64, 32), (64, 32)), ((256, 128), (128, 64)), ((224, 224), (128, 128)), ((8, 2048), (1, 128))],
)
def test_large_thumbnails_are_made_smaller(size, wanted):
    assert tile_size(*size) == wanted
    thumbnails = np.zeros((130, *size, 3), np.uint8)
    sheet, columns = sprite(thumbnails, *wanted)
    whole = Image.open(io.BytesIO(sheet)).size
    assert whole == (columns * wanted[1], -(-130 // columns) * wanted[0]) and max(whole) <= 2048


def test_names_cannot_end_the_script_or_the_element(tmp_path):
    table = make_index([(2, 3)])
    evil = '</script><script>alert("1")</script>é"\'&\u2028'
    for name in ("clazz", "id", "championship", "game"):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array([evil] * len(table)))
    page = make_page(write_split(tmp_path, table), tmp_path / "a.html")
    data = data_of(page)
    assert data["classes"] == data["jerseys"] == [evil] and data["games"] == [[evil, evil]]
    text = page.read_text(encoding="utf-8")
    assert "alert(" in text and "<script>alert" not in text and "</script><script>" not in text
    assert text.count("<script") == 2


def test_a_split_whose_name_is_markup_is_escaped(tmp_path, monkeypatch):
    """Though an index of such a split is refused."""
    about = {"split": "<b>", "sha256": "0" * 64}
    monkeypatch.setattr("builders.page.read_index", lambda *wanted: (read_index(*wanted)[0], about))
    page = make_page(write_split(tmp_path, make_index([(1, 2)])), tmp_path / "a.html")
    assert "<h1>&lt;b&gt; <span>" in page.read_text()


def test_the_challenge_has_rankings_and_no_matches(tmp_path):
    page = make_page(write_split(tmp_path, make_index(SIZES, labels=False), "challenge"), tmp_path / "challenge.html")
    data, parts = data_of(page), parts_of(page)
    assert not data["labels"] and data["queries"]["ap"] is data["queries"]["firstMatchRank"] is None
    assert all(content["person"] is None and content["order"] for content in parts.values())
    text = page.read_text()
    assert "labels of this split are hidden" in text
    assert not any(f'id="{name}"' in text for name in ("rank1", "class", "league")) and "worst first" not in text


def test_labels_that_are_partly_hidden_are_refused(tmp_path):
    table = make_index([(2, 4)])
    person = column(table, "person_uid").tolist()
    hidden = pa.array([None, *person[1:]], pa.int32())
    table = table.set_column(table.schema.get_field_index("person_uid"), "person_uid", hidden)
    with pytest.raises(ReidError, match="index.parquet: .*person_uid"):
        make_page(write_split(tmp_path, table), tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_the_program_says_when_the_split_was_trained_on(split, page, tmp_path):
    assert "Trained on this split" not in page.read_text()
    params = (ROOT / "params.yaml").read_text().replace("splits: [train]", "splits: [train, valid, test]")
    (tmp_path / "params.yaml").write_text(params)
    command = [sys.executable, ROOT / "scripts/browse.py", "--out", tmp_path / "valid.html"]
    command += [part for name, path in split.items() for part in (f"--{name}", path)]
    done = subprocess.run([*command, "--params", tmp_path / "params.yaml"], capture_output=True, text=True)
    assert done.returncode == 0 and "not a valid result" in done.stderr
    text = (tmp_path / "valid.html").read_text()
    assert "Trained on this split" in text and data_of(tmp_path / "valid.html")["trainedOn"]
    assert all(path.exists() for path in part_paths(tmp_path / "valid.html"))


def test_errors_name_the_file(split, tmp_path):
    other = write_split(tmp_path / "other", make_index([(2, 3)]))
    with pytest.raises(ReidError, match=r"d\.parquet is not a valid ranking"):
        make_page(split | {"distances": other["distances"]}, tmp_path / "a.html")
    with pytest.raises(ReidError, match=r"t\.npy: has 5 rows"):
        make_page(split | {"thumbnails": other["thumbnails"]}, tmp_path / "a.html")
    table = make_index([(1, 1)])
    training = table.set_column(0, "role", pa.array(["train"] * len(table)))
    write_index(tmp_path / "train.parquet", training, "train", "0" * 64)
    with pytest.raises(ReidError, match="no queries"):
        make_page(split | {"index": tmp_path / "train.parquet"}, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
