"""Models that nobody would write by hand, of all parts that there are: each trains, or is refused in one line."""

import random

import pytest

from builders.hostile import attempt, seeds
from builders.training import equal, inputs, league, weights
from builders.whole import MINIMAL, load
from reid.core.errors import ReidError
from reid.params import check_params
from reid.params.schema import section_class
from reid.training import trainer as training
from reid.training.resume import TrainingState
from reid.training.train import train

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "one_thread")

SCHEMA = section_class("Model").model_json_schema()
BACKBONES = ["test_resnet", "test_vit"]  # timm's smallest
# what needs files, GPUs or valid's images, and what takes long
ELSEWHERE = ("compile", "validation", "soup")
OF_WEIGHTS = ("weights", "mean", "std")
OFTEN = 0.25  # how often a part that may be left out is there


def drawn(rng, schema, often=OFTEN):
    """A value that a JSON schema allows: a limit, or a small number near one."""
    if "$ref" in schema:
        return drawn(rng, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], often)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return drawn(rng, rng.choice([choice for choice in choices if choice.get("type") != "null"]), often)
    if "const" in schema or "enum" in schema:
        return rng.choice(schema.get("enum") or [schema["const"]])
    kind = schema["type"]
    if kind == "object":
        needed = {"kind", *schema.get("required", ())}
        return {
            key: drawn(rng, part, often)
            for key, part in schema.get("properties", {}).items()
            if key in needed or rng.random() < often
        }
    if kind == "array":
        return [drawn(rng, schema["items"]) for _ in range(schema.get("minItems", 1))]
    if kind == "boolean":
        return rng.random() < 0.5
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = min(schema.get("maximum", schema.get("exclusiveMaximum", least + 2)), least + 40)
    if kind == "integer":
        return rng.choice([least, rng.randint(least, min(most, least + 8)), rng.randint(least, most)])
    limits = [schema[name] for name in ("minimum", "maximum") if schema.get(name, 99) <= most]
    return rng.choice([*limits, rng.uniform(least, most), least + (most - least) / 100])


def section(rng):
    """A model's section whose numbers are small enough for a test, and that is not wrong for want of images."""
    model = drawn(rng, SCHEMA)
    for key in ELSEWHERE:
        model.pop(key, None)
    model |= {"threads": 1, "devices": 1, "epochs": rng.randint(1, 2), "subset": 1.0}
    model["input"] = {"height": 32, "width": rng.choice([16, 16, 17])}
    network = model["network"]
    for key in OF_WEIGHTS:
        network.pop(key, None)
    network["backbone"] = rng.choice(BACKBONES)
    if "projection" in network:
        network["projection"]["width"] = rng.choice([1, 8])
    model["optimizer"]["learning_rate"] = rng.choice([1e-4, 1e-2])
    model["loss"].setdefault("supcon", {"temperature": 0.1})
    identities, instances = rng.choice([2, 4]), 2 if "info_nce" in model["loss"] else 3
    people = {"identities": identities, "instances": instances}
    sizes = {"random": {"images": 12}, "identity": people, "actions": {"actions": 2, **people}}
    model["sampler"] |= sizes[model["sampler"]["kind"]]
    return model


def checked(model):
    return check_params({**load(MINIMAL), "models": {"drawn": model}}, "params.yaml").models["drawn"]


def test_a_model_of_any_parts_trains_to_the_same_bytes_also_when_it_is_killed_or_is_refused(tmp_path, monkeypatch):
    step, done, split = training.Trainer.step, [], league(4, 4, 3)

    def run(params, last):
        """Train without a pause, and again with one before step ``last``."""
        identities, images, _ = inputs(None, split)
        steps = []

        def interrupted(trainer):
            steps.append(1)
            if len(steps) == last:
                raise KeyboardInterrupt
            return step(trainer)

        whole = train(identities, images, params, progress=False)
        state = TrainingState(tmp_path / "state.pt", "this", every=0)
        monkeypatch.setattr(training.Trainer, "step", interrupted)
        try:
            again = train(identities, images, params, state=state, progress=False)
        except KeyboardInterrupt:
            again = train(identities, images, params, state=state, progress=False)
        finally:
            monkeypatch.setattr(training.Trainer, "step", step)
            state.remove()
        assert equal(weights(again.last), weights(whole.last)) and again.summary == whole.summary

    for seed in seeds(kinds=24, tries=16):
        rng = random.Random(seed)
        try:
            params = checked(section(rng))
        except ReidError:
            continue  # parts that contradict each other: tests/params
        last = rng.randint(1, 6)
        done.append(attempt(lambda params=params, last=last: run(params, last)))
    assert sum(done) >= len(done) / 3 > 2  # or this tries nothing
