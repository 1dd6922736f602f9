"""Batch norms' statistics taken anew: those of PyTorch's own pass, over other images, and of nothing else."""

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

from builders.model import model
from builders.training import HEIGHT, WIDTH, equal, inputs, league, trained, trainer_of, weights
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.recomputation import batch_norms
from reid.training import precise_bn
from reid.training.dataset import Images
from reid.training.precise_bn import precise, sample
from reid.training.validation import Validator

NETWORK = {
    "network.backbone": "test_resnet",
    "network.bnneck": True,
    "network.projection": {"kind": "relu", "width": 8},
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def network_of(seed=1, **changes):
    torch.manual_seed(seed)
    return Embedder(model({**NETWORK, **changes}).network, (HEIGHT, WIDTH)).eval()


def _roles(table):
    """The first image of each person is a query."""
    people = table["person_uid"].to_pylist()
    return ["gallery" if person in people[:row] else "query" for row, person in enumerate(people)]


def split_of(array_names):
    """Names of the statistics and of all else."""
    statistics = {name for name in array_names if name.endswith(STATISTICS)}
    return statistics, set(array_names) - statistics


@pytest.mark.parametrize("size", [7, 256])
def test_statistics_are_those_of_a_pass_by_pytorch(monkeypatch, size):
    monkeypatch.setattr(precise_bn, "BATCH", size)
    _, store = league()
    batches, ours, theirs = sample(np.arange(len(store)), 28, 1), network_of(), network_of()
    found = precise(ours, Images([store]), batches, torch.float32)
    update_bn([ours.prepare(torch.from_numpy(store[rows])) for rows in batches], theirs)
    assert len(batches) == (4 if size == 7 else 1) and not found.training
    for name, value in weights(theirs).items():
        if not name.endswith("tracked"):
            torch.testing.assert_close(weights(found)[name], value)
    assert equal(weights(ours), weights(network_of()))  # a copy was changed


def test_paths_are_not_dropped_meanwhile():
    _, store = league()
    batches = sample(np.arange(len(store)), 28, 1)
    kept, dropped = network_of(), network_of(**{"network.drop_path": 0.9})
    for norm in batch_norms(kept):
        torch.nn.init.ones_(norm.weight)  # a block begins with 0, and without it nothing would change
    dropped.load_state_dict(kept.state_dict())
    found, other = (weights(precise(one, Images([store]), batches, torch.float32)) for one in (kept, dropped))
    assert equal(found, other)


def test_rows_are_drawn_once_each_in_batches_of_one_size(monkeypatch):
    monkeypatch.setattr(precise_bn, "BATCH", 10)
    rows = np.arange(100, 200)
    batches = sample(rows, 25, 1)
    assert [len(batch) for batch in batches] == [9, 8, 8]
    drawn = np.concatenate(batches)
    assert len(set(drawn)) == 25 and set(drawn) <= set(rows)
    assert not np.array_equal(np.concatenate(sample(rows, 25, 2)), drawn)
    assert sorted(np.concatenate(sample(rows, 1000, 1))) == rows.tolist()


@pytest.mark.parametrize("averaging", [None, {"kind": "ema", "decay": 0.9}])
def test_training_is_the_same_but_for_the_statistics(averaging):
    changes = {**NETWORK, "averaging": averaging, "augmentation.crop": {"probability": 1.0, "margin": 0.1}}
    plain, other = trained(changes), trained({**changes, "precise_bn": 40})
    statistics, rest = split_of(weights(plain.last))
    for name in rest:
        assert torch.equal(weights(plain.last)[name], weights(other.last)[name]), name
    moved = [name for name in statistics if not torch.equal(weights(plain.last)[name], weights(other.last)[name])]
    assert any(name.endswith("running_mean") for name in moved)
    assert equal(weights(other.last), weights(trained({**changes, "precise_bn": 40}).last))  # each time the same


def test_valid_scores_the_network_that_is_kept():
    split = table, store = league()
    table = table.append_column("role", [_roles(table)])
    validator = Validator(table, store, "cosine")
    changes = {**NETWORK, "epochs": 2, "precise_bn": 30, "averaging": {"kind": "ema", "decay": 0.9}}
    changes["validation"] = {"select": "best", "metric": "cosine"}
    ended = trained(changes, split, validator=validator)
    best = ended.summary["seeds"][0]["best"]
    assert validator.score(ended.selected, torch.float32) == pytest.approx(best["mAP"], abs=1e-12)


def test_mean_of_several_seeds_gets_statistics_of_its_own():
    init = weights(network_of(3))
    changes = {**NETWORK, "soup": [5], "network.weights": "any.pth", "precise_bn": 40}
    identities, images, _ = inputs(changes)
    soup = trained(changes, init=init).last
    expected = precise(soup, images, sample(identities.rows, 40, 5), torch.float32)
    for name, value in weights(soup).items():
        if not name.endswith("tracked"):
            # a GPU has computed the one, the CPU the other
            torch.testing.assert_close(value, weights(expected)[name], rtol=1e-3, atol=1e-4)


def test_network_without_batch_norms_is_refused():
    with pytest.raises(ReidError, match=r"^precise_bn: test_vit has no batch norms; leave it out$"):
        trainer_of({"network.backbone": "test_vit", "network.pooling": "token", "precise_bn": 10})
