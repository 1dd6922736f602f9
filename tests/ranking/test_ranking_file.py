"""The ranking JSON: what the validator lets pass, and the programs that check and score any ranking."""

import contextlib
import functools
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from builders import ROOT
from builders.program import run_here
from reid.core.errors import ReidError
from reid.core.files import sha256
from reid.data.index import build_index, write_index
from reid.ranking.query_gallery import SCHEMA, read_boxes
from reid.ranking.ranking_file import check_ranked, check_ranking, problems, ranking_of, read_ranking, write_ranking
from reid.raw.archive import pack
from reid.raw.filenames import Thumbnail, format_name
from reid.retrieval.order import Ranked

SCRIPTS = ROOT / "scripts"
GAME = "england_epl/2014-2015/2015-02-21 - 18-00 Crystal Palace 1 - 2 Arsenal"

# bbox_idx: (action_idx, person_uid); roles number their boxes apart, and neither in the order of the actions
QUERY = {0: (7, 70), 1: (3, 30), 2: (7, 71), 5: (4, 40)}
GALLERY = {0: (3, 30), 1: (7, 70), 2: (7, 71), 4: (7, 72), 6: (3, 31), 7: (7, 71), 9: (4, 40), 10: (3, 30)}


def table_of(query, gallery):
    """These boxes as an index has them."""
    rows = [(role, i, *boxes[i]) for role, boxes in (("query", query), ("gallery", gallery)) for i in sorted(boxes)]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


BOXES = table_of(QUERY, GALLERY)

GOOD = {"0": [2, 1, 7, 4], "1": [6, 10, 0], "2": [7, 4, 1, 2], "5": [9]}


@functools.cache
def official():
    from SoccerNet.Evaluation.ReIdentification import evaluate  # takes seconds

    return evaluate


def truth(labelled=True):
    """The content of bbox_info.json, as far as the official evaluator reads it."""
    keys = ("bbox_idx", "action_idx", "person_uid")[: 3 if labelled else 2]
    return {
        role: {str(idx): dict(zip(keys, (idx, *value), strict=False)) for idx, value in boxes.items()}
        for role, boxes in (("query", QUERY), ("gallery", GALLERY))
    }


def members(split):
    for role, boxes in (("query", QUERY), ("gallery", GALLERY)):
        for idx, (action, person) in boxes.items():
            if split == "challenge":
                name = format_name(Thumbnail(idx, action, None, None, None, None, None, 20, 10))
                yield f"{split}/{role}/{name}", b"no image is decoded here" * 3
            else:
                label = (person, 5, "Player_team_left", "7", "003r001_00")
                name = format_name(Thumbnail(idx, action, *label, 20, 10))
                yield f"{split}/{role}/{GAME}/{action}/{name}", b"no image is decoded here" * 3


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """The same boxes in every form that the programs take, by name of the form."""
    folder = tmp_path_factory.mktemp("labels")
    forms = {}
    for split in ("valid", "challenge"):
        forms[f"{split} zip"] = folder / f"{split}.zip"
        pack(folder / f"{split}.zip", members(split))
        table, _ = build_index(folder / f"{split}.zip", split)
        forms[f"{split} index"] = folder / f"{split}.parquet"
        write_index(folder / f"{split}.parquet", table, split, sha256(folder / f"{split}.zip"))
        forms[f"{split} json"] = folder / f"{split}.json"
        (folder / f"{split}.json").write_text(json.dumps(truth(split == "valid")))
    # the kit's own tree may be packed without the leading folder, under any name
    forms["plain zip"] = folder / "something.zip"
    pack(folder / "something.zip", ((name.split("/", 1)[1], content) for name, content in members("valid")))
    return forms


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def official_scores(folder, path):
    with contextlib.redirect_stdout(io.StringIO()):
        return official()(str(write(folder / "truth.json", truth())), str(path))


def run(program, *arguments, capsys):
    """Run a program in this process: its exit status, standard output and standard error."""
    return run_here(program, arguments), *capsys.readouterr()


def changed(**changes):
    """GOOD with other lists for some queries (``q0=...``), or without them (``q0=None``)."""
    result = {**GOOD, **{key[1:]: value for key, value in changes.items()}}
    return {key: value for key, value in result.items() if value is not None}


