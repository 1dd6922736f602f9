"""params.yaml: the one in the repository passes, and whatever is wrong in another is refused by its name."""

import copy
import re
import time

import pytest

from builders import ROOT
from builders.hostile import SECONDS
from builders.whole import FULL, MINIMAL, at, changed, fails, load, places, without
from reid.core.errors import ReidError
from reid.params import check_params, model_params, read_params
from reid.params.parsing import shown
from reid.params.schema import own_params_class

FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]
SHA = "0123456789abcdef" * 4


@pytest.fixture
def content():
    """A file that uses every key, under fixed names of models."""
    return load(FULL)


@pytest.fixture
def minimal():
    """A file with nothing that may be left out."""
    return load(MINIMAL)


# Places of the fixtures above, for parametrising.
SHIPPED = dict(places(load(FULL)))
NAMED = ("models", "external_models", "download.sha256", "distances.models")  # the user's own names in them
SECTIONS = [place for place, value in SHIPPED.items() if isinstance(value, dict) and place not in NAMED]
KINDS = [place for place in SHIPPED if place.endswith(".kind") and place != "models.two.network.projection.kind"]


# ---- what passes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_params_and_recipes_of_the_repository_pass(path):
    params = read_params(path)
    assert params.fused() and set(params.fused()) <= set(params.models)
    assert all(params.validated(name) == (model.validation is not None) for name, model in params.models.items())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_the_repository_hold_no_null_and_only_what_they_use(path):
    content = load(path.read_text(encoding="utf-8"))
    assert None not in dict(places(content)).values()
    assert ("synthetic" in content["download"]) == (content["download"]["source"] == "synthetic")


def test_values_are_those_of_the_file(content):
    content["download"]["sha256"] = {"train": SHA}
    dumped = check_params(content).model_dump(by_alias=True)
    for place, value in places(content):
        section, key = at(dumped, place)
        assert isinstance(value, dict) or section[key] == value, place


def test_full_file_uses_every_key():
    """What the tests of this file are about: no key of any section is missing from FULL or the kinds tried below.

    But for what cannot go with the rest: see test_consistency.
    """
    used = {place.rpartition(".")[2] for place in SHIPPED}
    schema = own_params_class().model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    assert len(sections) > 40
    apart = {"dual_softmax", "info_nce", "memory", "size", "start", "images"}
    assert {name for section in sections for name in section["properties"]} - used == apart


def test_what_is_left_out_is_off(minimal):
    params = check_params(minimal)
    model = params.models["one"]
    assert (params.download.path, params.download.sha256, params.external_models) == (None, {}, {})
    assert (params.thumbnails.fit, params.thumbnails.interpolation) == ("stretch", "bilinear")
    assert (model.soup, model.subset) == ([], 1.0)
    network = model.network
    assert (network.weights, network.last_stride, network.projection, network.bnneck) == (None, 2, None, False)
    assert (network.mean, network.std, network.init) == (None, None, None)
    assert network.pooling.kind == "average"
    assert set(model.augmentation.model_dump().values()) == {None}
    loss = model.loss.model_dump()
    assert loss.pop("negatives") == "batch" and loss.pop("triplet") == {
        "weight": 1.0,
        "margin": 0.3,
        "mining": "hard",
    }
    assert set(loss.values()) == {None}
    assert model.optimizer.model_dump() == {
        "kind": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "layer_decay": 1.0,
        "bias_scale": None,
        "clip_norm": None,
        "accumulation": 1,
        "frozen_epochs": 0,
        "lookahead": None,
    }
    assert (model.schedule, model.averaging, model.max_images, model.validation) == (None, None, None, None)
    assert (model.precision, model.compile, model.threads) == ("fp32", None, 1)
    assert params.embed.model_dump() == {"batch_size": 100, "flip_test": False, "precision": "fp32", "threads": 1}
    assert (params.distances.models, params.distances.scale, params.distances.fusion) == ({}, "none", "mean")
    assert set(params.distances.postprocessing.model_dump().values()) == {None}


