"""Every recipe takes one real training step, with small images and no pretrained weights."""

import re

import numpy as np
import pyarrow as pa
import pytest
import torch

from builders import ROOT
from reid.params import read_params
from reid.training.dataset import Images, select_identities
from reid.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("torch_as_it_was")

RECIPES = {path.stem: read_params(path) for path in sorted((ROOT / "recipes").glob("*.yaml"))}
MODELS = [(recipe, name) for recipe, params in RECIPES.items() for name in params.models]


def league(size, actions=4, identities=8, instances=2):
    """An index and images of noise, with identities enough for one batch of any recipe that is cut to size."""
    person = np.repeat(np.arange(actions * identities), instances)
    table = pa.table(
        {
            "action_idx": pa.array(person // identities, pa.int32()),
            "person_uid": pa.array(person, pa.int32()),
            **{level: pa.array([level] * len(person)) for level in ("championship", "season")},
            "game": pa.array([f"game {number // identities % 2}" for number in person.tolist()]),
        }
    )
    return table, np.random.default_rng(0).integers(0, 256, (len(person), *size, 3), np.uint8)


def small(model):
    """The same model on small images, from scratch, with few identities in a batch."""
    # a transformer's image is a whole number of patches, which its recipe's size is too
    patch = 14 if "patch14" in model.network.backbone else 16
    network = model.network.model_copy(update={"weights": None})
    size = model.input.model_copy(update={"height": 4 * patch, "width": 2 * patch})
    few = {"identities": 2, "instances": 2} | ({"actions": 2} if model.sampler.kind == "actions" else {})
    sampler = model.sampler.model_copy(update=few)
    return model.model_copy(
        update={"network": network, "input": size, "sampler": sampler, "subset": 1.0, "threads": 1}
    )


def test_there_are_the_recipes_that_the_readme_names():
    own = {"demo", "dev-kit-baseline", "resnet50", "photographs", "osnet", "vit-b-clip", "vit-l-clip-ensemble"}
    assert set(RECIPES) == own
    assert len(RECIPES["vit-l-clip-ensemble"].models) == 3
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_says_what_it_needs(recipe):
    head = (ROOT / f"recipes/{recipe}.yaml").read_text(encoding="utf-8").partition("\ndownload:")[0]
    assert head.startswith("# ")
    if recipe != "demo":
        assert all(word in head for word in ("GB", "mAP")) and re.search("hour|minutes", head)


def test_demonstration_is_what_a_fresh_clone_runs():
    assert read_params(ROOT / "params.yaml") == read_params(ROOT / "recipes/demo.yaml")


@pytest.fixture
def shallow(monkeypatch):
    """Transformers have two blocks; all of them take gigabytes."""
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **options, depth=2))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(("recipe", "name"), MODELS)
def test_recipe_takes_a_training_step(recipe, name):
    model = small(RECIPES[recipe].models[name])
    table, store = league((model.input.height, model.input.width))
    trainer = Trainer(select_identities([table], model.subset), Images([store]), model)
    probe = {key: p.detach().flatten()[:50].clone() for key, p in trainer.network.named_parameters()}
    trainer.epoch = max(1, trainer.params.optimizer.frozen_epochs)  # past warm-up and frozen epochs
    trainer.start_epoch()
    trainer.step()
    assert all(np.isfinite(value) for value in trainer.means().values())
    moved = [key for key, p in trainer.network.named_parameters() if not torch.equal(probe[key], p.flatten()[:50])]
    assert any(key.startswith("backbone.") for key in moved)
    assert len(moved) > 0.5 * len(probe)
