"""Figures of a scored split and of a training: they hold the numbers, show the worst queries, say what is amiss."""

import importlib.util
import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from builders import ROOT, gallery, scored
from reid.core.errors import ReidError
from reid.core.files import read_csv, write_csv, write_json
from reid.reports import curves as curve_figure
from reid.reports.scorecard import halves, read_scores
from reid.reports.worst import BOXES, worst_queries

OUTS = ("scores", "worst")


def program(name):
    """A script as a module, so that a test need not start a process."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluated(folder, splits=("train",)):
    """Score a split that lies in ``folder``; returns the arguments of scripts/figures.py."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["splits"], params["evaluate"]["resamples"] = list(splits), 100
    params["models"]["resnet18"].pop("validation", None)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    paths = {"index": folder / "index.parquet", "distances": folder / "distances.parquet"}
    paths |= {"queries": folder / "q.parquet", "slices": folder / "s.csv", "cmc": folder / "c.csv"}
    made = {"out": folder / "m.json", "ap": None, "length": 20, "params": folder / "params.yaml"}
    program("evaluate").main(Namespace(**paths, **made))
    outs = {"scores": folder / "scores.svg", "worst": folder / "worst.png"}
    return paths | {"metrics": made["out"], "thumbnails": folder / "t.npy"} | outs