@pytest.mark.parametrize(
    "place, given, whole",
    [
        (
            "models.one.sampler",
            {"kind": "actions", "actions": 2},
            {"kind": "actions", "actions": 2, "identities": None, "instances": None, "neighbours": "any"},
        ),
        (
            "models.one.schedule",
            {"kind": "cosine"},
            {"kind": "cosine", "warmup": 0.0, "hold": 0.0, "end": 0.0},
        ),
        (
            "models.one.schedule",
            {"kind": "polynomial"},
            {"kind": "polynomial", "warmup": 0.0, "power": 1.0, "end": 0.0},
        ),
        (
            "models.one.optimizer",
            {"kind": "muon", "learning_rate": 0.03, "adamw_learning_rate": 0.001, "lookahead": {"steps": 5}},
            {"momentum": 0.95, "precision": "auto", "lookahead": {"alpha": 0.5}},
        ),
        ("models.one.network", {"backbone": "resnet18", "init": {}}, {"init": {"dirac": False}}),
        ("models.one.network", {"backbone": "resnet18", "pooling": {"kind": "gem"}}, {"pooling": {"power": 3.0}}),
        ("models.one.validation", {"metric": "cosine"}, {"every": 1, "select": "last", "patience": None}),
        (
            "models.one.network",
            {"backbone": "resnet18", "projection": {"width": 8}},
            {"projection": {"kind": "linear"}},
        ),
        ("models.one.augmentation", {"color_jitter": {"hue": 0.1}}, {"color_jitter": {"contrast": 0.0, "hue": 0.1}}),
        ("models.one.loss", {"circle": {"margin": 0.4, "gamma": 8}, "memory": {"size": 9}}, {"memory": {"start": 0}}),
        ("models.one.loss", {"contrastive": {"margin": 1}}, {"contrastive": {"positive_margin": 0.0}}),
        (
            "models.one.loss",
            {"supcon": {"temperature": 0.1}},
            {"supcon": {"learn_temperature": False, "label_smoothing": 0.0}},
        ),
        ("models.one.loss", {"id": {}}, {"id": {"weight": 1.0, "label_smoothing": 0.0, "over": "all"}}),
        ("distances.postprocessing", {"reranking": {"k1": 3, "lambda": 0.5}}, {"reranking": {"k2": 1}}),
        ("distances.postprocessing", {"dual_softmax": {"temperature": 1}}, {"dual_softmax": {"weight": 1.0}}),
        ("distances.postprocessing", {"query_expansion": {"neighbours": 1}}, {"query_expansion": {"alpha": 0.0}}),
    ],
)
def test_values_of_keys_that_are_left_out_inside_a_part(minimal, place, given, whole):
    section, key = at(check_params(changed_deeply(minimal, place, given)).model_dump(by_alias=True), place)
    for name, value in whole.items():
        if isinstance(value, dict):
            assert value.items() <= section[key][name].items()
        else:
            assert section[key][name] == value


def changed_deeply(content, place, value):
    """As ``changed``, where the sections on the way may be left out too."""
    *sections, key = place.split(".")
    section = content
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return content


@pytest.mark.parametrize(
    "place, kind", [("models.two.network.pooling", "token"), ("models.two.network.pooling", "gem")]
)
def test_a_kind_without_further_keys_may_stand_alone(content, place, kind):
    del content["models"]["two"]["augmentation"]["progressive_resizing"]
    alone = check_params(changed(copy.deepcopy(content), place, kind))
    assert alone == check_params(changed(content, place, {"kind": kind}))


def test_schedule_of_which_all_has_a_default_may_stand_alone(content):
    alone = check_params(changed(copy.deepcopy(content), "models.one.schedule", "cosine"))
    assert alone == check_params(changed(content, "models.one.schedule", {"kind": "cosine"}))


def test_a_kind_that_stands_alone_lacks_what_must_be_given(content):
    fails(
        changed(content, "models.one.sampler", "identity"),
        "models.one.sampler.identities: is missing",
        "models.one.sampler.instances: is missing",
        problems=2,
    )


def test_params_cannot_be_changed_by_a_stage(content):
    with pytest.raises(ValueError, match="frozen"):
        check_params(content).thumbnails.height = 7


