"""The whole of a parameter file as one pydantic model, with what the registries hold at present.

The static classes of this package say what every file has; here their open places (a loss by its name, a sampler by
its kind) are filled from the registries, so that an extension's parameters are checked, documented and completed like
our own.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator, create_model

from reid.core.registry import Registry
from reid.params import extensions, optimizer, sampler, schedule  # noqa: F401 - the last three fill registries
from reid.params.augmentation import Augmentation
from reid.params.base import Name, Section
from reid.params.data import Download, Thumbnails, Train
from reid.params.loss import Loss
from reid.params.model import ExternalModel, Model
from reid.params.network import Network
from reid.params.ranking import Distances, Embed, Evaluate, Postprocessing
from reid.params.registries import (
    ALL,
    AUGMENTATIONS,
    BACKBONES,
    LOSSES,
    OPTIMIZERS,
    POOLINGS,
    POSTPROCESSING,
    SAMPLERS,
    SCHEDULES,
)

MOST_MODELS = 100
MODELS = "results/models"  # where a run makes CHECKPOINTS of each model, in a folder of its name
CHECKPOINTS = ("model.safetensors", "last.safetensors")


class Params(Section):
    """A parameter file: one section per stage."""

    download: Download
    thumbnails: Thumbnails
    train: Train
    models: dict[Name, Model] = Field({}, max_length=MOST_MODELS, description="those to train")
    external_models: dict[Name, ExternalModel] = Field(
        {}, max_length=MOST_MODELS, description="those whose embeddings are made elsewhere"
    )
    embed: Embed
    distances: Distances
    evaluate: Evaluate

    def fused(self) -> dict[str, float]:
        """Weight of each model whose distances are averaged, in the order of the file, which is that of the sum."""
        names = [*self.models, *self.external_models]
        chosen = self.distances.models or dict.fromkeys(names, 1.0)
        return {name: chosen[name] for name in names if name in chosen}

    def made_here(self, model: str) -> str | None:
        """The checkpoint of a model of this file that ``model`` starts from, by its path from here; None without."""
        path = self.models[model].network.file()
        parts = Path(os.path.relpath(path, MODELS)).parts if path else ()
        if len(parts) == 2 and parts[0] in self.models and parts[1] in CHECKPOINTS:
            return f"{MODELS}/{parts[0]}/{parts[1]}"
        return None

    def ancestors(self, model: str) -> dict[str, str]:
        """Models of this file that ``model`` is made of, with the checkpoint of each: the one that it starts from,
        the one that this starts from, and so on.
        """
        found: dict[str, str] = {}
        while (made := self.made_here(model)) and (model := Path(made).parent.name) not in found:
            found[model] = made
        return found

    def trained_on(self, model: str) -> list[str]:
        """Splits that the training of ``model`` reads: none if it has weights and no epochs, and is used as it comes.

        Its weights may have seen others: :meth:`seen_by`.
        """
        as_it_comes = self.models[model].epochs == 0 and self.models[model].network.weights is not None
        return [] if as_it_comes else list(self.train.splits)

    def seen_by(self, model: str) -> list[str]:
        """Splits that went into the weights of ``model``, by its own training or of the models that it starts from."""
        return list(self.train.splits) if any(map(self.trained_on, [model, *self.ancestors(model)])) else []

    def rankings_trained_on(self) -> list[str]:
        """Splits that a fused model has seen, whose rankings are no valid result.

        One that is made elsewhere may have seen whatever ``train.splits`` names.
        """
        seen = any(name in self.external_models or self.seen_by(name) for name in self.fused())
        return list(self.train.splits) if seen else []

    def validated(self, model: str) -> bool:
        """Whether ``model`` is evaluated on valid while it trains: never when its weights have seen valid."""
        trains = bool(self.trained_on(model))
        return self.models[model].validation is not None and trains and "valid" not in self.seen_by(model)


def parts(section: Section, registry: Registry) -> dict[str, Any]:
    """The parts of a registry that a section names, in the registry's order: name to parameters."""
    return {name: value for name in registry if (value := getattr(section, name, None)) is not None}


def _kinds(registry: Registry) -> tuple[type, ...]:
    """The registry's parameters with their name as ``kind``."""
    return tuple(_with_kind(name, registry.params(name)) for name in registry)


def _with_kind(name: str, params: type) -> type:
    kind: Any = Literal[name]
    return create_model(params.__name__, __base__=params, __doc__=params.__doc__, kind=(kind, Field()))


