"""The benchmark runs at 1/200 of its size, its stand-in has the published structure, and its reference agrees."""

import json
import mmap
import subprocess
import sys

import numpy as np
import pytest

import bench_ranking
import bench_rows
import measuring
import reference
import standin
from builders import ROOT
from reid.data.index import build_index
from reid.params.schema import section_class
from reid.ranking.distances import action_distances
from reid.retrieval.metrics import average_precision
from reid.retrieval.order import rank


@pytest.mark.parametrize("split", standin.COUNTS)
def test_standin_has_the_published_counts(split):
    actions, people, queries, gallery = standin.COUNTS[split]
    boxes = standin.draw_boxes(split)
    assert len(np.unique(boxes.action)) == actions
    assert (boxes.is_query.sum(), (~boxes.is_query).sum()) == (queries, gallery)
    if people:
        assert len(np.unique(boxes.person)) == people


def test_standin_of_challenge_and_valid_has_the_real_actions(pku):
    import csv

    for split in ("valid", "challenge"):
        with open(pku.parent / f"actions/{split}.csv", newline="") as file:
            real = sorted((int(row["n_query"]), int(row["n_gallery"])) for row in csv.DictReader(file))
        boxes = standin.draw_boxes(split)
        counts = [np.bincount(boxes.action[part]) for part in (boxes.is_query, ~boxes.is_query)]
        assert sorted(zip(*(count.tolist() for count in counts), strict=True)) == real


@pytest.mark.parametrize("split", standin.COUNTS)
def test_zip_of_the_standin_is_a_split(tmp_path, split):
    boxes = standin.make_zip(tmp_path / "a.zip", split, 0.01)
    standin.make_zip(tmp_path / "b.zip", split, 0.01)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    table, passed_over = build_index(tmp_path / "a.zip", split)  # refuses what is wrong, queries without a match too
    assert not passed_over
    assert len(table) == len(boxes.action)
    assert len(set(table["action_idx"].to_pylist())) == len(np.unique(boxes.action))


def test_images_of_the_standin_are_as_large_as_real_ones():
    drawn = standin.images(150, np.random.default_rng(0))
    assert np.mean([len(content) for content, _, _ in drawn]) == pytest.approx(standin.MEAN_BYTES, rel=0.2)
    assert all(30 <= height <= 775 for _, height, _ in drawn)


def test_ranking_is_that_of_the_whole_matrix():
    """Identical orders, and an mAP that differs by less than 1e-12, in float64."""
    actions, person, embeddings = bench_ranking.random_split("valid", 0.03)
    embeddings = embeddings.astype(np.float64)
    query, gallery = (np.concatenate([getattr(a, role) for a in actions]) for role in ("query", "gallery"))
    owner = np.empty(len(person), np.int64)
    for number, action in enumerate(actions):
        owner[action.query] = owner[action.gallery] = number
    matrix = reference.distance_matrix(embeddings[query], embeddings[gallery])
    assert matrix.dtype == np.float64
    order = np.concatenate([gallery[row] for row in reference.rank_all(matrix, owner[query], owner[gallery])])

    params = section_class("Distances").model_validate({"metric": "euclidean"})
    ranked = rank(bench_ranking.pairs_of(actions, action_distances([embeddings], actions, params)))
    np.testing.assert_array_equal(ranked.gallery, order)
    labels = (person[query], person[gallery], owner[query], owner[gallery])
    ap = average_precision(person[ranked.query] == person[ranked.gallery], ranked.start)
    assert ap.mean() == pytest.approx(reference.mean_average_precision(matrix, *labels), abs=1e-12)
    assert 0.1 < ap.mean() < 0.9  # neither at random nor without a fault


def test_reference_reranking_puts_mutual_neighbours_first():
    """The query is at the end of one group; the first box of the other one is nearer than its own last ones."""
    own, others = [0.5, 1.0, 1.5, 2.0], [-1.8, -1.9, -2.0, -2.1, -2.2]
    places = np.array([[0.0], *([x] for x in own + others)])
    distance = np.abs(places - places.T)
    parts = distance[:1, 1:], distance[:1, :1], distance[1:, 1:]
    assert np.argsort(parts[0][0])[3] == 4
    again = reference.rerank(*parts, k1=4, k2=1, lambda_value=0.3)
    assert again.shape == (1, 9)
    assert np.argsort(again[0]).tolist() == list(range(9))
    alone = reference.rerank(*parts, k1=4, k2=2, lambda_value=1.0)
    np.testing.assert_allclose(alone, (parts[0] / distance[0].max()) ** 2, rtol=1e-6)


def test_reference_sampler_draws_the_kits_batches():
    person = np.repeat(np.arange(40), [1, 2, 3, 4, 5, 6, 7, 8] * 5)
    order = np.array(reference.identity_order(person, 16, 4))
    groups = person[order].reshape(-1, 4)
    assert (groups == groups[:, :1]).all()
    batches = groups[:, 0].reshape(-1, 4)
    assert all(len(set(batch)) == 4 for batch in batches.tolist())
    used = np.bincount(groups[:, 0], minlength=40)
    assert (used <= np.maximum(np.bincount(person) // 4, 1)).all()
    assert used.sum() > 40  # only when fewer than four identities are left is one left out


def test_growth_is_seen():
    with measuring.growth() as memory, mmap.mmap(-1, 160_000_000) as fresh:  # an array may lie in what is held already
        np.frombuffer(fresh, np.uint8)[:] = 1
    if memory.bytes is None:
        pytest.skip("the highest memory can be reset on Linux only")
    assert 150e6 < memory.bytes < 200e6


def test_program_tells_the_memory_of_the_program_alone():
    held = np.ones(30_000_000)
    spent, memory = measuring.program("-c", "import time; x = bytearray(50_000_000); time.sleep(0.2)")
    assert held.nbytes == 240_000_000
    assert 50e6 < memory < 100e6
    assert spent > 0.2
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measuring.program("-c", "1 / 0")


@pytest.mark.slow
def test_benchmark_runs_at_a_two_hundredth():
    before = {path: path.read_bytes() for path in (ROOT / "docs").rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "benchmarks/bench.py", "--share", "0.005"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for part in ("distances, ranking, mAP", "`rank` of valid", "re-ranking", "index", "thumbnails", "embedding"):
        assert part in done.stderr
    assert {path: path.read_bytes() for path in (ROOT / "docs").rglob("*") if path.is_file()} == before


def test_growth_runs_at_a_hundredth(tmp_path):
    call = ["benchmarks/growth.py", "--shares", "0.01", "--out", str(tmp_path)]
    subprocess.run([sys.executable, *call], cwd=ROOT, check=True, capture_output=True)
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert rows[0]["index"]["thumbnails"] == pytest.approx(0.01 * standin.TOTAL, rel=0.1)
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_page_of_the_benchmark_has_its_table():
    rows = json.loads((ROOT / "docs/benchmark.json").read_text(encoding="utf-8"))["rows"]
    assert bench_rows.table(rows) in (ROOT / "docs/benchmark.md").read_text(encoding="utf-8")