def test_fused_models_are_all_or_those_named(content):
    every = check_params(without(copy.deepcopy(content), "distances.models")).fused()
    assert list(every.items()) == [("one", 1), ("two", 1), ("elsewhere", 1)]
    assert check_params(changed(content, "distances.models", {"two": 3})).fused() == {"two": 3}
    weights = check_params(changed(content, "distances.models", {"elsewhere": 2, "two": 1, "one": 0.5})).fused()
    assert list(weights.items()) == [("one", 0.5), ("two", 1), ("elsewhere", 2)]


def test_a_model_that_is_used_as_it_comes_sees_no_split(content):
    changed(changed(content, "train.splits", ["train", "test"]), "models.two.optimizer.frozen_epochs", 0)
    params = check_params(content)
    assert (params.trained_on("one"), params.trained_on("two")) == (["train", "test"], ["train", "test"])
    assert params.validated("two")
    del content["models"]["two"]["soup"], content["models"]["one"]["averaging"]
    for name in ("one", "two"):
        content["models"][name]["epochs"] = 0
    params = check_params(content)
    assert (params.trained_on("one"), params.trained_on("two")) == (["train", "test"], [])  # one has no weights
    for fused, splits in {"one": ["train", "test"], "two": [], "elsewhere": ["train", "test"]}.items():
        alone = check_params(changed(content, "distances.models", {fused: 1}))
        assert alone.rankings_trained_on() == splits  # of those made elsewhere nobody knows
    assert not params.validated("two")


@pytest.mark.parametrize("file", ["model.safetensors", "last.safetensors"])
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_model_has_seen_what_those_saw_that_it_starts_from_in_a_chain(content, file, epochs):
    changed(changed(content, "train.splits", ["train", "valid"]), "models.two.optimizer.frozen_epochs", 0)
    del content["models"]["two"]["soup"], content["external_models"]
    content["models"]["two"]["epochs"] = 0
    changed(content, "models.two.network.weights", f"./results/models/one/{file}")
    third = copy.deepcopy(content["models"]["two"])
    content["models"]["three"] = changed({"models": {"three": third}}, "models.three.epochs", epochs)["models"][
        "three"
    ]
    content["models"]["three"]["network"]["weights"] = "results/models/two/model.safetensors"
    content["distances"]["models"] = {"three": 1}
    params = check_params(content)
    assert params.ancestors("three") == {
        "two": "results/models/two/model.safetensors",
        "one": f"results/models/one/{file}",
    }
    assert params.trained_on("two") == [] and params.seen_by("two") == ["train", "valid"]
    assert params.seen_by("three") == params.rankings_trained_on() == ["train", "valid"]
    assert not params.validated("three")
    changed(content, "models.one.network", {"backbone": "resnet18", "weights": "w.pth"})
    content["models"]["one"]["epochs"] = content["models"]["three"]["epochs"] = 0
    del content["models"]["one"]["averaging"]
    params = check_params(content)
    assert params.seen_by("three") == params.rankings_trained_on() == []


def test_external_models_may_be_all_there_are(minimal):
    minimal["external_models"] = {"elsewhere": {"folder": "somewhere"}}
    assert check_params(without(minimal, "models")).fused() == {"elsewhere": 1}


def test_model_by_its_name(content):
    params = check_params(content)
    assert model_params(params, "two") is params.models["two"]
    with pytest.raises(ReidError, match="models.three: is not in the parameter file, which has one, two"):
        model_params(params, "three")


# ---- keys


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_unknown_key_is_refused(content, section):
    place = f"{section}.xyzzy".removeprefix(".")
    fails(changed(content, place, 1), f"{place}: is not a parameter; there are ", problems=1)


