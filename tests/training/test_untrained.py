"""A model that is used as it comes is what a training of no epochs leaves."""

import pytest
import torch

from builders.model import model
from builders.training import CHEAP, HEIGHT, WIDTH, equal, trained, weights
from reid.models.embedder import Embedder
from reid.training.untrained import as_it_comes

pytestmark = pytest.mark.usefixtures("one_thread")


def test_arrays_and_cost_are_those_of_a_training_of_no_epochs():
    changes = {**CHEAP, "network.projection": {"width": 8, "kind": "linear"}, "epochs": 0}
    torch.manual_seed(9)
    init = weights(Embedder(model(CHEAP).network, (HEIGHT, WIDTH)))
    whole, found = trained(changes, init=init), as_it_comes(model(changes), init)
    assert equal(weights(found.selected), weights(whole.selected))
    assert found.last is found.selected and not found.selected.training
    seen = {"thumbnails": 0, "identities": 0}
    assert found.summary == {**whole.summary, **seen}
    assert not equal(weights(found.selected), weights(as_it_comes(model({**changes, "seed": 2}), init).selected))
