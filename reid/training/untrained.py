"""A model that is used as its weights come: no epoch, and no images to train on."""

from typing import Any

from reid.models import device
from reid.models.checkpoint import set_arrays
from reid.models.embedder import Embedder
from reid.models.pretrained import require_whole
from reid.training.train import Trained, summary
from reid.training.trainer import Arrays


def as_it_comes(params: Any, init: Arrays, left_out: list[str]) -> Trained:
    """What a training of no epochs ends in, without the images that one would begin with.

    Args:
        params: reid.params.model.Model.
        init: arrays by the network's names.
        left_out: names of what else their file has.

    Raises:
        ReidError: a layer would stay random, for ``init`` has no arrays for it.
    """
    device.prepare(params.threads, params.seed)
    network = Embedder(params.network, (params.input.height, params.input.width))
    set_arrays(network, init)
    require_whole(network, init, left_out)
    about = summary(params, network.cost(), 0, 0, [{"seed": params.seed, "images": 0, "best": None}])
    return Trained(network.eval(), network, about)
