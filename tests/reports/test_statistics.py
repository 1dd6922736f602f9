"""Statistics of the data against a plain pass over a small index; plots, contact sheet and the program."""

import json
import re
import statistics as standard
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from builders import ROOT, scored
from reid.core import checksums
from reid.core.arrays import CheckedArray
from reid.data.index import write_index
from reid.reports import channel_statistics as colours
from reid.reports.channel_statistics import channels
from reid.reports.charts import CHARTS
from reid.reports.contact_sheet import _columns, contact_sheet, typical_actions
from reid.reports.statistics import PUBLISHED, distributions, long_table, statistics, totals

LABELS = ("person_uid", "clazz", "id", "championship", "season", "game")


def rows_of(split, seed=0, actions=9):
    """Rows of an index: with queries, of the training split, or without labels."""
    rows = scored.make_index(seed, actions)
    if split == "train":
        rows = [{**row, "role": "train", "bbox_idx": i} for i, row in enumerate(rows)]
    if split == "challenge":
        rows = [{key: value for key, value in row.items() if key not in LABELS} for row in rows]
    return rows


def store_of(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (len(rows), 16, 8, 3), np.uint8)


@pytest.fixture
def files(tmp_path):
    """Indexes and stores of all splits, and the arguments that name them."""
    words = {"--index": [], "--thumbnails": []}
    for seed, split in enumerate(PUBLISHED):
        rows = rows_of(split, seed)
        write_index(tmp_path / f"{split}.parquet", scored.table_of(rows), split, "0" * 64)
        np.save(tmp_path / f"{split}.npy", store_of(rows, seed))
        words["--index"].append(tmp_path / f"{split}.parquet")
        words["--thumbnails"].append(tmp_path / f"{split}.npy")
    return words


@pytest.mark.parametrize("split", PUBLISHED)
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_equal_a_plain_pass(split, seed):
    rows = rows_of(split, seed)
    table, labelled = scored.table_of(rows), split != "challenge"
    of_action = {action: [row for row in rows if row["action_idx"] == action] for action in range(9)}
    role = Counter(row["role"] for row in rows)
    assert totals(table) == {
        "thumbnails": len(rows),
        "queries": role["query"] or None,
        "gallery": role["gallery"] or None,
        "identities": len({row["person_uid"] for row in rows}) if labelled else None,
        "actions": 9,
        "games": len({(row["championship"], row["game"]) for row in rows}) if labelled else None,
        "championships": 2 if labelled else None,
    }
    counted = distributions(table)
    identities = Counter(row["person_uid"] for row in rows) if labelled else {}
    assert sorted(counted["images per identity"].tolist()) == sorted(identities.values())
    assert counted["boxes per action"].tolist() == [len(part) for part in of_action.values()]
    for name, wanted in (("queries per action", "query"), ("gallery per action", "gallery")):
        counts = [sum(row["role"] == wanted for row in part) for part in of_action.values()]
        assert counted[name].tolist() == (counts if role[wanted] else [])
    assert counted["height"].tolist() == [row["height"] for row in rows]
    assert counted["width"].tolist() == [row["width"] for row in rows]
    assert counted["height / width"].tolist() == [row["height"] / row["width"] for row in rows]
    if labelled:
        assert counted["class"] == Counter(row["clazz"] for row in rows)
        kinds = {"7": "number", "23": "number", "A": "letter", "None": "none"}
        assert counted["jersey"] == Counter(kinds[row["id"]] for row in rows)
    else:
        assert counted["class"] == counted["jersey"] == {}


def test_games_of_one_name_in_two_seasons_are_two():
    rows = [{**row, "season": f"season {row['bbox_idx'] % 2}", "game": "the game"} for row in rows_of("valid")]
    wanted = {(row["championship"], row["season"]) for row in rows}
    assert totals(scored.table_of(rows))["games"] == len(wanted) == 4


def test_published_counts_are_those_of_the_data_set():
    assert sum(split["thumbnails"] for split in PUBLISHED.values()) == 376096
    for split in ("valid", "test", "challenge"):
        assert PUBLISHED[split]["thumbnails"] == PUBLISHED[split]["queries"] + PUBLISHED[split]["gallery"]