def _as_section(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _choice(registry: Registry) -> Any:
    """One part of a registry: a section with its ``kind``, or the kind alone where all else has a default."""
    kinds = _kinds(registry)
    union = Annotated[Union[kinds], Field(discriminator="kind")] if len(kinds) > 1 else kinds[0]
    alone = tuple(name for name in registry if not _required(registry.params(name)))
    written: Any = Union[(Literal[alone], *kinds)] if alone else Union[kinds]
    return Annotated[union, BeforeValidator(_as_section, json_schema_input_type=written)]


def _required(section: type[Section]) -> list[str]:
    return [name for name, field in section.model_fields.items() if field.is_required()]


def _mapping(base: type[Section], registry: Registry) -> Any:
    """A section that names any number of parts of a registry."""
    fields: dict[str, Any] = {name: (registry.params(name) | None, None) for name in registry}
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)


def _registered_backbone(value: Any, as_section: ValidatorFunctionWrapHandler) -> Any:
    """An extension's backbone as its section; a name of torchvision, timm, ... as it is."""
    if isinstance(value, str) and value not in BACKBONES:
        return value
    return as_section(_as_section(value))


def _build() -> type[Params]:
    backbone: Any = Annotated[str, Field(max_length=200)]
    if list(BACKBONES):
        kinds = _kinds(BACKBONES)
        section: Any = Annotated[Union[kinds], Field(discriminator="kind")] if len(kinds) > 1 else kinds[0]
        wrap = WrapValidator(_registered_backbone, json_schema_input_type=Union[(str, *kinds)])
        backbone = Annotated[section, wrap, SerializeAsAny()]

    augmentation, post = _mapping(Augmentation, AUGMENTATIONS), _mapping(Postprocessing, POSTPROCESSING)
    network = create_model(
        "Network",
        __base__=Network,
        __doc__=Network.__doc__,
        backbone=(backbone, Field(description=Network.model_fields["backbone"].description)),
        pooling=(
            _choice(POOLINGS),
            Field({"kind": "average"}, validate_default=True, description=Network.model_fields["pooling"].description),
        ),
    )
    model: Any = create_model(
        "Model",
        __base__=Model,
        __doc__=Model.__doc__,
        network=(network, Field()),
        augmentation=(augmentation, Field(augmentation())),
        sampler=(_choice(SAMPLERS), Field(description=Model.model_fields["sampler"].description)),
        loss=(_mapping(Loss, LOSSES), Field()),
        optimizer=(_choice(OPTIMIZERS), Field(description=Model.model_fields["optimizer"].description)),
        schedule=(
            _choice(SCHEDULES) | None,
            Field(None, description=Model.model_fields["schedule"].description),
        ),
    )
    distances = create_model(
        "Distances", __base__=Distances, __doc__=Distances.__doc__, postprocessing=(post, Field(post()))
    )
    return create_model(
        "Params",
        __base__=Params,
        __doc__=Params.__doc__,
        models=(
            dict[Name, model],
            Field({}, max_length=MOST_MODELS, description=Params.model_fields["models"].description),
        ),
        distances=(distances, Field()),
    )


# the sum of all is "loss" among their values, and these are curves beside theirs
LOSSES.reserved |= {
    "loss",
    "learning_rate",
    "valid_mAP",
    "valid_mAP_averaged",
    "images_per_second",
    *Loss.model_fields,
}
AUGMENTATIONS.reserved |= set(Augmentation.model_fields)
POSTPROCESSING.reserved |= {"kind"}  # nothing else stands there

_own = [registry.snapshot() for registry in ALL]
_made: dict[tuple[int, ...], type[Params]] = {}


def params_class() -> type[Params]:
    """The model of a parameter file, extensions included.

    Raises:
        ReidError: an extension cannot be loaded.
    """
    extensions.load()
    versions = tuple(registry.version for registry in ALL)
    if versions not in _made:
        _made.clear()
        _made[versions] = _build()
    return _made[versions]


def own_params_class() -> type[Params]:
    """The model of a parameter file without any extensions, which is what docs/ describes."""
    now = [registry.snapshot() for registry in ALL]
    try:
        for registry, state in zip(ALL, _own, strict=True):
            registry.restore(state)
        return _build()
    finally:
        for registry, state in zip(ALL, now, strict=True):
            registry.restore(state)


def section_class(name: str) -> Any:
    """The class of a section with its open places filled: ``"Model"``, ``"Network"``, ``"Distances"``, ..."""
    whole = params_class()
    model = whole.model_fields["models"].annotation.__args__[1]  # type: ignore[union-attr]
    distances = whole.model_fields["distances"].annotation
    found = {"Model": model, "Network": model.model_fields["network"].annotation, "Distances": distances}
    found["Augmentation"] = model.model_fields["augmentation"].annotation
    found["Loss"] = model.model_fields["loss"].annotation
    return found[name]
