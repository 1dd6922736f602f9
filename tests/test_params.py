"""params.yaml: the one in the repository passes, and whatever is wrong in another is refused by its name."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from small import MODEL
from small import changed as changed_copy

from reid import params as params_module
from reid.errors import ReidError
from reid.params import Params, check_params, model_params, read_params

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "recipes/demo.yaml"
FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]
SHA = "0123456789abcdef" * 4


RECTANGLE = {"probability": 0.5, "smallest": 0.02, "largest": 0.4}
FULL = {  # every part on
    "soup": [2, 3],
    "network.weights": "some.pth",
    "network.projection": {"width": 64, "kind": "linear"},
    "network.neck": "batch_norm",
    "pictures.crop": {"probability": 0.5, "margin": 0.1},
    "pictures.light": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0},
    "pictures.resample": {"probability": 0.5, "smallest": 0.5},
    "pictures.blur": {"probability": 0.5, "sigma": 1.0},
    "pictures.erasing": dict(RECTANGLE),
    "pictures.patch": dict(RECTANGLE),
    "pictures.progressive": {"scale": 0.5, "until": 0.5},
    "loss.contrast": {"kind": "supcon", "weight": 1.0, "temperature": 0.05},
    "loss.centroid": {"weight": 1.0, "temperature": 0.1},
    "optimiser.clip": 1.0,
    "optimiser.frozen_epochs": 1,
    "schedule": {"kind": "cosine", "warm_up": 0.1, "hold": 0.05, "end": 0.0},
    "averaging": {"kind": "ema", "decay": 0.99},
    "epochs": 4,
    "budget": 1000,
    "watch": {"every": 1, "choose": "best", "patience": 2, "metric": "cosine"},
    "compile": "default",
}
AFTER = {
    "expansion": {"neighbours": 1, "alpha": 1.0},
    "reranking": {"k1": 3, "k2": 2, "original": 0.5},
    "queries": {"kind": "softmax", "temperature": 0.1, "rounds": 1, "weight": 1.0},
}


def two_models():
    whole = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    kit = {"sampler": {"kind": "identity", "people": 8, "images": 4}}
    whole["models"] = {"one": changed_copy(MODEL, kit), "two": changed_copy(MODEL, FULL)}
    whole["distances"] |= AFTER
    return whole


@pytest.fixture
def content():
    """What params.yaml holds, with one model of each sampler under fixed names."""
    return copy.deepcopy(two_models())


def at(content, place):
    """The section that holds the last part of a dotted place, and that part."""
    *sections, key = place.split(".")
    for section in sections:
        content = content[section]
    return content, key


def changed(content, place, value):
    section, key = at(content, place)
    section[key] = value
    return content


def fails(content, *lines, problems=None):
    with pytest.raises(ReidError) as caught:
        check_params(content, "some/params.yaml")
    message = str(caught.value)
    assert re.match(r"some/params.yaml: \d+ problem", message)
    for line in lines:
        assert f"\n  - {line}" in message, message
    if problems:
        assert message.count("\n  - ") == problems, message
    return message


def places(content, prefix=""):
    """Every dotted place of the file: sections and values."""
    for key, value in content.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{key}.")


# Places of the fixture above, for parametrising.
SHIPPED = dict(places(two_models()))
SECTIONS = [p for p, value in SHIPPED.items() if isinstance(value, dict) and p not in ("models", "download.sha256")]
KINDS = tuple(
    f"models.{place}.kind"
    for place in ("one.sampler", "two.sampler", "one.schedule", "two.schedule", "two.loss.contrast", "two.averaging")
)


# ---- what passes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_params_and_recipes_of_the_repository_pass(path):
    params = read_params(path)
    assert params.model_dump() == Params.model_validate(yaml.safe_load(path.read_text())).model_dump()
    assert params.fused() and set(params.fused()) <= set(params.models)
    assert all(params.watched(name) is None or model.watch for name, model in params.models.items())


def test_values_are_those_of_the_file(content):
    content["download"]["sha256"] = {"train": SHA}
    dumped = check_params(content).model_dump()
    for place, value in places(content):
        section, key = at(dumped, place)
        assert isinstance(value, dict) or section[key] == value, place


def test_numbers_that_yaml_reads_as_text_are_numbers(content):
    """YAML 1.1 takes 1e-3 for text."""
    value = yaml.safe_load("1e-3")
    assert value == "1e-3"
    params = check_params(changed(content, "models.one.optimiser.learning_rate", value))
    assert params.models["one"].optimiser.learning_rate == 0.001


def test_params_cannot_be_changed_by_a_stage(content):
    with pytest.raises(ValueError, match="frozen"):
        check_params(content).thumbnails.height = 7


def test_fused_models_are_all_or_those_named(content):
    assert list(check_params(content).fused().items()) == [("one", 1), ("two", 1)]
    assert check_params(changed(content, "distances.models", {"two": 3})).fused() == {"two": 3}
    weights = check_params(changed(content, "distances.models", {"two": 1, "one": 0.5})).fused()
    assert list(weights.items()) == [("one", 0.5), ("two", 1)]


def test_model_by_its_name(content):
    params = check_params(content)
    assert model_params(params, "two") is params.models["two"]
    with pytest.raises(ReidError, match="models.three: is not in the parameter file, which has one, two"):
        model_params(params, "three")


# ---- keys


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_unknown_key_is_refused(content, section):
    place = f"{section}.hieght".removeprefix(".")
    fails(changed(content, place, 1), f"{place}: is not a parameter", problems=1)


@pytest.mark.parametrize("place", [p for p in SHIPPED if p not in KINDS and p not in ("models.one", "models.two")])
def test_missing_key_is_refused(content, place):
    """There are no defaults: the file alone says what is done."""
    section, key = at(content, place)
    del section[key]
    fails(content, f"{place}: is missing", problems=1)


@pytest.mark.parametrize("place", KINDS)
def test_missing_kind_is_refused(content, place):
    section, key = at(content, place)
    del section[key]
    fails(content, f"{place.removesuffix('.kind')}: has no kind", problems=1)


def test_key_that_bears_the_name_of_its_sections_kind(content):
    content["models"]["one"]["schedule"] = {"kind": "step", "milestones": [], "gamma": 0.1, "step": 20}
    fails(content, "models.one.schedule.step: is not a parameter", problems=1)


def test_key_of_the_other_sampler_is_refused(content):
    fails(
        changed(content, "models.one.sampler.actions", 4), "models.one.sampler.actions: is not a parameter", problems=1
    )


# ---- types


@pytest.mark.parametrize("place", [p for p in SHIPPED if p not in KINDS])
def test_wrong_type_is_refused(content, place):
    message = fails(changed(content, place, [{}]))
    assert re.search(rf"\n  - {re.escape(place)}[.:]", message)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("place", ["models.one.epochs", "models.two.pictures.flip", "download.synthetic.seed"])
def test_truth_values_are_no_numbers(content, place, value):
    fails(changed(content, place, value), f"{place}: must not be true or false", problems=1)


@pytest.mark.parametrize("place", ["models.one.epochs", "thumbnails.height", "embed.batch"])
@pytest.mark.parametrize("value", [1.5, "many", "", None])
def test_whole_numbers_are_whole(content, place, value):
    fails(changed(content, place, value), f"{place}: ", problems=1)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf"), "nan", None, "fast"])
def test_learning_rate_is_a_finite_number(content, value):
    fails(
        changed(content, "models.one.optimiser.learning_rate", value),
        "models.one.optimiser.learning_rate: ",
        problems=1,
    )


# ---- ranges


@pytest.mark.parametrize(
    "place, low, high",
    [
        ("download.synthetic.seed", 0, 2**32 - 1),
        ("download.synthetic.actions.valid", 1, None),
        ("thumbnails.height", 8, 2048),
        ("thumbnails.width", 8, 2048),
        ("models.one.seed", 0, 2**32 - 1),
        ("models.two.network.projection.width", 1, None),
        ("models.two.optimiser.accumulate", 1, None),
        ("models.two.budget", 1, None),
        ("models.two.watch.patience", 1, None),
        ("distances.expansion.neighbours", 1, None),
        ("distances.queries.rounds", 1, None),
        ("models.one.network.last_stride", 1, 2),
        ("models.one.input.height", 8, 2048),
        ("models.one.sampler.people", 2, None),
        ("models.two.sampler.people", 2, None),
        ("models.two.sampler.images", 2, None),
        ("models.one.epochs", 0, None),
        ("models.one.threads", 1, None),
        ("embed.batch", 1, None),
        ("embed.threads", 1, None),
    ],
)
def test_bounds_of_whole_numbers(content, place, low, high):
    check_params(changed(content, place, low))
    fails(changed(content, place, low - 1), f"{place}: ", problems=1)
    check_params(changed(content, place, high or 10**6))
    if high:
        fails(changed(content, place, high + 1), f"{place}: ", problems=1)


@pytest.mark.parametrize(
    "place, inside, outside",
    [
        ("models.one.subset", [0.01, 1], [0, -0.1, 1.01]),
        ("models.one.pictures.flip", [0, 1], [-0.1, 1.1]),
        ("models.two.loss.triplet.weight", [0.1, 7], [0, -1]),
        ("models.two.loss.triplet.margin", [0, 2], [-0.1]),
        ("models.one.loss.softmax.label_smoothing", [0, 1], [-0.1, 1.1]),
        ("models.one.optimiser.learning_rate", [1e-9, 10], [0, -1]),
        ("models.one.optimiser.weight_decay", [0, 1], [-1e-9]),
        ("models.one.schedule.gamma", [0.1], [0, -1]),
        ("models.two.schedule.warm_up", [0, 0.9], [-0.1, 1]),
        ("models.two.schedule.hold", [0, 0.8], [-0.1, 1]),
        ("models.two.schedule.end", [0, 1], [-0.1, 1.1]),
        ("models.two.averaging.decay", [0.1, 0.999], [0, 1]),
        ("models.two.loss.contrast.temperature", [0.01], [0, -1]),
        ("models.two.loss.centroid.weight", [0.01], [0, -1]),
        ("models.two.pictures.crop.margin", [0.1, 0.5], [0, 0.6]),
        ("models.two.pictures.light.hue", [0, 0.5], [-0.1, 0.6]),
        ("models.two.pictures.light.contrast", [0, 1], [-0.1, 1.1]),
        ("models.two.pictures.resample.smallest", [0.1], [0, 1]),
        ("models.two.pictures.blur.sigma", [0.1], [0]),
        ("models.two.pictures.erasing.probability", [0, 1], [-0.1, 1.1]),
        ("models.two.optimiser.layer_decay", [0.1, 1], [0, 1.1]),
        ("models.two.optimiser.clip", [0.1], [0]),
        ("distances.expansion.alpha", [0, 3], [-1]),
        ("distances.reranking.original", [0, 1], [-0.1, 1.1]),
        ("distances.queries.temperature", [0.1], [0]),
        ("distances.queries.weight", [0.1, 1], [0, 1.1]),
    ],
)
def test_bounds_of_fractions(content, place, inside, outside):
    for value in inside:
        check_params(changed(content, place, value))
    for value in outside:
        fails(changed(content, place, value), f"{place}: ", problems=1)


@pytest.mark.parametrize(
    "place",
    [
        "download.source",
        "thumbnails.interpolation",
        "models.one.precision",
        "models.one.optimiser.kind",
        "embed.precision",
        "distances.metric",
        "distances.scale",
        "distances.queries.kind",
        "embed.views",
        "thumbnails.fit",
        "models.two.network.pooling",
        "models.two.network.projection.kind",
        "models.two.network.neck",
        "models.two.sampler.neighbours",
        "models.two.loss.negatives",
        "models.one.loss.softmax.over",
        "models.two.watch.choose",
        "models.two.compile",
    ],
)
def test_unknown_choice_is_refused_with_those_there_are(content, place):
    message = fails(changed(content, place, "other"), f"{place}: ", problems=1)
    assert "'other'" in message and f"'{SHIPPED[place]}'" in message


@pytest.mark.parametrize(
    "place, kinds",
    [
        ("models.one.sampler", ["identity", "actions"]),
        ("models.two.schedule", ["step", "cosine", "one_cycle"]),
        ("models.two.loss.contrast", ["supcon", "ntxent", "multi_similarity", "circle"]),
        ("models.two.averaging", ["ema", "epochs"]),
    ],
)
def test_unknown_kind_is_refused_with_those_there_are(content, place, kinds):
    message = fails(changed(content, f"{place}.kind", "other"), place, problems=1)
    assert "'other'" in message and all(f"'{kind}'" in message for kind in kinds)


@pytest.mark.parametrize("pin", ["", "0" * 63, "0" * 65, SHA.upper(), "g" * 64, SHA + "\n", 7, None])
def test_pin_is_64_hexadecimal_digits(content, pin):
    check_params(changed(content, "download.sha256", {"valid": SHA}))
    fails(changed(content, "download.sha256", {"valid": pin}), "download.sha256.valid: ", problems=1)


@pytest.mark.parametrize("split", ["test_labels", "challenge_labels", "val", ""])
def test_pin_of_an_unknown_split_is_refused(content, split):
    fails(changed(content, "download.sha256", {split: SHA}), f"download.sha256.{split}", problems=1)


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a.b", "-a", "_a", "é", "a\n"])
def test_model_name_that_is_no_folder_is_refused(content, name):
    content["models"][name] = content["models"]["one"]
    fails(content, f"models.{name}", problems=1)


@pytest.mark.parametrize("name", ["a", "0", "ViT-L_16", "dev-kit"])
def test_model_names_that_are_folders(content, name):
    content["models"][name] = content["models"]["one"]
    assert name in check_params(content).models


def test_at_least_one_model_and_one_rank(content):
    fails(changed(copy.deepcopy(content), "models", {}), "models: ", problems=1)
    fails(changed(content, "evaluate.ranks", []), "evaluate.ranks: ", problems=1)


# ---- what must go together


def test_local_source_needs_a_folder(content):
    content["download"] |= {"source": "local", "path": None}
    fails(content, "download.path: must name a folder when download.source is local", problems=1)
    check_params(changed(content, "download.path", "somewhere"))


@pytest.mark.parametrize("key, value", [("resamples", 99), ("resamples", 100001), ("seed", -1), ("seed", 0.5)])
def test_bootstrap_has_bounds(content, key, value):
    fails(changed(content, f"evaluate.{key}", value), f"evaluate.{key}: ", problems=1)


@pytest.mark.parametrize("ranks", [[5], [10, 5, 20]])
def test_rank_one_must_be_measured(content, ranks):
    fails(changed(content, "evaluate.ranks", ranks), "evaluate.ranks: must hold 1, the official measure", problems=1)


@pytest.mark.parametrize("rank", [0, -1, 1.5])
def test_ranks_are_positive_whole_numbers(content, rank):
    fails(changed(content, "evaluate.ranks", [1, rank]), "evaluate.ranks.1: ", problems=1)


def test_unknown_models_are_named_in_order(content):
    changed(content, "distances.models", {"z": 1, "one": 1, "b": 1})
    message = fails(content, "distances.models: there is no model z; there are one, two", problems=2)
    assert message.index("no model b") < message.index("no model z")


def test_distances_of_no_model(content):
    fails(changed(content, "distances.models", {}), "distances.models: ", problems=1)


# Changes of the second model, in which every part is on, and what is said of them.
CONTRADICTIONS = {
    "no loss": (
        {"loss.contrast": None, "loss.triplet": None, "loss.centroid": None, "loss.softmax": None},
        "loss: contrast, triplet, centroid and softmax are all null; one must be given",
    ),
    "one picture a person": (
        {"sampler": {"kind": "identity", "people": 4, "images": 1}},
        "sampler.images: must be 2 or more for loss.contrast",
    ),
    "strangers as team mates": (
        {"sampler": {"kind": "identity", "people": 4, "images": 2}, "loss.negatives": "action"},
        "loss.negatives: action needs sampler.kind actions",
    ),
    "neighbours of one action": (
        {"sampler.actions": 1, "sampler.neighbours": "game", "loss.negatives": "action"},
        "sampler.neighbours: game needs sampler.actions of 2 or more",
    ),
    "everybody in one action": (
        {"sampler.actions": 1},
        "loss.negatives: everything needs sampler.actions of 2 or more",
    ),
    "no such backbone": (
        {"network.backbone": "resnet19"},
        "network.backbone: neither torchvision nor timm has resnet19",
    ),
    "frozen from scratch": (
        {"network.weights": None, "soup": None},
        "optimiser.frozen_epochs: must be 0 without network.weights",
    ),
    "soup from scratch": (
        {"network.weights": None, "optimiser.frozen_epochs": 0},
        "soup: must be null without network.weights",
    ),
    "always frozen": ({"optimiser.frozen_epochs": 4}, "optimiser.frozen_epochs: must be less than epochs"),
    "seed of the soup": ({"seed": 3}, "soup: must hold each seed once"),
    "rectangle": (
        {"pictures.patch": {"probability": 0.5, "smallest": 0.3, "largest": 0.2}},
        "pictures.patch.smallest: must not be more than largest",
    ),
    "places of one size": (
        {"network.pooling": "token"},
        "pictures.progressive: must be null with network.pooling token",
    ),
    "milestones": (
        {"schedule": {"kind": "step", "milestones": [3, 2], "gamma": 0.1}},
        "schedule.milestones: must be in ascending order",
    ),
    "rate that never falls": (
        {"schedule": {"kind": "cosine", "warm_up": 0.2, "hold": 0.8, "end": 0.0}},
        "schedule.hold: must be less than 1 together with warm_up",
    ),
    "average of more epochs": (
        {"averaging": {"kind": "epochs", "last": 5}, "budget": None, "watch": None},
        "averaging.last: must not be more than epochs",
    ),
    "average of unknown epochs": (
        {"averaging": {"kind": "epochs", "last": 2}, "budget": None},
        "averaging: epochs cannot go with watch.patience",
    ),
    "average within a budget": (
        {"averaging": {"kind": "epochs", "last": 2}, "watch": None},
        "averaging: epochs cannot go with budget",
    ),
    "never watched": ({"watch.every": 5}, "watch.every: must not be more than epochs"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_does_not_go_together_is_refused_by_name(content, name):
    changes, line = CONTRADICTIONS[name]
    content["models"]["two"] = changed_copy(content["models"]["two"], changes)
    fails(content, f"models.two.{line}", problems=1)


def test_reranking_averages_over_no_more_than_its_neighbours(content):
    check_params(changed(content, "distances.reranking.k2", 3))
    fails(changed(content, "distances.reranking.k2", 4), "distances.reranking.k2: must not be larger", problems=1)


@pytest.mark.parametrize("splits", [["valid"], ["train", "train"], ["valid", "test"]])
def test_training_splits_hold_train_and_each_once(content, splits):
    fails(changed(content, "train.splits", splits), "train.splits: must hold train, and each split once", problems=1)


@pytest.mark.parametrize("splits", [["challenge"], [], ["train", "challenge"]])
def test_challenge_cannot_be_trained_on(content, splits):
    fails(changed(content, "train.splits", splits), "train.splits", problems=1)


def test_nothing_is_chosen_by_a_split_that_is_trained_on(content):
    assert check_params(content).watched("two") == check_params(content).models["two"].watch
    assert check_params(content).watched("one") is None
    assert check_params(changed(content, "train.splits", ["train", "test"])).watched("two")
    assert check_params(changed(content, "train.splits", ["train", "valid"])).watched("two") is None


@pytest.mark.parametrize(
    "weights, file",
    [
        (None, False),
        ("IMAGENET1K_V1", False),
        ("laion2b_ft_in12k_in1k", False),
        ("a/b.safetensors", True),
        ("b.pth", True),
        ("m/model.pth.tar-60", True),
        ("m.pth/DEFAULT", False),
    ],
)
def test_weights_are_a_file_or_a_name(content, weights, file):
    content["models"]["one"]["network"]["weights"] = weights
    assert check_params(content).models["one"].network.file() == (weights if file else None)


def test_all_problems_come_together(content):
    content["models"]["one"]["epochs"] = -1
    content["thumbnails"]["heigth"] = 8
    del content["embed"]
    fails(content, "models.one.epochs", "thumbnails.heigth", "embed: is missing", problems=3)


def test_all_contradictions_come_together(content):
    content["download"] |= {"source": "local", "path": None}
    content["evaluate"]["ranks"] = [5]
    for model in content["models"].values():
        model["loss"] = {key: "everything" if key == "negatives" else None for key in model["loss"]}
    fails(content, "download.path", "evaluate.ranks", "models.one.loss", "models.two.loss", problems=4)


# ---- files


@pytest.mark.parametrize("text", ["", "[]", "download", "1"])
def test_file_without_sections(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ReidError, match="p.yaml: 1 problem\n  - the file: .*dictionary"):
        read_params(tmp_path / "p.yaml")


@pytest.mark.parametrize("text", [b"a: [1", b"a:\n\tb: 1", b"a: \xff", b"{a: 1}: 2", b"!!python/object:os.system {}"])
def test_file_that_is_no_yaml(tmp_path, text):
    (tmp_path / "p.yaml").write_bytes(text)
    with pytest.raises(ReidError, match="p.yaml: is not valid YAML"):
        read_params(tmp_path / "p.yaml")


def test_missing_file(tmp_path):
    with pytest.raises(ReidError, match="none.yaml: cannot be read .No such file"):
        read_params(tmp_path / "none.yaml")


# ---- descriptions


def test_every_parameter_is_described_or_says_it_by_its_name():
    obvious = {
        "seed",
        "train",
        "valid",
        "test",
        "challenge",
        "kind",
        "weight",
        "margin",
        "label_smoothing",
        "precision",
        "temperature",
        "neighbours",
        "probability",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "smallest",
        "largest",
        "last",
        "rounds",
    }
    obvious |= {"learning_rate", "weight_decay", "gamma", "metric"}
    sections = [s for s in vars(params_module).values() if isinstance(s, type) and issubclass(s, BaseModel)]
    assert len(sections) > 15
    for section in sections:
        for name, field in section.model_fields.items():
            is_section = any(other.__name__ in str(field.annotation) for other in sections)
            assert field.description or is_section or name in obvious, f"{section.__name__}.{name}"


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("embed:\n  batch: 1\n  batch: 2\n")
    with pytest.raises(ReidError, match="batch stands twice"):
        read_params(path)
