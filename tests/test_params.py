"""params.yaml: the one in the repository passes, and whatever is wrong in another is refused by its name."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from reid import params as params_module
from reid.errors import ReidError
from reid.params import Params, check_params, model_params, read_params

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "recipes/demo.yaml"
FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]
SHA = "0123456789abcdef" * 4


def two_models():
    whole = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    shipped = [
        model for path in FILES for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"].values()
    ]
    models = {model["sampler"]["kind"]: model for model in shipped if model["loss"]["triplet"]}
    models["actions"]["loss"]["softmax"] = dict(models["identity"]["loss"]["softmax"])
    whole["models"] = {"one": models["identity"], "two": models["actions"]}
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
KINDS = ("models.one.sampler.kind", "models.two.sampler.kind")


# ---- what passes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_params_and_recipes_of_the_repository_pass(path):
    params = read_params(path)
    assert params.model_dump() == Params.model_validate(yaml.safe_load(path.read_text())).model_dump()
    assert params.fused() and set(params.fused()) <= set(params.models)


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
    assert check_params(content).fused() == ["one", "two"]
    assert check_params(changed(content, "distances.models", ["two"])).fused() == ["two"]
    assert check_params(changed(content, "distances.models", ["two", "one"])).fused() == ["one", "two"]


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
        ("models.one.network.embedding", 1, None),
        ("models.one.network.last_stride", 1, 2),
        ("models.one.input.height", 8, 2048),
        ("models.one.sampler.people", 2, None),
        ("models.two.sampler.actions", 1, None),
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
        "models.one.schedule.kind",
        "embed.precision",
        "distances.metric",
    ],
)
def test_unknown_choice_is_refused_with_those_there_are(content, place):
    message = fails(changed(content, place, "other"), f"{place}: ", problems=1)
    assert "'other'" in message and f"'{SHIPPED[place]}'" in message


def test_unknown_sampler_is_refused_with_those_there_are(content):
    message = fails(changed(content, "models.one.sampler.kind", "other"), "models.one.sampler", problems=1)
    assert "'other'" in message and "'identity', 'actions'" in message


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


@pytest.mark.parametrize("ranks", [[5], [10, 5, 20]])
def test_rank_one_must_be_measured(content, ranks):
    fails(changed(content, "evaluate.ranks", ranks), "evaluate.ranks: must hold 1, the official measure", problems=1)


@pytest.mark.parametrize("rank", [0, -1, 1.5])
def test_ranks_are_positive_whole_numbers(content, rank):
    fails(changed(content, "evaluate.ranks", [1, rank]), "evaluate.ranks.1: ", problems=1)


def test_unknown_models_are_named_in_order(content):
    changed(content, "distances.models", ["z", "one", "b"])
    message = fails(content, "distances.models: there is no model z; there are one, two", problems=2)
    assert message.index("no model b") < message.index("no model z")


def test_distances_of_no_model(content):
    fails(changed(content, "distances.models", []), "distances.models: ", problems=1)


def test_no_loss(content):
    content["models"]["two"]["loss"] = {"triplet": None, "softmax": None}
    fails(content, "models.two.loss: triplet and softmax are both null; one must be given", problems=1)


def test_triplet_with_one_picture_a_person(content):
    content["models"]["one"]["loss"] = {"triplet": {"weight": 1, "margin": 0.3}, "softmax": None}
    content["models"]["one"]["sampler"]["images"] = 1
    fails(content, "models.one.sampler.images: must be 2 or more for loss.triplet", problems=1)
    content["models"]["one"]["loss"] = {"triplet": None, "softmax": {"weight": 1, "label_smoothing": 0.1}}
    check_params(content)


def test_all_problems_come_together(content):
    content["models"]["one"]["epochs"] = -1
    content["thumbnails"]["heigth"] = 8
    del content["embed"]
    fails(content, "models.one.epochs", "thumbnails.heigth", "embed: is missing", problems=3)


def test_all_contradictions_come_together(content):
    content["download"] |= {"source": "local", "path": None}
    content["evaluate"]["ranks"] = [5]
    content["models"]["one"]["loss"] = content["models"]["two"]["loss"] = {"triplet": None, "softmax": None}
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