@pytest.mark.parametrize(
    "place, meant",
    [
        ("evaluation", "evaluate"),
        ("thumbnails.hieght", "height"),
        ("download.synthetic.actions.tain", "train"),
        ("models.two.optimiser", "optimizer"),
        ("models.two.network.backbon", "backbone"),
        ("models.two.network.projection.widht", "width"),
        ("models.two.input.with", "width"),
        ("models.two.augmentation.erasing", "random_erasing"),
        ("models.two.augmentation.crop.propability", "probability"),
        ("models.two.sampler.instance", "instances"),
        ("models.one.sampler.identites", "identities"),
        ("models.two.loss.tripplet", "triplet"),
        ("models.two.loss.circle.gama", "gamma"),
        ("models.two.optimizer.clip", "clip_norm"),
        ("models.two.schedule.warm_up", "warmup"),
        ("models.one.schedule.milestone", "milestones"),
        ("models.two.averaging.decy", "decay"),
        ("models.two.validation.patients", "patience"),
        ("external_models.elsewhere.foldr", "folder"),
        ("embed.batch", "batch_size"),
        ("distances.postprocessing.rerank", "reranking"),
        ("distances.postprocessing.reranking.lamda", "lambda"),
        ("distances.postprocessing.sinkhorn.iteration", "iterations"),
        ("evaluate.resample", "resamples"),
    ],
)
def test_unknown_key_is_told_the_nearest_known_one(content, place, meant):
    fails(changed(content, place, 1), f"{place}: is not a parameter; did you mean {meant}?", problems=1)


REQUIRED = [
    place
    for place in dict(places(load(MINIMAL)))
    if place not in ("models", "models.one", "download.synthetic", "models.one.loss.triplet")
    and not place.endswith(".kind")
]


@pytest.mark.parametrize("place", REQUIRED)
def test_missing_key_is_refused(minimal, place):
    fails(without(minimal, place), f"{place}: is missing", problems=1)


@pytest.mark.parametrize(
    "place",
    [
        "models.two.network.projection.width",
        "models.two.augmentation.progressive_resizing.scale",
        "models.two.augmentation.progressive_resizing.until",
        "models.two.augmentation.flip.probability",
        "models.two.augmentation.crop.probability",
        "models.two.augmentation.crop.margin",
        "models.two.augmentation.downscale.smallest",
        "models.two.augmentation.blur.sigma",
        "models.two.augmentation.random_patch.smallest",
        "models.two.augmentation.random_erasing.largest",
        "models.two.sampler.actions",
        "models.two.loss.supcon.temperature",
        "models.two.loss.ntxent.temperature",
        "models.two.loss.multi_similarity.alpha",
        "models.two.loss.multi_similarity.beta",
        "models.two.loss.multi_similarity.base",
        "models.two.loss.circle.margin",
        "models.two.loss.circle.gamma",
        "models.two.loss.centroid.temperature",
        "models.one.schedule.milestones",
        "models.one.schedule.gamma",
        "models.two.averaging.decay",
        "models.one.averaging.last",
        "models.two.validation.metric",
        "external_models.elsewhere.folder",
        "distances.postprocessing.query_expansion.neighbours",
        "distances.postprocessing.reranking.k1",
        "distances.postprocessing.reranking.lambda",
        "distances.postprocessing.sinkhorn.temperature",
        "distances.postprocessing.sinkhorn.iterations",
    ],
)
def test_missing_key_of_a_part_is_refused(content, place):
    fails(without(content, place), f"{place}: is missing", problems=1)


@pytest.mark.parametrize("place", KINDS)
def test_missing_kind_is_refused_with_those_there_are(content, place):
    message = fails(without(content, place), f"{place.removesuffix('.kind')}: has no kind; there are ", problems=1)
    assert SHIPPED[place] in message.rpartition("there are ")[2].split(", ")


def test_key_that_bears_the_name_of_its_sections_kind(content):
    content["models"]["one"]["schedule"] = {"kind": "step", "milestones": [], "gamma": 0.1, "step": 20}
    fails(content, "models.one.schedule.step: is not a parameter", problems=1)


def test_key_of_the_other_sampler_is_refused(content):
    fails(
        changed(content, "models.one.sampler.actions", 4), "models.one.sampler.actions: is not a parameter", problems=1
    )


# ---- types


