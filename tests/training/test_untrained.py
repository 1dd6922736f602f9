"""A model that is used as it comes is what a training of no epochs leaves."""

import pytest
import torch

from builders.model import model
from builders.training import CHEAP, HEIGHT, WIDTH, equal, trained, weights
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.training.untrained import as_it_comes

pytestmark = pytest.mark.usefixtures("one_thread")


def arrays(changes=CHEAP):
    """Those of a network that was trained somewhere."""
    torch.manual_seed(9)
    return weights(Embedder(model(changes).network, (HEIGHT, WIDTH)))


def test_arrays_and_cost_are_those_of_a_training_of_no_epochs():
    changes = {**CHEAP, "network.projection": {"width": 8, "kind": "linear"}, "epochs": 0}
    init = arrays(changes)
    whole, found = trained(changes, init=init), as_it_comes(model(changes), init, [])
    assert equal(weights(found.selected), weights(whole.selected))
    assert found.last is found.selected and not found.selected.training
    seen = {"thumbnails": 0, "identities": 0}
    assert found.summary == {**whole.summary, **seen}


def test_layer_that_would_stay_random_is_refused_with_what_the_weights_have_instead():
    changes = {**CHEAP, "network.weights": "w.pth", "network.projection": {"width": 8}, "epochs": 0}
    with pytest.raises(
        ReidError,
        match=r"^epochs: 0: projection\.weight \[8, \d+\], projection\.bias \[8\] are not in network\.weights "
        r"\(w\.pth\) and would stay random; it has fc\.0\.weight, fc\.0\.bias, fc\.1\.weight, \.\.\. instead\. ",
    ):
        as_it_comes(model(changes), arrays(), ["fc.0.weight", "fc.0.bias", "fc.1.weight", "fc.1.bias"])
    of_backbone = {name: value for name, value in arrays().items() if name != "backbone.conv1.0.weight"}
    with pytest.raises(ReidError, match=r"backbone\.conv1\.0\.weight \[.*\] is not in .* would stay random\. Make"):
        as_it_comes(model({**CHEAP, "epochs": 0}), of_backbone, [])


def test_power_of_gem_and_a_bnneck_begin_with_what_needs_no_training():
    changes = {**CHEAP, "network.pooling": {"kind": "gem", "power": 2.0}, "network.bnneck": True, "epochs": 0}
    network = as_it_comes(model(changes), arrays(), []).selected
    assert network.pool.power.tolist() == [2.0] and torch.equal(network.bnneck.weight, torch.ones(network.width))