def plain_store(path, rows):
    """Thumbnails of one colour each; returns the colours."""
    colours = np.random.default_rng(0).permutation(200**3)[:rows]
    colours = np.stack([colours // 200**2, colours // 200 % 200, colours % 200], axis=1).astype(np.uint8)
    np.save(path, np.broadcast_to(colours[:, None, None], (rows, 16, 8, 3)))
    return colours


def write_split(folder, splits=("train",), **of):
    rows = scored.write_split(folder, **of)
    colours = plain_store(folder / "t.npy", len(rows))
    return rows, colours, evaluated(folder, splits)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A split with its figures: rows of its index, colours of its thumbnails, the arguments that made them."""
    rows, colours, args = write_split(tmp_path_factory.mktemp("split"), seed=3, actions=14)
    program("figures").main(Namespace(**args))
    return rows, colours, args


def texts(path):
    """All text of an SVG."""
    elements = re.findall(r"<text[^>]*>([^<]*)</text>", Path(path).read_text(encoding="utf-8"))
    return [text.replace("&gt;", ">").replace("&amp;", "&") for text in elements]


def test_the_figure_holds_every_number(split):
    _, _, args = split
    scores, shown = json.loads(args["metrics"].read_text()), texts(args["scores"])
    assert f"valid: {scores['queries']} queries in {scores['actions']} actions" in shown
    for name in ("mAP", "rank-1", "rank-5", "rank-10", "mINP"):
        low, high = scores["interval"][name]
        text = f"{scores[name]:.3f} ({low:.3f} to {high:.3f})"
        if name in scores["chance"]:
            text += f", chance {scores['chance'][name]:.3f}"
        assert name in shown and text in shown
    slices = read_csv(args["slices"], {"slice": str, "value": str, "queries": int, "mAP": float}, "")
    for row in slices:
        assert row["slice"] in shown
        assert f"{row['value'].replace('_', ' ')} ({row['queries']})" in shown
        assert f"{row['mAP']:.3f}" in shown
    assert not any("trained on" in text for text in shown)


def test_another_process_makes_the_same_bytes(split, tmp_path):
    _, _, args = split
    given = args | {name: tmp_path / args[name].name for name in OUTS}
    words = [str(word) for name, path in given.items() for word in (f"--{name}", path)]
    command = [sys.executable, ROOT / "scripts/figures.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    for name in OUTS:
        assert given[name].read_bytes() == args[name].read_bytes(), name
    assert not re.search(r"20\d\d-\d\d-\d\dT", args["scores"].read_text())
    with Image.open(args["worst"]) as image:
        assert not image.info


@pytest.mark.parametrize("seed", range(5))
def test_worst_queries_equal_a_plain_choice(seed):
    rng = np.random.default_rng(seed)
    ap, action = rng.integers(0, 6, 60) / 6, rng.integers(0, 8, 60)
    for number, most in ((10, 2), (100, 3), (4, 1)):
        wanted = []
        for i in sorted(range(60), key=lambda i: (ap[i], i)):
            if len(wanted) < number and sum(action[j] == action[i] for j in wanted) < most:
                wanted.append(i)
        assert worst_queries(ap, action, number, most) == wanted


def test_the_sheet_shows_the_worst_queries_and_their_rankings(split, tmp_path, monkeypatch):
    rows, colours, args = split
    figures, drawn = program("figures"), []
    sheet = figures.worst_sheet
    monkeypatch.setattr(figures, "worst_sheet", lambda *of: (drawn.append(of), sheet(*of)))
    figures.main(Namespace(**args | {"scores": tmp_path / "s.svg", "worst": tmp_path / "w.png"}))
    _, _, _, answers, total, _ = drawn[0]
    table = pq.read_table(args["queries"]).to_pylist()
    order, wanted = sorted(table, key=lambda row: (row["AP"], row["bbox_idx"])), []
    for row in order:
        if sum(other["action_idx"] == row["action_idx"] for other in wanted) < 2 and len(wanted) < 10:
            wanted.append(row)
    assert [query for query, *_ in answers] == wanted and total == len(table)
    distances = {
        row["action_idx"]: np.reshape(row["distance"], (len(row["query"]), -1)).tolist()
        for row in pq.read_table(args["distances"]).to_pylist()
    }
    drawing = np.asarray(Image.open(tmp_path / "w.png"))
    inside = {tuple(colour) for colour in np.unique(drawing.reshape(-1, 3), axis=0).tolist()}
    late = 0
    for query, row, boxes in answers:
        mine = rows[row]
        assert (mine["role"], mine["bbox_idx"]) == ("query", query["bbox_idx"])
        same = [r for r in rows if r["action_idx"] == mine["action_idx"]]
        own = [r["bbox_idx"] for r in same if r["role"] == "query"].index(mine["bbox_idx"])
        others = [r for r in same if r["role"] == "gallery"]
        order = sorted(zip(distances[mine["action_idx"]][own], (r["bbox_idx"] for r in others), others, strict=True))
        ranking = [
            (rank, distance, other["person_uid"] == mine["person_uid"], rows.index(other))
            for rank, (distance, _, other) in enumerate(order, start=1)
        ]
        first = next(one for one in ranking if one[2])
        shown = ranking[:BOXES] + ([first] if first[0] > BOXES else [])
        late += first[0] > BOXES
        assert [(box.rank, box.distance, box.match, box.row) for box in boxes] == shown
        for at in (row, *(box.row for box in boxes)):
            assert tuple(colours[at].tolist()) in inside
    assert late  # a match behind the bar was among them


@pytest.mark.parametrize("sizes", [[(1, 1)], [(1, 1), (1, 1)], [(3, 9)]])
def test_galleries_of_one_box_and_splits_of_one_action(tmp_path, sizes):
    paths = gallery.write_split(tmp_path, gallery.make_index(sizes))
    paths["distances"].rename(tmp_path / "distances.parquet")
    args = evaluated(tmp_path)
    program("figures").main(Namespace(**args))
    shown = texts(args["scores"])
    alone = len(sizes) == 1
    assert any("no interval: all queries are of one action" in text for text in shown) == alone
    assert any(re.fullmatch(r"[01]\.\d{3} \(.* to .*\).*", text) for text in shown) != alone
    assert (f"valid: {sum(q for q, _ in sizes)} queries in {len(sizes)} action" + "s" * (not alone)) in shown
    with Image.open(args["worst"]) as image:
        assert image.size[0] >= 900


def test_of_a_split_that_was_trained_on_both_images_say_so(tmp_path):
    heights = []
    for name, splits in (("no", ["train"]), ("yes", ["train", "valid"])):
        (tmp_path / name).mkdir()
        _, _, args = write_split(tmp_path / name, splits, actions=4)
        program("figures").main(Namespace(**args))
        said = "valid was trained on: these scores are not a valid result" in texts(args["scores"])
        assert said == (name == "yes")
        heights.append(Image.open(args["worst"]).size[1])
    assert heights[1] > heights[0]


def test_what_does_not_go_together_is_one_clear_error(split, tmp_path):
    rows, _, args = split
    other, old, plain = tmp_path / "m.json", tmp_path / "old.json", tmp_path / "plain.csv"
    write_json(other, json.loads(args["metrics"].read_text()) | {"split": "test"})
    write_json(old, {"split": "valid", "mAP": 0.5, "chance": {"mAP": 0.1}, "queries": 3, "pairs": 9})
    write_csv(plain, ["rank"], [[1]])
    np.save(tmp_path / "t.npy", np.zeros((len(rows) - 1, 16, 8, 3), np.uint8))
    table = scored.table_of(rows)
    distances = tmp_path / "d.parquet"
    scored.write_distances(distances, table, *scored.make_distances(table, seed=99))
    (tmp_path / "list.json").write_text("[]")
    for given, message in (
        ({"metrics": other}, "q.parquet: is of valid, but .*m.json is of test"),
        ({"metrics": old}, "old.json: has no scores with intervals .actions is missing.*scripts/evaluate.py"),
        ({"metrics": tmp_path / "list.json"}, r"list.json: has no scores with intervals .it: \[\] is not an object"),
        ({"cmc": plain}, "plain.csv: is not the table expected .it has no column share.*scripts/evaluate.py"),
        (
            {"slices": tmp_path / "none.csv"},
            "none.csv: there is no such file; make it with scripts/evaluate.py --slices",
        ),
        ({"thumbnails": tmp_path / "t.npy"}, "rows and its index"),
        ({"distances": distances}, "q.parquet: are not the scores of .*d.parquet"),
        ({"queries": args["index"]}, "is not a table of scored queries"),
    ):
        outs = {name: tmp_path / "out" / name for name in OUTS}
        with pytest.raises(ReidError, match=message):
            program("figures").main(Namespace(**args | outs | given))
    assert not (tmp_path / "out").exists()


def test_columns_of_slices_are_as_short_as_they_can_be():
    assert halves([8]) == 1
    assert halves([8, 3, 8, 7, 7, 6, 5]) == 3  # 19 and 25; with one more 26 and 18
    assert halves([1, 9]) == 1


SIZE = {"backbone": "resnet18", "parameters": 11176512, "flops": 248709120, "thumbnails": 2545, "identities": 1607}


def write_training(folder, loss, valid=(), seeds=({"seed": 1, "images": 1000, "best": None},), averaged=()):
    """The files of a training; returns the arguments of scripts/curves.py."""
    paths = {name: folder / f"{name}.tsv" for name in ("loss", "learning_rate", "valid", "averaged")}
    curves = {"loss": list(enumerate(loss)), "valid": valid, "averaged": averaged}
    curves["learning_rate"] = [(step, 0.001 / (1 + step)) for step in range(len(loss))]
    for name, points in curves.items():
        column = {"valid": "valid_mAP", "averaged": "valid_mAP_averaged"}.get(name, name)
        lines = [f"step\t{column}", *(f"{step}\t{value}" for step, value in points)]
        paths[name].write_text("\n".join(lines) + "\n")
    write_json(folder / "summary.json", {"model": "small", "trained_on": ["train"], **SIZE, "seeds": list(seeds)})
    return paths | {"summary": folder / "summary.json", "out": folder / "out.svg"}


def test_curves_say_what_the_summary_holds(tmp_path):
    args = write_training(tmp_path, [3, 2, 1.5])
    program("curves").main(Namespace(**args))
    shown = texts(args["out"])
    assert {"small: training", "loss", "learning rate"} < set(shown) and "mAP of valid" not in shown
    line = "resnet18 · 11.2 million parameters · 0.25 GFLOPs an image · 2,545 thumbnails of 1,607 identities"
    assert f"{line} · 1,000 images seen" in shown
    given = args | {"learning-rate": args["learning_rate"], "out": tmp_path / "again.svg"}
    words = [str(word) for name, path in given.items() if "_" not in name for word in (f"--{name}", path)]
    command = [sys.executable, ROOT / "scripts/curves.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    assert (tmp_path / "again.svg").read_bytes() == args["out"].read_bytes()


def test_curves_mark_the_best_epoch_of_each_seed(tmp_path):
    best = [{"mAP": 0.51, "epoch": 2, "weights": "raw"}, {"mAP": 0.62, "epoch": 4, "weights": "averaged"}]
    seeds = [{"seed": i, "images": n, "best": b} for i, n, b in zip((1, 2), (2990, 4020), best, strict=True)]
    args = write_training(tmp_path, [3, 2, 1, 3, 2, 1, 1], [(1, 0.51), (4, 0.4), (6, 0.6)], seeds)
    program("curves").main(Namespace(**args))
    shown = texts(args["out"])
    assert "mAP of valid" in shown and any(text.endswith(" · 7,010 images seen") for text in shown)
    assert any(text.startswith("2 seeds, trained one after the other") for text in shown)
    marks = "epoch 2 with 0.510 (raw weights), epoch 7 with 0.620 (averaged weights)"
    assert f"dashed and star: best mAP of valid, in {marks}" in shown
    assert curve_figure.seed_ends(seeds, 7) == [3, 7]


def test_curves_show_the_averaged_weights_beside_the_raw_ones(tmp_path):
    best = [{"seed": 1, "images": 1000, "best": {"mAP": 0.7, "epoch": 3, "weights": "averaged"}}]
    valid, averaged = [(0, 0.3), (2, 0.4)], [(0, 0.2), (2, 0.7)]
    args = write_training(tmp_path, [3, 2, 1], valid, best)
    program("curves").main(Namespace(**args))
    assert "averaged weights" not in texts(args["out"]) and "raw weights" not in texts(args["out"])
    args = write_training(tmp_path, [3, 2, 1], valid, best, averaged)
    program("curves").main(Namespace(**args))
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert {"mAP of valid", "raw weights", "averaged weights"} < set(texts(args["out"]))
    star = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^/]*fill: #202020', drawn)[-1]
    ends = re.search(r'd="M [\d.]+ [\d.]+ \nL ([\d.]+) ([\d.]+) \n" clip-path[^/]*stroke: #cc79a7', drawn)
    assert ends and star == ends.groups()  # the star lies on the curve of the averaged weights


def test_a_training_of_no_epoch_has_a_figure(tmp_path):
    args = write_training(tmp_path, [], seeds=[{"seed": 1, "images": 0, "best": None}])
    program("curves").main(Namespace(**args))
    assert texts(args["out"]).count("no epoch was trained") == 2


def test_what_is_no_training_is_one_clear_error(tmp_path):
    args = write_training(tmp_path, [1, 2])
    (tmp_path / "bad.tsv").write_text("step\tloss\n0\tmuch\n")
    summary = json.loads(args["summary"].read_text())
    write_json(tmp_path / "bad.json", {key: value for key, value in summary.items() if key != "flops"})
    for given, message in (
        ({"loss": args["valid"]}, "valid.tsv: is not the table expected .it has no column loss"),
        ({"loss": tmp_path / "bad.tsv"}, "bad.tsv: is not the table expected .*much"),
        (
            {"summary": tmp_path / "bad.json"},
            "bad.json: is not the summary of a training .flops is missing.*scripts/train.py",
        ),
    ):
        with pytest.raises(ReidError, match=message):
            program("curves").main(Namespace(**args | given))


def test_scores_of_a_split_that_was_trained_on_are_read_from_their_place(tmp_path):
    inner = {"mAP": 0.5, "chance": {"mAP": 0.1}, "queries": 3, "actions": 1, "interval": {"mAP": None}}
    write_json(tmp_path / "m.json", {"split": "test", "trained_on": True, "of_training_data": inner})
    assert read_scores(tmp_path / "m.json") == ("test", True, inner)


@pytest.mark.parametrize("trained", [["train"], ["train", "valid", "test"]])
@pytest.mark.parametrize("caption", sorted((ROOT / "workflow/report").glob("*.rst")), ids=lambda path: path.stem)
def test_captions_render_as_snakemake_does(caption, trained):
    from docutils.core import publish_parts
    from jinja2 import Environment, StrictUndefined

    config = yaml.safe_load((ROOT / "params.yaml").read_text())
    config["train"]["splits"] = trained
    config["models"]["resnet18"]["soup"], config["external_models"] = None, {"other": {"embeddings": "elsewhere"}}
    job = SimpleNamespace(config=config, wildcards=SimpleNamespace(split="valid", model="resnet18"))
    page = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = page.from_string(caption.read_text(encoding="utf-8")).render(snakemake=job, categories={}, files=[])
    strict = {"report_level": 1, "halt_level": 2}
    html = publish_parts(text, writer="html", settings_overrides=strict)["html_body"]
    assert "problematic" not in html
    if caption.stem in ("workflow", "scores", "worst", "metrics"):
        assert ("valid was trained on" in html) == ("valid" in trained)
    if caption.stem == "workflow":
        assert "learning_rate: 0.0006" in html and "soup: null" in html
        assert "Models: resnet18, other." in html