@pytest.mark.parametrize("place", SHIPPED)
def test_wrong_type_is_refused(content, place):
    message = fails(changed(content, place, [{}]))
    assert re.search(rf"\n  - {re.escape(place)}[.:[]", message), message


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        "models.one.epochs",
        "models.one.augmentation.flip.probability",
        "download.synthetic.seed",
        "models.two.max_images",
        "models.two.network.last_stride",
        "distances.postprocessing.sinkhorn.weight",
    ],
)
def test_truth_values_are_no_numbers(content, place, value):
    message = fails(changed(content, place, value), f"{place}: ", problems=1)
    assert message.endswith(f", not {value}")


@pytest.mark.parametrize("value", ["yes", "true", 1, 0, None])
@pytest.mark.parametrize("place", ["embed.flip_test", "models.two.network.bnneck"])
def test_numbers_and_texts_are_no_truth_values(content, place, value):
    fails(changed(content, place, value), f"{place}: Input should be a valid boolean", problems=1)


@pytest.mark.parametrize("place", ["models.one.epochs", "thumbnails.height", "embed.batch_size"])
@pytest.mark.parametrize("value", [1.5, "many", "", None, "8"])
def test_whole_numbers_are_whole(content, place, value):
    fails(changed(content, place, value), f"{place}: ", problems=1)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf"), "nan", None, "fast", "0.1"])
def test_learning_rate_is_a_finite_number(content, value):
    place = "models.one.optimizer.learning_rate"
    fails(changed(content, place, value), f"{place}: ", problems=1)


# ---- ranges


@pytest.mark.parametrize(
    "place, low, high",
    [
        ("download.synthetic.seed", 0, 2**32 - 1),
        ("download.synthetic.actions.valid", 1, 30_000),
        ("thumbnails.height", 8, 2048),
        ("thumbnails.width", 8, 2048),
        ("models.one.seed", 0, 2**32 - 1),
        ("models.two.network.projection.width", 1, 65_536),
        ("models.two.optimizer.accumulation", 1, 10_000),
        ("models.two.max_images", 1, 10**12),
        ("models.two.validation.patience", 1, 10_000),
        ("distances.postprocessing.query_expansion.neighbours", 1, 1000),
        ("distances.postprocessing.sinkhorn.iterations", 1, 1000),
        ("models.one.network.last_stride", 1, 2),
        ("models.one.input.height", 8, 2048),
        ("models.one.sampler.identities", 2, 10_000),
        ("models.one.sampler.instances", 1, 1000),
        ("models.two.sampler.actions", 1, 10_000),
        ("models.two.sampler.identities", 2, 10_000),
        ("models.two.sampler.instances", 2, 1000),
        ("models.two.threads", 1, 1024),
        ("embed.batch_size", 1, 65_536),
        ("embed.threads", 1, 1024),
    ],
)
def test_bounds_of_whole_numbers(content, place, low, high):
    for value in (low, high):
        check_params(changed(content, place, value))
    for value in (low - 1, high + 1, 10**30):
        fails(changed(content, place, value), f"{place}: ", problems=1)


NUMBERS = [place for place, value in SHIPPED.items() if type(value) in (int, float)]


@pytest.mark.parametrize("value", [10**30, -(10**30), 1e300])
@pytest.mark.parametrize("place", NUMBERS)
def test_every_number_has_bounds(content, place, value):
    fails(changed(content, place, value), f"{place}: Input should be ", problems=1)


@pytest.mark.parametrize("kind", ["step", "cosine", "one_cycle"])
def test_every_number_of_a_schedule_has_bounds(content, kind):
    """FULL has two of them."""
    numbers = {"step": {"milestones": [10**30], "gamma": 1e300}, "cosine": {"end": 1e300}, "one_cycle": {"warmup": 9}}
    fails(changed(content, "models.one.schedule", {"kind": kind, **numbers[kind]}), problems=len(numbers[kind]))


@pytest.mark.parametrize(
    "place, most, item",
    [("evaluate.ranks", 100, 1), ("models.two.soup", 100, None), ("models.one.schedule.milestones", 100, None)],
)
def test_lists_have_a_longest(content, place, most, item):
    def values(count):
        return [item or 2 + number for number in range(count)]

    content["models"]["one"]["epochs"] = 200
    check_params(changed(content, place, values(most)))
    fails(changed(content, place, values(most + 1)), f"{place}: List should have at most {most} items", problems=1)


