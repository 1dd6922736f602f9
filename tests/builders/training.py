"""What a training of tests is made of: a split of coloured noise, networks of one layer, and how to compare arrays."""

import contextlib

import numpy as np
import pyarrow as pa
import torch

from builders.model import model
from reid.training.dataset import Images, select_identities
from reid.training.train import train
from reid.training.trainer import Trainer

HEIGHT, WIDTH = 32, 16
CHEAP = {"network.backbone": "test_resnet", "schedule": None}


def league(actions=5, people=4, images=2, game="game"):
    """A labelled split with rows in no order of action or person, and two actions a game.

    Returns:
        (pyarrow.Table, uint8 N x 32 x 16 x 3): its index, and an image per row: its person's colour and noise
    """
    rng = np.random.default_rng(actions)
    person = rng.permutation(np.repeat(np.arange(actions * people), images))
    table = pa.table(
        {
            "bbox_idx": pa.array(np.arange(len(person)), pa.int32()),
            "action_idx": pa.array(person // people, pa.int32()),
            "person_uid": pa.array(7 * person + 2, pa.int32()),
            **{level: pa.array([level] * len(person)) for level in ("championship", "season")},
            "game": pa.array([f"{game} {number // people // 2}" for number in person.tolist()]),
        }
    )
    colours = rng.integers(0, 200, (actions * people, 1, 1, 3))
    store = colours[person] + rng.integers(0, 40, (len(person), HEIGHT, WIDTH, 3))
    return table, store.astype(np.uint8)


def numbered(store):
    """A store whose images carry their row in the top left corner, and 255 there in the second channel."""
    store = store.copy()
    store[:, 0] = 0
    store[:, 0, 0, 0] = np.arange(len(store))
    store[:, 0, 0, 1] = 255
    return store


def inputs(changes=None, split=None):
    """Identities, images and parameters of a training on one split (that of :func:`league`), for :func:`train`."""
    table, store = split or league()
    params = model(changes)
    return select_identities([table], params.subset), Images([store]), params


def trained(changes=None, split=None, **more):
    """What a training on one split ends in (reid.training.train.Trained)."""
    return train(*inputs(changes, split), progress=False, **more)


def trainer_of(changes=None, split=None):
    return Trainer(*inputs(changes, split))


def weights(network):
    """Copies of the arrays of a network on the CPU, by name."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def equal(one, other):
    """Whether two of :func:`weights` are the same to the bit."""
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


class Net(torch.nn.Module):
    """One linear layer in the place of a network, which keeps what it is shown."""

    builders = ()
    named = contextlib.nullcontext

    def __init__(self, params, size):
        super().__init__()
        self.backbone, self.bnneck = torch.nn.Linear(size[0] * size[1] * 3, 4), torch.nn.Identity()
        self.register_buffer("mean", torch.zeros(1))
        self.width, self.size, self.seen = 4, size, []

    def normalise(self, x):
        self.seen.append((255 * x).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu())
        return x

    def prepare(self, images):
        return self.normalise(images.permute(0, 3, 1, 2).float() / 255)

    def features(self, x):
        return self.backbone(x.flatten(1))

    def forward(self, x):
        return self.features(x)

    def cost(self):
        return {"parameters": 1, "flops": 1}
