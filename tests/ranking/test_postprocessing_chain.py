"""Post-processing steps that an extension adds: applied in their stage and place; what they must return."""

import sys

import numpy as np
import pytest

from reid.core.errors import ReidError
from reid.data.actions import Action
from reid.params import extensions
from reid.params.registries import POSTPROCESSING
from reid.params.schema import section_class
from reid.ranking.distances import action_distances
from reid.retrieval.pairwise import pairwise

SOURCE = """
import numpy as np
from reid.params import POSTPROCESSING, PostprocessingStep


class Shift(PostprocessingStep):
    stage = "embeddings"
    amount: float


class Nearest(PostprocessingStep):
    stage = "boxes"
    share: float = 0.5


class Power(PostprocessingStep):
    exponent: float


@POSTPROCESSING.register("power", Power, after="query_expansion")
def power(distance, params):
    distance **= params.exponent  # what it gets is its own
    return distance


@POSTPROCESSING.register("twice", Power)
def twice(distance, params):
    return 2 * distance


@POSTPROCESSING.register("shift", Shift)
def shift(query, gallery, params):
    query += params.amount
    return query, gallery


@POSTPROCESSING.register("nearest", Nearest)
def nearest(distance, queries, params):
    return params.share * distance[:queries, queries:] + distance.sum(axis=1)[:queries, None]
"""
ACTIONS = [Action(4, np.arange(2), np.arange(2, 6)), Action(9, np.arange(6, 8), np.arange(8, 12))]
ACTIONS.append(Action(11, np.arange(12, 13), np.arange(13, 15)))
EMBEDDINGS = np.random.default_rng(0).normal(size=(15, 5)).astype(np.float32)


@pytest.fixture
def load(tmp_path):
    """Load an extension with the source given; it is forgotten after the test."""
    before = POSTPROCESSING.snapshot()

    def run(source, name="mine"):
        (tmp_path / f"{name}.py").write_text(source)
        extensions.load(tmp_path)

    yield run
    POSTPROCESSING.restore(before)
    for path in extensions.files(tmp_path):
        sys.modules.pop(f"reid_extensions.{path.stem}", None)


def measured(**steps):
    section = {"metric": "euclidean", "postprocessing": steps}
    return action_distances([EMBEDDINGS], ACTIONS, section_class("Distances").model_validate(section))


def test_steps_of_an_extension_are_applied_in_their_stages_and_in_the_order_of_the_registry(load):
    load(SOURCE)
    before = EMBEDDINGS.copy()
    assert list(POSTPROCESSING)[:3] == ["whitening", "query_expansion", "power"]
    result = measured(twice={"exponent": 1}, nearest={}, power={"exponent": 2}, shift={"amount": 0.5})
    for action, matrix in zip(ACTIONS, result, strict=True):
        rows = np.concatenate([EMBEDDINGS[action.query] + np.float32(0.5), EMBEDDINGS[action.gallery]])
        distance, queries = pairwise(rows, rows, "euclidean"), len(action.query)
        wanted = 0.5 * distance[:queries, queries:] + distance.sum(axis=1)[:queries, None]
        np.testing.assert_allclose(matrix, 2 * wanted**2, rtol=1e-12)
    assert np.array_equal(EMBEDDINGS, before)


def test_built_in_steps_follow_what_an_extension_puts_before_them(load):
    load(SOURCE)
    (one, *_), (other, *_) = measured(power={"exponent": 2}, dual_softmax={"temperature": 0.3}), measured()
    share = np.exp(-(other**2) / 0.3)
    np.testing.assert_allclose(one, -0.3 * np.log(share / share.sum(axis=0)), atol=1e-12)


@pytest.mark.parametrize(
    "stage, arguments, own",
    [("pairs", "distance", "distance"), ("boxes", "distance, queries", "distance[:queries, queries:]")],
)
def test_step_of_an_extension_gets_one_action_at_a_time(load, stage, arguments, own):
    """Though two have one shape, and ours get these together."""
    load(
        "from reid.params import POSTPROCESSING, PostprocessingStep\n"
        f"class Centre(PostprocessingStep):\n    stage = '{stage}'\n    on: bool = True\n"
        f"@POSTPROCESSING.register('centre', Centre)\ndef centre({arguments}, params):\n"
        f"    own = {own}\n    return own - own.mean(axis=0, keepdims=True)\n"
    )
    for one, other in zip(measured(centre={}), measured(), strict=True):
        np.testing.assert_allclose(one, other - other.mean(axis=0), atol=1e-12)