@pytest.mark.parametrize("section", ["models", "external_models"])
def test_a_hundred_models_are_the_most(content, section):
    for number in range(101):
        content[section][f"m{number}"] = next(iter(content[section].values()))
    fails(content, f"{section}: Dictionary should have at most 100 items", problems=1)


@pytest.mark.parametrize(
    "place", ["download.path", "models.two.network.weights", "external_models.elsewhere.folder", "download.source"]
)
def test_texts_have_a_longest(content, place):
    message = fails(changed(content, place, "x" * 100_000), f"{place}: ", problems=1)
    assert len(message) < 1000


@pytest.mark.parametrize(
    "value", [10**5000, [10**5000], {"a": 10**5000}, [[]] * 10**5], ids=["number", "list", "section", "lists"]
)
def test_message_about_a_value_is_short(content, value):
    assert len(fails(changed(content, "embed.batch_size", value), "embed.batch_size: ", problems=1)) < 500


def test_no_epoch_keeps_the_untrained_network(minimal):
    assert check_params(changed(minimal, "models.one.epochs", 0)).models["one"].epochs == 0
    fails(changed(minimal, "models.one.epochs", -1), "models.one.epochs: ", problems=1)


@pytest.mark.parametrize(
    "place, inside, outside",
    [
        ("models.two.subset", [0.01, 1], [0, -0.1, 1.01]),
        ("models.one.augmentation.flip.probability", [0, 1], [-0.1, 1.1]),
        ("models.two.loss.triplet.weight", [1e-6, 7], [0, 9e-7, -1, 2e6]),
        ("models.two.loss.triplet.margin", [0, 2], [-0.1, 1001]),
        ("models.two.loss.circle.margin", [0, 1], [-0.1, 1.1]),
        ("models.one.loss.id.label_smoothing", [0, 1], [-0.1, 1.1]),
        ("models.one.optimizer.learning_rate", [1e-9, 10], [0, -1, 1e-10, 101]),
        ("models.one.optimizer.weight_decay", [0, 1], [-1e-9, 101]),
        ("models.one.network.pooling.power", [0.1, 7], [0, -1, 1e-40, 7.5]),
        ("models.one.schedule.gamma", [0.1], [0, -1, 1e-7, 101]),
        ("models.two.schedule.warmup", [0, 0.9], [-0.1, 1]),
        ("models.two.schedule.hold", [0, 0.8], [-0.1, 1]),
        ("models.two.schedule.end", [0, 1], [-0.1, 1.1]),
        ("models.two.averaging.decay", [0.1, 0.999], [0, 1]),
        ("models.two.loss.supcon.temperature", [0.01], [0, -1, 1e-5, 1001]),
        ("models.two.loss.ntxent.temperature", [0.01], [0, -1, 1e-5, 1001]),
        ("models.two.loss.multi_similarity.beta", [0.01], [0, -1, 1e-50, 10001]),
        ("models.two.loss.multi_similarity.base", [-1, 1], [-1.1, 1.1]),
        ("models.two.loss.centroid.weight", [0.01], [0, -1]),
        ("models.two.augmentation.progressive_resizing.scale", [0.1], [0, 1]),
        ("models.two.augmentation.progressive_resizing.until", [0.1], [0, 1]),
        ("models.two.augmentation.crop.margin", [0.1, 0.5], [0, 0.6]),
        ("models.two.augmentation.color_jitter.hue", [0, 0.5], [-0.1, 0.6]),
        ("models.two.augmentation.color_jitter.contrast", [0, 1], [-0.1, 1.1]),
        ("models.two.augmentation.downscale.smallest", [0.1], [0, 1]),
        ("models.two.augmentation.blur.sigma", [0.1], [0, 1e-50, 101]),
        ("models.two.augmentation.random_erasing.probability", [0, 1], [-0.1, 1.1]),
        ("models.two.optimizer.layer_decay", [0.1, 1], [0, 1.1]),
        ("models.two.optimizer.clip_norm", [0.1], [0, 1e-7, 2e6]),
        ("distances.postprocessing.whitening.shrinkage", [0.001, 1], [0, 5e-324, 1e-12, 1.1]),
        ("distances.models.one", [1e-6, 7], [0, 5e-324, 9e-7, -1, 2e6]),
        ("distances.postprocessing.query_expansion.alpha", [0, 3], [-1, 101]),
        ("distances.postprocessing.reranking.lambda", [0, 1], [-0.1, 1.1]),
        ("distances.postprocessing.sinkhorn.temperature", [0.1], [0, 1e-5, 2e6]),
        ("distances.postprocessing.sinkhorn.weight", [0.1, 1], [0, 1.1]),
    ],
)
def test_bounds_of_fractions(content, place, inside, outside):
    for value in inside:
        check_params(changed(content, place, value))
    for value in outside:
        fails(changed(content, place, value), f"{place}: ", problems=1)


