"""mAP of a split while training, against the pipeline's own way and a naive loop."""

import contextlib

import numpy as np
import pyarrow as pa
import pytest
import torch

from reid.training.validation import Validator


class Colour(torch.nn.Module):
    """Mean colour of an image as its embedding."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def prepare(self, images):
        return images.permute(0, 3, 1, 2).float()

    def named(self):
        return contextlib.nullcontext()

    def forward(self, x):
        return x.mean((2, 3))


def split(actions=6, queries=3, gallery=5, seed=0):
    """A labelled split whose colours tell its people apart somewhat better than a random ranking."""
    rng = np.random.default_rng(seed)
    rows = []
    for action in range(actions):
        for role, count in (("query", queries), ("gallery", gallery)):
            rows += [(role, action, action * 10 + number % 4) for number in range(count)]
    rows.sort(key=lambda row: row[0] == "query")
    role, action, person = zip(*rows, strict=True)
    box = [sum(r == other for other in role[:i]) for i, r in enumerate(role)]
    table = pa.table(
        {
            "role": list(role),
            "bbox_idx": pa.array(box, pa.int32()),
            "action_idx": pa.array(action, pa.int32()),
            "person_uid": pa.array(person, pa.int32()),
        }
    )
    colour = {uid: rng.integers(60, 200, 3) for uid in set(person)}
    centre = np.array([colour[uid] for uid in person]) + rng.integers(-60, 60, (len(person), 3))
    return table, np.broadcast_to(np.clip(centre, 0, 255)[:, None, None], (len(person), 8, 4, 3)).astype(np.uint8)


def naive(table, store, distance):
    rows = table.to_pylist()
    colours = store.reshape(len(store), -1, 3).mean(1)
    ap = []
    for i, query in enumerate(rows):
        if query["role"] != "query":
            continue
        boxes = [j for j, r in enumerate(rows) if r["role"] == "gallery" and r["action_idx"] == query["action_idx"]]
        boxes.sort(key=lambda j: (distance(colours[i], colours[j]), rows[j]["bbox_idx"]))
        match = [rows[j]["person_uid"] == query["person_uid"] for j in boxes]
        precision = [sum(match[: k + 1]) / (k + 1) for k, is_match in enumerate(match) if is_match]
        ap.append(sum(precision) / len(precision))
    return sum(ap) / len(ap)


@pytest.mark.parametrize(
    "metric, distance",
    [
        ("euclidean", lambda a, b: np.linalg.norm(a - b)),
        ("cosine", lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_score_is_the_naive_map(metric, distance, batch_size, device):
    table, store = split()
    score = Validator(table, store, metric, batch_size).score(Colour().to(device), torch.float32)
    assert score == pytest.approx(naive(table, store, distance), abs=1e-6)
    assert 0.3 < score < 1


def test_network_without_direction_scores_as_if_all_were_alike():
    table, store = split()
    score = Validator(table, np.zeros_like(store), "cosine").score(Colour(), torch.float32)
    assert score == pytest.approx(naive(table, np.zeros_like(store), lambda a, b: 0))


def test_boxes_without_a_direction_come_last():
    table, store = split()
    black = np.flatnonzero(np.array(table["role"]) == "gallery")[::3]
    store = store.copy()
    store[black] = 0

    def scored(place):
        return naive(
            table, store, lambda a, b: 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) if b.any() else place
        )

    score = Validator(table, store, "cosine").score(Colour(), torch.float32)
    assert score == pytest.approx(scored(np.inf), abs=1e-6) and score != pytest.approx(scored(0), abs=1e-3)


def test_network_that_has_diverged_scores_nothing():
    table, store = split()
    network = Colour()
    network.prepare = lambda images: torch.full((len(images), 3, 2, 2), torch.nan)
    assert Validator(table, store, "cosine").score(network, torch.float32) == 0
