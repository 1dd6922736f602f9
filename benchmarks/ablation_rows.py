"""What the ablation tries: the dev kit's recipe as the first row, and the parts that are put on top of it.

A part changes the sections ``model``, ``embed`` and ``distances`` of a parameter file, at dotted places.
"""

import copy
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]

IMAGES, LONGER = 8_000, 16_000  # seen by each training of the first and the second table
HEIGHT, WIDTH = 128, 64

# The dev kit's baseline with the network and size of this table. last_stride is that of the kit's own resnet18.
KIT = {
    "network": {"backbone": "resnet18", "last_stride": 2},
    "input": {"height": HEIGHT, "width": WIDTH},
    "subset": 1.0,
    "epochs": 100,
    "max_images": IMAGES,
    "threads": 1,
}
CROP = {"probability": 1.0, "margin": 0.1}
COLOR_JITTER = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
RANDOM_ERASING = {"probability": 0.5, "smallest": 0.02, "largest": 0.4}


def supcon(negatives):
    loss = {"negatives": negatives, "supcon": {"temperature": 0.05}}
    return {"model": {"loss": loss}, "distances": {"metric": "cosine"}}


# Each part: its name, and the ways to do it, of which the best stays. ``always`` stays whatever its mAP of valid.
PARTS = [
    {
        "name": "batches of whole actions, bf16",  # which later parts need
        "ways": {
            "": {
                "model": {
                    "sampler": {"kind": "actions", "actions": 4, "identities": 8, "instances": 2},
                    "precision": "bf16",
                }
            }
        },
        "always": True,
    },
    {
        "name": "supervised contrastive loss",
        "ways": {
            "negatives of the same action": supcon("action"),
            "everybody as negative": supcon("batch"),
            "the same action and other games": supcon("action+games"),
        },
    },
    {
        "name": "projection after the pooling",
        "ways": {"": {"model": {"network.projection": {"width": 128, "kind": "linear"}}}},
    },
    {
        "name": "augmentation",
        "ways": {
            "crop": {"model": {"augmentation.crop": CROP}},
            "crop, color jitter, random erasing": {
                "model": {
                    "augmentation.crop": CROP,
                    "augmentation.color_jitter": COLOR_JITTER,
                    "augmentation.random_erasing": RANDOM_ERASING,
                }
            },
        },
    },
    {
        "name": "one-cycle AdamW",
        "ways": {
            "": {
                "model": {
                    "optimizer.kind": "adamw",
                    "optimizer.learning_rate": 0.001,
                    "optimizer.weight_decay": 0.01,
                    "schedule": {"kind": "one_cycle", "warmup": 0.3},
                }
            }
        },
    },
    {"name": "weight averaging (0.95)", "ways": {"": {"model": {"averaging": {"kind": "ema", "decay": 0.95}}}}},
    {
        "name": "dual softmax over queries",
        "ways": {
            f"temperature {t}": {"distances": {"postprocessing.dual_softmax": {"temperature": t}}}
            for t in (0.05, 0.1, 0.2)
        },
    },
    {
        "name": "k-reciprocal re-ranking",
        "ways": {"": {"distances": {"postprocessing.reranking": {"k1": 3, "k2": 1, "lambda": 0.7}, "scale": "mean"}}},
    },
]


def falling(kind, hold):
    """Twice the learning rate of the first table, falling to nothing in the end."""
    schedule = {"kind": "cosine", "hold": hold}
    return {"model": {"optimizer.kind": kind, "optimizer.learning_rate": 0.0006, "schedule": schedule}}


# With more images, on top of what stays of the first table.
LONGER_PARTS = [
    {
        "name": "smaller images first (0.75, half of the training)",
        "ways": {"": {"model": {"augmentation.progressive_resizing": {"scale": 0.75, "until": 0.5}}}},
    },
    {"name": "embeddings with the mirror image", "ways": {"": {"embed": {"flip_test": True}}}},
    {
        "name": "twice the learning rate, cosine",
        "ways": {
            "AdamW": falling("adamw", 0.0),
            "AdamW, from half of the training": falling("adamw", 0.5),
        },
    },
    {  # what makes no difference here does on photographs: see docs/ablation.md
        "name": "twice the learning rate, cosine: Adam, from 0.7 of the training",
        "ways": {"": falling("adam", 0.7)},
        "always": True,
    },
]


def merged(settings, way):
    """Settings with those of a way on top."""
    return {part: {**settings.get(part, {}), **way.get(part, {})} for part in ("model", "embed", "distances")}


def _change(section, changes):
    """Put copies of values at dotted places of a section; sections that are missing are made."""
    for place, value in changes.items():
        *sections, key = place.split(".")
        inner = section
        for name in sections:
            inner = inner.setdefault(name, {})
        inner[key] = copy.deepcopy(value)


def params_of(settings, seed):
    """The checked parameter file of a row: the dev kit's recipe with ``settings``.

    Returns:
        reid.params.schema.Params with one model, ``"model"``
    """
    from reid.params import check_params

    text = (ROOT / "recipes/dev-kit-baseline.yaml").read_text(encoding="utf-8")
    content = YAML(typ="safe", pure=True).load(text)
    model = next(iter(content["models"].values()))
    _change(model, {**KIT, **settings["model"], "seed": seed})
    content["models"] = {"model": model}
    _change(content["embed"], settings.get("embed", {}))
    _change(content["distances"], settings["distances"])
    return check_params(content, "benchmarks/ablation.py")