BROKEN = {
    "query missing": (changed(q2=None), ["query 2: is missing"]),
    "every query missing": ({}, [f"query {idx}: is missing" for idx in QUERY]),
    "query of nowhere": (changed(q3=[9]), ["query 3: there is no such query"]),
    "box twice": (changed(q1=[6, 10, 0, 6]), ["query 1: gallery box 6 stands more than once"]),
    "box twice in the place of another": (
        changed(q1=[6, 6, 0]),
        ["query 1: gallery box 6 stands more than once", "query 1: gallery box 10 of its action is missing"],
    ),
    "box missing": (changed(q0=[2, 1, 4]), ["query 0: gallery box 7 of its action is missing"]),
    "boxes missing": (changed(q0=[4]), ["query 0: gallery box 1 and 2 more of its action is missing"]),
    "no boxes": (changed(q5=[]), ["query 5: gallery box 9 of its action is missing"]),
    "box of another action": (changed(q5=[9, 6]), ["query 5: gallery box 6 is of action 3, the query of 4"]),
    "box of another action instead": (
        changed(q5=[6]),
        ["query 5: gallery box 6 is of action 3", "query 5: gallery box 9 of its action is missing"],
    ),
    "box of nowhere": (changed(q5=[9, 99]), ["query 5: there is no gallery box 99"]),
    "negative box": (changed(q5=[9, -1]), ["query 5: there is no gallery box -1"]),
    "bool": ('{"0": [2, true, 7, 4], "1": [6, 10, 0], "2": [7, 4, 1, 2], "5": [9]}', ["query 0: true is not an"]),
    "float": (changed(q5=[9.0]), ["query 5: 9.0 is not an integer"]),
    "not a number": (changed(q5=[float("nan")]), ["NaN is not a finite number"]),
    "box beyond all integers": (changed(q5=[9, 10**30]), [f"query 5: there is no gallery box {10**30}"]),
    "string": (changed(q5=["9"]), ['query 5: "9" is not an integer']),
    "null in a list": (changed(q5=[9, None]), ["query 5: null is not an integer"]),
    "list in a list": (changed(q5=[[9]]), ["query 5: [9] is not an integer"]),
    "number for a list": (changed(q5=9), ["query 5: has a number where a list"]),
    "object for a list": (changed(q5={"9": 1}), ["query 5: has an object where a list"]),
    "null for a list": (
        '{"0": [2, 1, 7, 4], "1": [6, 10, 0], "2": [7, 4, 1, 2], "5": null}',
        ["query 5: has null where a list"],
    ),
    "string for a list": (changed(q5="9"), ["query 5: has a text where a list"]),
    "key with leading zero": (
        {**changed(q1=None), "01": GOOD["1"]},
        ["query 1: is missing", "query 01: there is no such query"],
    ),
    "key with a point": (
        {**changed(q1=None), "1.0": GOOD["1"]},
        ["query 1: is missing", 'query "1.0": there is no such query'],
    ),
    "key with a space": (
        {**changed(q1=None), " 1": GOOD["1"]},
        ["query 1: is missing", 'query " 1": there is no such query'],
    ),
    "key twice": (json.dumps(GOOD)[:-1] + ', "5": [9]}', ['the key "5" stands twice']),
    "list for the object": ([[2, 1]], ["must hold one JSON object", "not a list"]),
    "number for the object": ("3", ["must hold one JSON object", "not a number"]),
    "not JSON": ("{'0': [1]}", ["is not valid JSON"]),
    "cut short": (json.dumps(GOOD)[:-8], ["is not valid JSON"]),
    "empty": ("", ["is not valid JSON"]),
    "nested without end": ("[" * 100_000, ["is nested too deeply"]),
}
TAKEN_BY_THE_OFFICIAL = {  # silently
    "query of nowhere",
    "key twice",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_ranking_is_refused_with_file_query_and_reason(tmp_path, kind):
    content, reasons = BROKEN[kind]
    path = write(tmp_path / "mine.json", content)
    with pytest.raises(ReidError) as caught:
        check_ranking(read_ranking(path), BOXES, path)
    assert str(path) in str(caught.value)
    for reason in reasons:
        assert reason in str(caught.value)
    if reasons[0].startswith("query"):
        assert f"{len(reasons)} problem" in str(caught.value)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_the_official_evaluator_refuses_is_refused_and_more(tmp_path, kind):
    path = write(tmp_path / "mine.json", BROKEN[kind][0])
    if kind in TAKEN_BY_THE_OFFICIAL:
        official_scores(tmp_path, path)
    else:
        with pytest.raises((ValueError, TypeError, KeyError, AttributeError, RecursionError)):
            official_scores(tmp_path, path)


def test_random_changes_that_the_official_evaluator_refuses_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        ranking = {key: list(row) for key, row in GOOD.items()}
        for _ in range(rng.integers(0, 3)):
            key = str(rng.choice(list(ranking)))
            row = ranking[key]
            match rng.integers(0, 5):
                case 0:
                    row.insert(int(rng.integers(0, len(row) + 1)), int(rng.integers(0, 12)))
                case 1 if row:
                    row.pop(int(rng.integers(len(row))))
                case 2 if row:
                    row[int(rng.integers(len(row)))] = int(rng.integers(0, 12))
                case 3:
                    ranking[key] = [row[i] for i in rng.permutation(len(row))]
                case 4 if len(ranking) > 2:
                    del ranking[key]
        path = write(tmp_path / "mine.json", ranking)
        try:
            official_scores(tmp_path, path)
        except (ValueError, KeyError):
            refused += 1
            assert list(problems(ranking, BOXES))
            with pytest.raises(ReidError):
                check_ranking(read_ranking(path), BOXES, path)
        else:
            assert list(problems(ranking, BOXES)) == []
            assert ranking_of(check_ranking(read_ranking(path), BOXES, path)) == ranking
    assert 30 < refused < 130


def test_all_problems_stand_in_one_message(tmp_path):
    broken = {"0": [1, 1, 2, 4], "1": [6, 10, 99, 0], "5": [True], "8": []}
    path = write(tmp_path / "mine.json", broken)
    with pytest.raises(ReidError) as caught:
        check_ranking(read_ranking(path), BOXES, path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} is not a valid ranking: 6 problems"
    wanted = {
        "query 2: is missing",
        "query 0: gallery box 1 stands more than once",
        "query 0: gallery box 7 of its action is missing",
        "query 1: there is no gallery box 99",
        "query 5: true is not an integer",
        "query 8: there is no such query in this split",
    }
    assert {line.removeprefix("  - ") for line in lines[1:]} == wanted


def test_a_hundred_problems_are_counted_and_twenty_written_out():
    boxes = table_of({i: (0, None) for i in range(100)}, {0: (0, None)})
    with pytest.raises(ReidError) as caught:
        check_ranking({}, boxes, "mine.json")
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines)) == ("mine.json is not a valid ranking: 100 problems", 22)
    assert "80 more" in lines[-1]


