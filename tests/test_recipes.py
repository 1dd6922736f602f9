"""Every recipe takes one real training step, with small pictures and no pretrained weights."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from reid.params import read_params
from reid.training import Trainer
from reid.trainset import Pictures, select_people

pytestmark = pytest.mark.usefixtures("torch_as_it_was")

ROOT = Path(__file__).resolve().parents[1]
RECIPES = {path.stem: read_params(path) for path in sorted((ROOT / "recipes").glob("*.yaml"))}
MODELS = [(recipe, name) for recipe, params in RECIPES.items() for name in params.models]


def league(size, actions=4, people=8, images=2):
    """An index and pictures of noise, with people enough for one batch of any recipe that is cut to size."""
    person = np.repeat(np.arange(actions * people), images)
    table = pa.table(
        {
            "action_idx": pa.array(person // people, pa.int32()),
            "person_uid": pa.array(person, pa.int32()),
            **{level: pa.array([level] * len(person)) for level in ("championship", "season")},
            "game": pa.array([f"game {number // people % 2}" for number in person.tolist()]),
        }
    )
    return table, np.random.default_rng(0).integers(0, 256, (len(person), *size, 3), np.uint8)


def small(model):
    """The same model on small pictures, from scratch, with few people in a batch."""
    # a transformer's picture is a whole number of patches, which its recipe's size is too
    patch = 14 if "patch14" in model.network.backbone else 16
    network = model.network.model_copy(update={"weights": None})
    size = model.input.model_copy(update={"height": 4 * patch, "width": 2 * patch})
    few = {"people": 2, "images": 2} | ({"actions": 2} if model.sampler.kind == "actions" else {})
    sampler = model.sampler.model_copy(update=few)
    return model.model_copy(
        update={"network": network, "input": size, "sampler": sampler, "subset": 1.0, "threads": 1}
    )


def test_there_are_the_recipes_that_the_readme_names():
    assert set(RECIPES) == {"demo", "dev-kit-baseline", "resnet50", "osnet", "vit-b-clip", "vit-l-clip-ensemble"}
    assert len(RECIPES["vit-l-clip-ensemble"].models) == 3
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_says_what_it_needs(recipe):
    head = (ROOT / f"recipes/{recipe}.yaml").read_text(encoding="utf-8").partition("\ndownload:")[0]
    assert head.startswith("# ")
    if recipe != "demo":
        assert all(word in head for word in ("GB", "hour", "mAP"))


def test_demonstration_is_what_a_fresh_clone_runs():
    assert read_params(ROOT / "params.yaml") == RECIPES["demo"]


@pytest.mark.parametrize(("recipe", "name"), MODELS)
def test_recipe_takes_a_training_step(recipe, name):
    model = small(RECIPES[recipe].models[name])
    table, store = league((model.input.height, model.input.width))
    trainer = Trainer(select_people([table], model.subset), Pictures([store]), model)
    probe = {key: p.detach().flatten()[:50].clone() for key, p in trainer.network.named_parameters()}
    trainer.epoch = max(1, trainer.params.optimiser.frozen_epochs)  # past warm-up and frozen epochs
    trainer.draw()
    trainer.step()
    assert all(np.isfinite(value) for value in trainer.means().values())
    moved = [key for key, p in trainer.network.named_parameters() if not torch.equal(probe[key], p.flatten()[:50])]
    assert any(key.startswith("backbone.") for key in moved)
    assert len(moved) > 0.5 * len(probe)