def test_step_of_a_split_may_change_what_it_gets_though_that_is_a_file(load, tmp_path):
    load(
        "from reid.params import POSTPROCESSING, PostprocessingStep\n"
        "class Centred(PostprocessingStep):\n    stage = 'split'\n    on: bool = True\n"
        "@POSTPROCESSING.register('centred', Centred)\ndef centred(embeddings, groups, params):\n"
        "    embeddings -= embeddings.mean(axis=0)\n    return embeddings\n"
    )
    np.save(tmp_path / "e.npy", EMBEDDINGS)
    stored = np.load(tmp_path / "e.npy", mmap_mode="r")
    params = section_class("Distances").model_validate({"metric": "euclidean", "postprocessing": {"centred": {}}})
    for one, other in zip(action_distances([stored], ACTIONS, params), measured(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


BODIES = {
    "pairs": {
        "return distance[:, :-1]": "must return an array of 2 x 4, not one of 2 x 3",
        "return distance[None]": "must return an array of 2 x 4, not one of 1 x 2 x 4",
        "return distance.sum()": "must return an array of 2 x 4, not a float64",
        "return None": "must return an array of 2 x 4, not a NoneType",
        "return 'far'": "must return an array of 2 x 4, not a str",
        "return [[1, 2], [3]]": "must return an array of 2 x 4, not a list",
        "return distance / params.temprature": "AttributeError: 'Mine' object has no attribute 'temprature'",
        "return distance * np.nan": "returns a value that is not finite",
    },
    "boxes": {
        "return distance": "must return an array of 2 x 4, not one of 6 x 6",
        "return distance[queries + 9]": "IndexError: index 11 is out of bounds for axis 0 with size 6",
        "return -np.log(0 * distance[:queries, queries:])": "returns a value that is not finite",
    },
    "split": {
        "return embeddings[:-1]": "must return an array of 15 x D, not one of 14 x 5",
        "return embeddings[groups[3]]": "IndexError: list index out of range",
    },
    "embeddings": {
        "return query": "returns a ndarray, not a pair of queries and gallery",
        "return query, gallery, gallery": "returns a tuple, not a pair of queries and gallery",
        "return query[:1], gallery": "must return an array of 2 x D, not one of 1 x 5",
        "return query, gallery[:, :, None]": "must return an array of 4 x D, not one of 4 x 5 x 1",
        "return query[:, :3], gallery": "returns rows of 3 and 5 values",
        "return query, None": "must return an array of 4 x D, not a NoneType",
        "return query + params.amuont, gallery": "AttributeError: 'Mine' object has no attribute 'amuont'",
        "return query / 0, gallery": "returns a value that is not finite",
        "return query, gallery * np.inf": "returns a value that is not finite",
    },
}
ARGUMENTS = {
    "split": "embeddings, groups",
    "pairs": "distance",
    "boxes": "distance, queries",
    "embeddings": "query, gallery",
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("stage, body", [(stage, body) for stage, bodies in BODIES.items() for body in bodies])
def test_step_that_returns_anything_else_or_fails_is_refused_with_its_name_and_extension(load, stage, body):
    load(
        "import numpy as np\nfrom reid.params import POSTPROCESSING, PostprocessingStep\n"
        f"class Mine(PostprocessingStep):\n    stage = '{stage}'\n    on: bool = True\n"
        f"@POSTPROCESSING.register('mine', Mine)\ndef mine({ARGUMENTS[stage]}, params):\n    {body}\n",
        "other",
    )
    with pytest.raises(ReidError) as caught:
        measured(mine={})
    line, said = "", BODIES[stage][body]
    if "Error: " in said:
        line, said = ", line 8", f"fails: {said}"
    wanted = f"action 4: distances.postprocessing.mine (extensions/other.py{line}) {said}"
    assert str(caught.value) == wanted