def test_file_as_the_dev_kit_writes_it_passes(tmp_path):
    path = tmp_path / "ranking_results_soccernetv3_valid.json"
    with open(path, "w") as file:  # integer keys, which json turns into strings
        json.dump({int(key): row for key, row in GOOD.items()}, file)
    assert ranking_of(check_ranking(read_ranking(path), BOXES, path)) == GOOD
    assert read_ranking(path) == GOOD


def test_order_of_queries_and_layout_of_the_json_do_not_matter(tmp_path):
    path = write(tmp_path / "mine.json", json.dumps(dict(reversed(GOOD.items())), indent=3))
    given = check_ranking(read_ranking(path), BOXES, path)
    assert all(np.array_equal(a, b) for a, b in zip(given, ranked(GOOD), strict=True))


def test_query_without_a_gallery_has_no_ranking():
    """Neither an empty list nor a missing one is right: the split itself is wrong."""
    boxes = table_of({**QUERY, 6: (8, 80)}, GALLERY)
    for ranking, reason in (({**GOOD, "6": []}, "has no gallery box of its action 8"), (GOOD, "query 6: is missing")):
        with pytest.raises(ReidError, match=reason):
            check_ranking(ranking, boxes, "mine")
    with pytest.raises(ReidError, match="query 6: is missing"):
        check_ranked(ranked(GOOD), boxes, "mine")


def test_missing_ranking_is_one_clear_error(tmp_path):
    with pytest.raises(ReidError, match=r"none\.json: there is no such file"):
        read_ranking(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ReidError, match=r"bytes\.json: is not UTF-8 text"):
        read_ranking(tmp_path / "bytes.json")


def ranked(ranking):
    rows = sorted((int(key), row) for key, row in ranking.items())
    query = np.array([key for key, row in rows for _ in row])
    return Ranked(query, np.array([box for _, row in rows for box in row]), np.flatnonzero(np.diff(query, prepend=-1)))


def test_written_ranking_is_what_was_ranked_and_the_official_evaluator_takes_it(tmp_path):
    path = tmp_path / "sub/mine.json"
    assert ranking_of(ranked(GOOD)) == GOOD
    write_ranking(path, ranked(GOOD), BOXES)
    assert json.loads(path.read_text()) == GOOD
    assert all(type(box) is int for row in json.loads(path.read_text()).values() for box in row)
    assert official_scores(tmp_path, path)["mAP"] > 0