@pytest.mark.parametrize("value", [1e-50, 1e-38, 5e-324])
def test_deviation_that_is_nothing_in_single_precision_is_refused(content, value):
    network = {"backbone": "resnet18", "mean": [0.5] * 3, "std": [0.2, value, 0.2]}
    fails(changed(content, "models.one.network", network), "models.one.network.std[1]: ", problems=1)


@pytest.mark.parametrize(
    "place",
    [
        "download.source",
        "thumbnails.interpolation",
        "models.one.precision",
        "embed.precision",
        "distances.metric",
        "distances.scale",
        "thumbnails.fit",
        "models.two.network.projection.kind",
        "models.two.sampler.neighbours",
        "models.two.loss.negatives",
        "models.one.loss.id.over",
        "models.two.validation.select",
        "models.two.validation.metric",
        "models.two.compile",
    ],
)
def test_unknown_choice_is_refused_with_those_there_are(content, place):
    message = fails(changed(content, place, "other"), f"{place}: ", problems=1)
    assert "'other'" in message and f"'{SHIPPED[place]}'" in message


@pytest.mark.parametrize(
    "place, kinds",
    [
        ("models.one.sampler", ["identity", "actions", "random"]),
        ("models.two.schedule", ["step", "cosine", "one_cycle", "polynomial"]),
        ("models.two.network.pooling", ["average", "gem", "token"]),
        ("models.one.optimizer", ["adamw", "adam", "amsgrad", "sgd", "rmsprop", "radam", "muon"]),
        ("models.two.averaging", ["ema", "epochs"]),
    ],
)
def test_unknown_kind_is_refused_with_those_there_are(content, place, kinds):
    message = fails(changed(content, f"{place}.kind", "xyzzy"), f"{place}.kind: there is no xyzzy; there are ")
    assert message.rpartition("there are ")[2].split(", ") == kinds
    assert message.count("\n  - ") == 1


@pytest.mark.parametrize(
    "place, given, meant",
    [
        ("models.one.sampler", "identities", "identity"),
        ("models.two.schedule", "cosin", "cosine"),
        ("models.two.network.pooling", "gemm", "gem"),
        ("models.one.optimizer", "adamW", "adamw"),
        ("models.two.averaging", "emma", "ema"),
    ],
)
def test_unknown_kind_is_told_the_nearest_known_one(content, place, given, meant):
    line = f"{place}.kind: there is no {given}; did you mean {meant}?"
    fails(changed(copy.deepcopy(content), f"{place}.kind", given), line, problems=1)


def test_unknown_kind_that_stands_alone_is_told_the_nearest_known_one(content):
    line = "models.two.network.pooling.kind: there is no averge; did you mean average?"
    fails(changed(content, "models.two.network.pooling", "averge"), line, problems=1)


@pytest.mark.parametrize("pin", ["", "0" * 63, "0" * 65, "g" * 64, SHA + "\n", 7, None])
def test_pin_is_64_hexadecimal_digits(content, pin):
    check_params(changed(content, "download.sha256", {"valid": SHA}))
    fails(changed(content, "download.sha256", {"valid": pin}), "download.sha256.valid: ", problems=1)