@pytest.mark.parametrize(
    "opened", [lambda path: np.load(path), lambda path: np.load(path, mmap_mode="r"), CheckedArray]
)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_colours_equal_those_of_all_pixels(tmp_path, monkeypatch, opened, block):
    monkeypatch.setattr(colours, "_BLOCK", block)
    store = store_of(range(30)) // [1, 2, 3]
    store = store.astype(np.uint8)
    np.save(tmp_path / "s.npy", store)
    measured = channels(opened(tmp_path / "s.npy"))
    pixels = store.reshape(-1, 3).tolist()
    for c in range(3):
        values = [pixel[c] / 255 for pixel in pixels]
        assert measured["mean"][c] == pytest.approx(standard.fmean(values), abs=1e-12)
        assert measured["std"][c] == pytest.approx(standard.pstdev(values), abs=1e-12)
    assert (measured["images"], measured["of"]) == (30, 30)


def test_of_a_large_store_evenly_spaced_groups_of_images_are_taken_and_said_so(monkeypatch):
    monkeypatch.setattr(colours, "_BLOCK", 4)
    store = np.repeat(np.arange(102, dtype=np.uint8), 16 * 8 * 3).reshape(102, 16, 8, 3)
    measured = channels(store, sample=12)
    taken = [0, 1, 2, 3, 32, 33, 34, 35, 64, 65, 66, 67]
    assert measured["mean"] == pytest.approx([np.mean(taken) / 255] * 3)
    assert measured["std"] == pytest.approx([np.std(taken) / 255] * 3)
    assert (measured["images"], measured["of"]) == (12, 102)


def test_of_a_large_store_no_more_blocks_are_read_than_are_counted(tmp_path, monkeypatch):
    """Each block has a digest, and to check a part of it is to read it all."""
    np.save(tmp_path / "s.npy", np.zeros((64 * 200 + 17, 2, 2, 3), np.uint8))
    content, block = (tmp_path / "s.npy").read_bytes(), 64 * 12
    parts = [content[:128], *(content[i : i + block] for i in range(128, len(content), block))]
    digests = checksums.Sums(len(content), 128, block, [checksums.digest(part) for part in parts])
    checksums.write_sums(tmp_path / "s.npy", digests)
    checked = []
    monkeypatch.setattr(checksums.Checker, "check", lambda self, data, numbers: checked.extend(numbers))
    store = CheckedArray(tmp_path / "s.npy")
    checked.clear()
    assert channels(store, sample=640)["images"] == 640
    assert len(set(checked)) == 10 and max(checked) > 150


def test_white_images_do_not_overflow():
    store = np.broadcast_to(np.uint8(255), (200, 256, 128, 3))
    assert channels(store) == {"mean": [1.0] * 3, "std": [0.0] * 3, "images": 200, "of": 200}


def test_json_and_table_hold_counts_of_the_files_and_published_ones():
    tables = {split: scored.table_of(rows_of(split)) for split in PUBLISHED}
    counted = {split: distributions(table) for split, table in tables.items()}
    stores = {split: store_of(range(len(table))) for split, table in tables.items()}
    as_json = statistics(tables, counted, stores)
    assert json.loads(json.dumps(as_json, allow_nan=False)) == as_json
    assert as_json["train"]["totals"]["identities"] == {
        "found": len({row["person_uid"] for row in rows_of("train")}),
        "published": 161443,
    }
    assert as_json["challenge"]["totals"]["identities"] == {"found": None, "published": None}
    heights = as_json["valid"]["distributions"]["height"]
    assert heights["quantiles"]["50%"] == np.median([row["height"] for row in rows_of("valid")])
    rows = long_table(tables, counted).to_pylist()
    one = {(row["split"], row["quantity"], row["value"]): row["count"] for row in rows}
    assert len(one) == len(rows)
    assert one["valid", "queries", "published"] == 11638
    assert one["valid", "queries", "found"] == sum(row["role"] == "query" for row in rows_of("valid"))
    assert ("train", "queries", "found") not in one and ("challenge", "identities", "published") not in one
    for split in PUBLISHED:
        for name in ("height", "width", "height / width"):
            counts = {row["value"]: row["count"] for row in rows if (row["split"], row["quantity"]) == (split, name)}
            assert sum(counts.values()) == len(tables[split])
    ratios = Counter(f"{row['height'] * 10 // row['width'] / 10:.1f}" for row in rows_of("test"))
    assert {v: n for (s, q, v), n in one.items() if (s, q) == ("test", "height / width")} == ratios