@pytest.mark.parametrize("old", [None, "an older ranking"])
def test_invalid_ranking_is_not_written(tmp_path, old):
    path = tmp_path / "mine.json"
    if old:
        path.write_text(old)
    with pytest.raises(ReidError, match="gallery box 7 of its action is missing"):
        write_ranking(path, ranked(changed(q0=[2, 1, 4])), BOXES)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == ([("mine.json", old)] if old else [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"q0": [2, 1, 7, 7]},
        {"q0": [2, 1, 7]},
        {"q0": [2, 1, 7, 4, 9]},
        {"q0": [2, 1, 7, 6]},
        {"q5": None},
        {"q0": [2, 1, 7, 4 + 2**32]},
        {"q4": [9]},
        {"q0": [2, 1, 7, 4, 6 + 2**32], "q1": [10, 0]},  # as 64 bits, query 0 and this box are query 1 and box 6
    ],
)
def test_arrays_are_checked_as_the_file_is(wrong):
    check_ranked(ranked(GOOD), BOXES, "mine.parquet")
    with pytest.raises(ReidError) as quick:
        check_ranked(ranked(changed(**wrong)), BOXES, "mine.parquet")
    with pytest.raises(ReidError) as slow:
        check_ranking(changed(**wrong), BOXES, "mine.parquet")
    assert str(quick.value) == str(slow.value)


@pytest.mark.parametrize("form", ["valid index", "valid zip", "valid json", "plain zip"])
def test_boxes_are_read_from_every_form(labels, form):
    assert read_boxes(labels[form]).equals(BOXES)


@pytest.mark.parametrize("form", ["challenge index", "challenge zip", "challenge json"])
def test_boxes_without_labels_have_none(labels, form):
    hidden = pa.nulls(len(BOXES), SCHEMA.field("person_uid").type)
    assert read_boxes(labels[form]).equals(BOXES.set_column(3, "person_uid", hidden))


def test_training_split_has_no_queries_to_rank(tmp_path):
    label = (1, 0, 0, 0, "Main_referee", "None", "000r000_00")
    name = f"train/{GAME}/0/{format_name(Thumbnail(*label, 20, 10))}"
    pack(tmp_path / "train.zip", [(name, bytes(60))])
    table, _ = build_index(tmp_path / "train.zip", "train")
    write_index(tmp_path / "train.parquet", table, "train", "0" * 64)
    write(tmp_path / "train_bbox_info.json", {"0": {"bbox_idx": 0, "action_idx": 0, "person_uid": 0}})
    for file, reason in (
        ("train.zip", "training split"),
        ("train.parquet", "training split"),
        ("train_bbox_info.json", ""),
    ):
        with pytest.raises(ReidError, match=rf"{file}: .*{reason}"):
            read_boxes(tmp_path / file)
    with pytest.raises(ReidError, match="has no queries"):
        check_ranked(ranked(GOOD), table, "t")


@pytest.mark.parametrize(
    "name, content",
    [
        ("boxes.csv", ""),
        ("boxes.json", "{}"),
        ("boxes.json", "no json"),
        ("boxes.json", '{"query": [], "gallery": []}'),
        ("boxes.json", '{"query": {}, "gallery": {}}'),
        ("boxes.json", '{"query": {"0": {"bbox_idx": 0}}, "gallery": {}}'),
        ("boxes.zip", "no zip"),
        ("boxes.parquet", "no parquet"),
        ("boxes.json", None),
        ("boxes.zip", None),
        ("boxes.parquet", None),
    ],
)
def test_file_that_holds_no_boxes_is_refused_by_name(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ReidError, match=name):
        read_boxes(tmp_path / name)


def test_a_folder_of_boxes_is_refused_with_the_forms_that_are_taken(tmp_path):
    with pytest.raises(ReidError, match=r"is a directory, not a file; give an index .* data/index/challenge.parquet"):
        read_boxes(tmp_path)


@pytest.mark.parametrize("form", ["valid index", "valid zip", "valid json"])
def test_score_ranking_prints_the_official_evaluators_numbers(tmp_path, labels, capsys, form):
    path = write(tmp_path / "mine.json", GOOD)
    arguments = (path, "--labels", labels[form], "--ranks", 1, 2)
    status, out, _ = run("score_ranking.py", *arguments, capsys=capsys)
    scores, wanted = json.loads(out), official_scores(tmp_path, path)
    assert status == 0
    assert scores["mAP"] == pytest.approx(wanted["mAP"], abs=1e-12)
    assert scores["rank-1"] == pytest.approx(float(wanted["rank-1"]), abs=1e-6)
    assert 0 < scores["rank-1"] < scores["rank-2"] == 1
    assert (scores["queries"], scores["pairs"]) == (4, 12)