@pytest.mark.parametrize("pin", [SHA, SHA.upper(), SHA.title()])
def test_pin_in_capitals_is_the_same(content, pin):
    assert check_params(changed(content, "download.sha256", {"valid": pin})).download.sha256 == {"valid": SHA}


@pytest.mark.parametrize("split", ["test_labels", "challenge_labels", "val", ""])
def test_pin_of_an_unknown_split_is_refused(content, split):
    fails(changed(content, "download.sha256", {split: SHA}), f"download.sha256.{split}", problems=1)


# Names of models, and what is said to be wrong with them.
NAMES = {
    "": "the name has 0 characters",
    "a b": "the name holds ' '",
    "../a": "the name holds '.'",
    ".": "the name holds '.'",
    "..": "the name holds '.'",
    "a/b": "the name holds '/'",
    "a.b": "the name holds '.'",
    "-a": "the name begins with '-'",
    "--out": "the name begins with '-'",
    "_a": "the name begins with '_'",
    "é": "the name holds '\\xe9'",
    "a\n": "the name holds '\\n'",
    "a\0": "the name holds '\\x00'",
    "$(touch X)": "the name holds '$'",
    "`id`": "the name holds '`'",
    "a;b": "the name holds ';'",
    "a'b": 'the name holds "\'"',
    "{model}": "the name holds '{'",
    "a" * 65: "the name has 65 characters",
    "a" * 10**6: "the name has 1000000 characters",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("section", ["models", "external_models", "distances.models"])
def test_model_name_that_is_no_folder_and_no_word_is_refused(content, section, name):
    part, key = at(content, section)
    part[key][name] = next(iter(part[key].values()))
    place = f"{section}.{shown(name)}"
    message = fails(content, f"{place}: {NAMES[name]}; it must be letters, digits, - and _, ", problems=1)
    assert len(message) < 500 and message.count("\n") == 1


@pytest.mark.parametrize("name", ["a", "0", "ViT-L_16", "dev-kit"])
def test_model_names_that_are_folders(content, name):
    content["models"][name] = content["models"]["one"]
    assert name in check_params(content).models


def test_at_least_one_rank(content):
    fails(changed(content, "evaluate.ranks", []), "evaluate.ranks: ", problems=1)


def test_folder_of_an_external_model_has_a_name(content):
    fails(changed(content, "external_models.elsewhere.folder", ""), "external_models.elsewhere.folder: ", problems=1)


@pytest.mark.parametrize("key, value", [("resamples", 99), ("resamples", 100001), ("seed", -1), ("seed", 0.5)])
def test_bootstrap_has_bounds(content, key, value):
    fails(changed(content, f"evaluate.{key}", value), f"evaluate.{key}: ", problems=1)


@pytest.mark.parametrize("rank", [0, -1, 1.5, 1001, 10**9, 10**30])
def test_ranks_are_positive_whole_numbers_with_a_bound(content, rank):
    fails(changed(content, "evaluate.ranks", [1, rank]), "evaluate.ranks[1]: ", problems=1)


@pytest.mark.parametrize("splits", [["challenge"], [], ["train", "challenge"]])
def test_challenge_cannot_be_trained_on(content, splits):
    fails(changed(content, "train.splits", splits), "train.splits", problems=1)


def test_all_problems_come_together(content):
    content["models"]["one"]["epochs"] = -1
    content["thumbnails"]["heigth"] = 8
    del content["embed"]
    fails(content, "models.one.epochs", "thumbnails.heigth", "embed: is missing", problems=3)


def test_thousands_of_problems_are_counted_in_little_time(content):
    content |= {f"key{number}": 1 for number in range(20_000)}
    started = time.process_time()
    message = fails(content, "key0: is not a parameter")
    assert "20000 problems" in message and "... and 19980 more" in message
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("given", [None, [], [1], "text", 1, 10**5000, {1, 2}], ids=lambda given: type(given).__name__)
def test_content_that_is_no_section_is_refused(given):
    with pytest.raises(ReidError, match=r"^params\.yaml: holds .*, not sections by their names$"):
        check_params(given)
