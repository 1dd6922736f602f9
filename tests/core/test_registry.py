"""Lists of parts by name: what may be added, in which order they stand, and that every part of ours is there whole."""

import subprocess
import sys

import pytest

from reid.core.errors import ReidError
from reid.core.registry import Registry
from reid.params import Section, registries


class Base:
    """What parameters are made of here."""


def params_class():
    return type("Params", (Base,), {})


@pytest.fixture
def registry():
    """One with the parts a, b, c, of which b has a builder."""
    parts = Registry("part")
    parts.base = Base
    for name in "abc":
        parts.declare(name)(params_class())
    parts.implement("b")(lambda: "built")
    return parts


def test_parts_are_found_by_name(registry):
    own = params_class()
    assert registry.declare("mine")(own) is own
    assert registry.params("mine") is own
    assert registry.builder("b")() == "built"
    assert "mine" in registry and "other" not in registry


def test_registering_is_declaring_and_implementing(registry):
    own = params_class()

    @registry.register("mine", own, after="a")
    def build():
        return "mine"

    assert registry.params("mine") is own and registry.builder("mine") is build and build() == "mine"
    assert list(registry) == ["a", "mine", "b", "c"]


@pytest.mark.parametrize("name", ["", "two words", "a-b", "7", "_a", "kept", "method", "été!"])
def test_a_name_that_cannot_be_or_stands_for_something_else_is_refused(registry, name):
    registry.reserved = {"kept"}
    Base.method = None
    try:
        with pytest.raises(ReidError, match=r"part .*(its name must be letters|this name stands for something else)"):
            registry.declare(name)(params_class())
    finally:
        del Base.method


@pytest.mark.parametrize(
    ("list_", "name"),
    [("LOSSES", "loss"), ("LOSSES", "negatives"), ("LOSSES", "copy"), ("AUGMENTATIONS", "progressive_resizing")],
)
def test_no_extension_takes_the_name_of_what_stands_beside_it(list_, name):
    assert registries.LOSSES.reserved  # by reid.params
    with pytest.raises(ReidError, match=f"{name}: this name stands for something else"):
        getattr(registries, list_).declare(name)(type("Own", (Section,), {}))


def test_order_is_that_of_declaration_or_the_place_after_another(registry):
    registry.declare("d")(params_class())
    registry.declare("x", after="a")(params_class())
    registry.declare("y", after="a")(params_class())
    registry.declare("z", after="d")(params_class())
    assert list(registry) == ["a", "y", "x", "b", "c", "d", "z"]
    assert [registry.position(name) for name in registry] == list(range(7))


@pytest.mark.parametrize(
    "name, base, after, message",
    [
        ("b", Base, None, f"there is a part b already, of {__name__}"),
        ("b", Base, "a", "there is a part b already"),
        ("d", Base, "e", "part d: comes after e, which there is not: a, b, c"),
        ("d", Base, "d", "part d: comes after d, which there is not"),
        ("d", object, None, "part d: its parameters must be a class made of Base"),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_nothing_behind(registry, name, base, after, message):
    before, version = registry.snapshot(), registry.version
    with pytest.raises(ReidError, match=message):
        registry.register(name, type("Other", (base,), {}), after)(lambda: "other")
    assert registry.snapshot() == before and list(registry) == list("abc") and registry.version == version
    assert registry.builder("b")() == "built"


def test_implementation_without_parameters_is_refused(registry):
    with pytest.raises(ReidError, match="part d: is implemented, but its parameters are not declared"):
        registry.implement("d")(lambda: "other")


def test_what_came_since_a_snapshot_can_be_forgotten(registry):
    before, version = registry.snapshot(), registry.version
    registry.register("d", params_class(), after="a")(lambda: "d")
    assert registry.version > version
    registry.restore(before)
    assert list(registry) == ["a", "b", "c"] and registry.builder("b")() == "built"
    assert registry.version > version + 1  # what was made with d in it is out of date
    registry.declare("d")(params_class())
    assert registry.position("d") == 3


def test_restoring_what_is_there_puts_nothing_out_of_date(registry):
    version = registry.version
    registry.restore(registry.snapshot())
    assert registry.version == version


# ---- ours


@pytest.mark.parametrize(
    "module, names",
    [
        ("reid.training.train", ["LOSSES", "SAMPLERS", "OPTIMIZERS", "SCHEDULES", "AUGMENTATIONS", "POOLINGS"]),
        ("reid.models.embedder", ["POOLINGS"]),
        ("reid.ranking.distances", ["POSTPROCESSING"]),
    ],
)
def test_every_part_that_is_declared_is_implemented_where_it_is_used(module, names):
    """In a fresh Python, which imports what is used and no more."""
    program = f"""
import {module}
from reid.params import registries, schema
for name in {names}:
    registry = getattr(registries, name)
    print(name, *(part for part in registry if callable(registry.builder(part))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [" ".join([name, *getattr(registries, name)]) for name in names]
    assert all(list(getattr(registries, name)) for name in names)


def test_every_registry_is_one_of_a_parameter_file():
    assert len(registries.ALL) == len({registry.kind for registry in registries.ALL}) == 8
    for registry in registries.ALL:
        for part in registry:
            assert issubclass(registry.params(part), registry.base)
            assert issubclass(registry.base, Section)


def test_steps_are_applied_in_the_order_that_the_documentation_tells():
    assert list(registries.AUGMENTATIONS) == [
        "flip",
        "crop",
        "perspective",
        "downscale",
        "blur",
        "color_jitter",
        "rand_augment",
        "random_grey_patch",
        "random_patch",
        "random_erasing",
    ]
    assert list(registries.POSTPROCESSING) == ["whitening", "query_expansion", "reranking", "dual_softmax", "sinkhorn"]