def test_typical_actions_are_those_of_median_size():
    sizes = [3, 9, 5, 30, 5, 6, 1]
    action = [10 * i for i, size in enumerate(sizes) for _ in range(size)]
    rows = [{"role": "train", "bbox_idx": i, "action_idx": idx} for i, idx in enumerate(action)]
    assert typical_actions(scored.table_of(rows), 3) == [20, 40, 50]
    assert typical_actions(scored.table_of(rows), 99) == [0, 10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("split", ["valid", "train", "challenge"])
def test_a_column_of_the_contact_sheet_is_one_identity(tmp_path, split):
    rows = rows_of(split)
    table = scored.table_of(rows)
    inside = [i for i, row in enumerate(rows) if row["action_idx"] == 4]
    columns = _columns(table, inside)
    assert sorted(row for query, others in columns for row in (query, *others) if row is not None) == inside
    queries = [query for query, _ in columns if query is not None]
    assert queries == [i for i in inside if rows[i]["role"] == "query"]
    assert [query is not None for query, _ in columns] == sorted((q is not None for q, _ in columns), reverse=True)
    if split == "challenge":
        assert all((query is None) + len(others) < 3 for query, others in columns)
    else:
        identities = [{rows[i]["person_uid"] for i in (q, *o) if i is not None} for q, o in columns]
        assert all(len(one) == 1 for one in identities) and len(set.union(*identities)) == len(columns)
    contact_sheet(tmp_path / "s.png", table, store_of(rows), split)
    with Image.open(tmp_path / "s.png") as image:
        assert image.width > 900 and image.height > 400


def run(folder, words, *more):
    outs = {"--json": "s.json", "--parquet": "s.parquet", "--plots": "plots", "--sheet": "sheet.png"}
    given = [str(word) for name, values in words.items() for word in (name, *values)]
    given += [str(word) for name, file in outs.items() for word in (name, folder / file)]
    command = [sys.executable, ROOT / "scripts/describe.py", *given, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_program_makes_the_same_bytes_twice(tmp_path, files):
    for folder in ("one", "two"):
        done = run(tmp_path / folder, files)
        assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    made = [path for path in (tmp_path / "one").rglob("*") if path.is_file() and path.suffix != ".sums"]
    names = sorted(str(path.relative_to(tmp_path / "one")) for path in made)
    assert names == sorted(["s.json", "s.parquet", "sheet.png", *(f"plots/{chart}.svg" for chart in CHARTS)])
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert set(json.loads((tmp_path / "one/s.json").read_text())) == set(PUBLISHED)
    assert pq.read_table(tmp_path / "one/s.parquet").column_names == ["split", "quantity", "value", "count"]
    for chart in CHARTS:
        assert not re.search(r"20\d\d-\d\d-\d\dT", (tmp_path / f"one/plots/{chart}.svg").read_text())


def test_what_does_not_go_together_is_one_clear_error(tmp_path, files):
    several = {name: paths[:2] for name, paths in files.items()}
    for words, more, message in (
        ({**files, "--thumbnails": files["--thumbnails"][:3]}, (), "--thumbnails: needs one file for each of --index"),
        ({name: [paths[0], paths[0]] for name, paths in files.items()}, (), "is of train, and so is another"),
        ({**several, "--thumbnails": several["--thumbnails"][::-1]}, (), "rows and its index"),
        (several, ("--split", "test"), "--split test: is none of --index, which are of train, valid"),
    ):
        done = run(tmp_path / "out", words, *more)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
