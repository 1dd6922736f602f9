"""The section of a model that is small enough for tests."""

import copy

from reid.params.schema import section_class

MODEL = {
    "seed": 1,
    "network": {"backbone": "resnet18"},
    "input": {"height": 32, "width": 16},
    "augmentation": {"flip": {"probability": 0.5}},
    "sampler": {"kind": "actions", "actions": 2, "identities": 4, "instances": 2},
    "loss": {"negatives": "batch", "triplet": {"margin": 0.3}, "id": {"label_smoothing": 0.1}},
    "optimizer": {"kind": "adam", "learning_rate": 0.001, "weight_decay": 0.0005},
    "schedule": {"kind": "step", "milestones": [1], "gamma": 0.1},
    "epochs": 2,
}
NETWORK = MODEL["network"]


def changed(content, changes):
    """A copy of ``content`` with values at dotted places replaced; sections that are missing are made."""
    content = copy.deepcopy(content)
    for place, value in changes.items():
        *sections, key = place.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = copy.deepcopy(value)  # what one test writes into it is not the next one's
    return content


def model(changes=None):
    """reid.params.model.Model: :data:`MODEL` with values at dotted places replaced (None for off)."""
    return section_class("Model").model_validate(changed(MODEL, changes or {}))