def test_two_rankings_are_compared_by_the_tables_of_their_queries(tmp_path, labels, capsys):
    scores, tables = [], []
    for name, ranking in {"a": GOOD, "b": {query: boxes[::-1] for query, boxes in GOOD.items()}}.items():
        path, table = write(tmp_path / f"{name}.json", ranking), tmp_path / f"{name}.parquet"
        arguments = (path, "--labels", labels["valid index"], "--queries", table)
        status, out, _ = run("score_ranking.py", *arguments, capsys=capsys)
        assert status == 0
        scores.append(json.loads(out))
        tables.append(table)
    arguments = (*tables, "--json", tmp_path / "d.json", "--params", ROOT / "params.yaml")
    status, *_ = run("compare.py", *arguments, capsys=capsys)
    difference = json.loads((tmp_path / "d.json").read_text())
    assert (status, difference["split"], difference["queries"]) == (0, "valid", 4)
    for name in ("mAP", "rank-1"):
        assert [difference[name][side] for side in "ab"] == pytest.approx([score[name] for score in scores])
    assert scores[0]["mAP"] != scores[1]["mAP"]


def test_a_ranking_in_the_place_of_a_table_of_queries_is_answered_with_what_makes_one(tmp_path, capsys):
    path = write(tmp_path / "a.json", GOOD)
    status, _, err = run("compare.py", path, path, "--params", ROOT / "params.yaml", capsys=capsys)
    assert status == 1 and "of a ranking with scripts/score_ranking.py --queries" in err


@pytest.mark.parametrize("form", ["valid zip", "valid json"])
def test_a_table_of_queries_needs_an_index(tmp_path, labels, capsys, form):
    path = write(tmp_path / "a.json", GOOD)
    arguments = (path, "--labels", labels[form], "--queries", tmp_path / "a.parquet")
    status, out, err = run("score_ranking.py", *arguments, capsys=capsys)
    assert (status, out) == (1, "") and not (tmp_path / "a.parquet").exists()
    assert f"{labels[form]}: is not an index" in err and "scripts/index.py" in err


@pytest.mark.parametrize("form", ["challenge index", "challenge zip", "challenge json"])
def test_score_ranking_refuses_the_unlabelled_challenge(tmp_path, labels, capsys, form):
    path = write(tmp_path / "mine.json", GOOD)
    status, out, err = run("score_ranking.py", path, "--labels", labels[form], capsys=capsys)
    assert (status, out) == (1, "")
    assert f"{labels[form]}: has no labels" in err
    assert "check_ranking.py" in err
    assert "Traceback" not in err


def test_score_ranking_refuses_a_broken_ranking(tmp_path, labels, capsys):
    path = write(tmp_path / "mine.json", changed(q2=None))
    arguments = (path, "--labels", labels["valid index"])
    status, out, err = run("score_ranking.py", *arguments, capsys=capsys)
    assert (status, out) == (1, "")
    assert f"{path} is not a valid ranking" in err
    assert "query 2: is missing" in err


@pytest.mark.parametrize("form", ["challenge index", "challenge zip", "challenge json", "valid index", "plain zip"])
def test_check_ranking_needs_no_labels(tmp_path, labels, capsys, form):
    path = write(tmp_path / "mine.json", GOOD)
    status, out, _ = run("check_ranking.py", path, "--boxes", labels[form], capsys=capsys)
    assert status == 0
    assert out == f"{path}: a valid ranking of 4 queries over 8 gallery boxes\n"
    write(path, changed(q0=[2, 1, 4, 9]))
    status, out, err = run("check_ranking.py", path, "--boxes", labels[form], capsys=capsys)
    assert (status, out) == (1, "")
    assert "query 0: gallery box 9 is of action 4, the query of 7" in err
    assert "query 0: gallery box 7 of its action is missing" in err


@pytest.mark.parametrize("program, option", [("score_ranking.py", "--labels"), ("check_ranking.py", "--boxes")])
@pytest.mark.parametrize("content, status", [(GOOD, 0), ("{", 1)])
def test_programs_run_by_themselves_and_end_with_0_or_1(tmp_path, labels, program, option, content, status):
    path = write(tmp_path / "mine.json", content)
    command = [sys.executable, SCRIPTS / program, path, option, labels["valid json"]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert bool(done.stdout) == (status == 0)
    assert ("is not valid JSON" in done.stderr) == (status == 1)
    assert "Traceback" not in done.stderr
