"""The section of a model that is small enough for tests."""

import copy

from reid.params import Model

MODEL = {
    "seed": 1,
    "soup": None,
    "subset": 1.0,
    "network": {
        "backbone": "resnet18",
        "weights": None,
        "last_stride": 2,
        "pooling": "average",
        "projection": None,
        "neck": None,
    },
    "input": {"height": 32, "width": 16},
    "pictures": {
        "flip": 0.5,
        "crop": None,
        "light": None,
        "resample": None,
        "blur": None,
        "erasing": None,
        "patch": None,
        "progressive": None,
    },
    "sampler": {"kind": "actions", "actions": 2, "people": 4, "images": 2, "neighbours": "any"},
    "loss": {
        "negatives": "everything",
        "contrast": None,
        "triplet": {"weight": 1.0, "margin": 0.3},
        "centroid": None,
        "softmax": {"weight": 1.0, "label_smoothing": 0.1, "over": "all"},
    },
    "optimiser": {
        "kind": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0005,
        "layer_decay": 1.0,
        "clip": None,
        "accumulate": 1,
        "frozen_epochs": 0,
    },
    "schedule": {"kind": "step", "milestones": [1], "gamma": 0.1},
    "averaging": None,
    "epochs": 2,
    "budget": None,
    "watch": None,
    "precision": "fp32",
    "compile": None,
    "threads": 1,
}
NETWORK, PICTURES = MODEL["network"], MODEL["pictures"]


def changed(content, changes):
    """A copy of ``content`` with values at dotted places replaced."""
    content = copy.deepcopy(content)
    for place, value in changes.items():
        *sections, key = place.split(".")
        found = content
        for section in sections:
            found = found[section]
        found[key] = value
    return content


def model(changes=None):
    """reid.params.Model: :data:`MODEL` with values at dotted places replaced."""
    return Model.model_validate(changed(MODEL, changes or {}))
