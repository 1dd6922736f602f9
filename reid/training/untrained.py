"""A model that is used as its weights come: no epoch, and no images to train on."""

from typing import Any

from reid.models import device
from reid.models.checkpoint import set_arrays
from reid.models.embedder import Embedder
from reid.training.train import Trained, summary
from reid.training.trainer import Arrays


def as_it_comes(params: Any, init: Arrays) -> Trained:
    """What a training of no epochs ends in, without the images that one would begin with.

    Args:
        params: reid.params.model.Model; its ``seed`` is that of the layers that ``init`` has no arrays for.
        init: arrays by the network's names.
    """
    device.prepare(params.threads, params.seed)
    network = Embedder(params.network, (params.input.height, params.input.width))
    set_arrays(network, init)
    about = summary(params, network.cost(), 0, 0, [{"seed": params.seed, "images": 0, "best": None}])
    return Trained(network.eval(), network, about)
