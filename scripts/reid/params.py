"""Every parameter of ``params.yaml``: its type, range and meaning. Unknown keys are refused."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid.errors import ReidError, summarise

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SyntheticActions(Section):
    """How many actions are made for each split; an action has about 27 thumbnails."""

    train: int = Field(ge=1)
    valid: int = Field(ge=1)
    test: int = Field(ge=1)
    challenge: int = Field(ge=1)


class Synthetic(Section):
    seed: Seed = Field(description="seed of the matches; another seed gives other players, kits and cameras")
    actions: SyntheticActions


class Download(Section):
    source: Literal["synthetic", "soccernet", "local"] = Field(description="where the zips come from")
    path: str | None = Field(description="source local: folder with {split}.zip or the folders that the dev kit makes")
    sha256: dict[Literal["train", "valid", "test", "challenge"], Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = (
        Field(description="SHA-256 that the zip of a split must have; {} for any")
    )
    synthetic: Synthetic


class Thumbnails(Section):
    height: int = Field(ge=8, le=2048, description="pixels")
    width: int = Field(ge=8, le=2048, description="pixels")
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        description="all but nearest are antialiased; the dev kit's is bilinear"
    )


class Network(Section):
    backbone: str = Field(description="any classification network of torchvision.models, by its name there")
    weights: str | None = Field(
        description="null: from scratch; a name of torchvision's weights (IMAGENET1K_V1, DEFAULT); or a path to a "
        ".safetensors or .pth file"
    )
    last_stride: Literal[1, 2] = Field(description="stride of a ResNet's last stage; 1 keeps a finer map (dev kit)")
    embedding: int | None = Field(ge=1, description="width of the layer after the pooling (fc + batch norm + ReLU)")


class Size(Section):
    height: int = Field(ge=8, le=2048, description="pixels; the store is resized on the device where it differs")
    width: int = Field(ge=8, le=2048, description="pixels")


class Pictures(Section):
    flip: Share = Field(description="probability of a horizontal flip")


class IdentitySampler(Section):
    """The dev kit's RandomIdentitySampler: people from anywhere, pictures repeated where a person has too few."""

    kind: Literal["identity"]
    people: int = Field(ge=2, description="people per batch")
    images: int = Field(ge=1, description="pictures per person")


class ActionSampler(Section):
    """Whole actions: the team mates that a query will meet stand in its batch."""

    kind: Literal["actions"]
    actions: int = Field(ge=1, description="actions per batch")
    people: int = Field(ge=2, description="people per action at most")
    images: int = Field(ge=2, description="different pictures per person at most; people with one serve as negatives")


class Triplet(Section):
    weight: float = Field(gt=0)
    margin: float = Field(ge=0)


class Softmax(Section):
    weight: float = Field(gt=0)
    label_smoothing: Share


class Loss(Section):
    triplet: Triplet | None = Field(description="hardest positive and negative in the batch (Hermans 2017)")
    softmax: Softmax | None = Field(description="classification of the person ids")


class Optimiser(Section):
    kind: Literal["adam", "adamw", "sgd"] = Field(description="sgd has a momentum of 0.9, as the dev kit's")
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


class Schedule(Section):
    kind: Literal["step", "cosine"]
    milestones: list[int] = Field(description="step: epochs after which the learning rate is multiplied by gamma")
    gamma: float = Field(gt=0)


class Model(Section):
    """All that decides about one model."""

    seed: Seed
    subset: float = Field(gt=0, le=1, description="share of the training actions, from the first one on (dev kit)")
    network: Network
    input: Size
    pictures: Pictures
    sampler: IdentitySampler | ActionSampler = Field(discriminator="kind")
    loss: Loss
    optimiser: Optimiser
    schedule: Schedule
    epochs: int = Field(ge=0, description="0 keeps the untrained network")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        description="auto: bf16 where the processor or GPU has it, else fp32"
    )
    threads: int = Field(ge=1, description="on a CPU; part of the result, because sums are split between threads")


class Embed(Section):
    batch: int = Field(ge=1, description="pictures at a time")
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    threads: int = Field(ge=1, description="on a CPU")


class Distances(Section):
    metric: Literal["euclidean", "cosine"]
    models: list[str] | None = Field(min_length=1, description="models whose distances are averaged; null for all")


class Evaluate(Section):
    ranks: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="the k of rank-k; 1 is the official one"
    )


class Params(Section):
    """The whole of ``params.yaml``: one section per stage."""

    download: Download
    thumbnails: Thumbnails
    models: dict[Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")], Model] = Field(min_length=1)
    embed: Embed
    distances: Distances
    evaluate: Evaluate

    def fused(self):
        """Names of the models whose distances are averaged, in the order of ``models``, which is that of the sum."""
        return [name for name in self.models if self.distances.models is None or name in self.distances.models]


def _where(location):
    """The place of an error as the file spells it: pydantic puts the kind of a sampler between it and its keys."""
    parts = [part for before, part in zip((None, *location), location, strict=False) if before != "sampler"]
    return ".".join(map(str, parts)) or "the file"


def _truth_values(content, place=()):
    """Places of true and false (to YAML also yes, on, ...): no parameter is one, and pydantic takes true for 1."""
    if isinstance(content, bool):
        yield ".".join(place)
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _truth_values(value, (*place, str(key)))
    elif isinstance(content, list):
        for value in content:
            yield from _truth_values(value, place)


def check_params(content, path="params.yaml"):
    """Check the content of a parameter file.

    Args:
        content: what the YAML file holds.
        path: its name, for messages.

    Returns:
        Params

    Raises:
        ReidError: unknown or missing keys, values out of range or that do not go together; all in one message.
    """
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where = _where(item["loc"])
            reason = {
                "extra_forbidden": "is not a parameter; see README.md for those that are",
                "missing": "is missing",
                "union_tag_not_found": "has no kind",
            }.get(item["type"], f"{item['msg']}, not {item['input']!r}")
            lines.append(f"{where}: {reason}")
        raise ReidError(summarise(lines, path)) from error
    lines = [f"{where}: must not be true or false" for where in _truth_values(content)]
    if params.download.source == "local" and params.download.path is None:
        lines.append("download.path: must name a folder when download.source is local")
    if 1 not in params.evaluate.ranks:
        lines.append("evaluate.ranks: must hold 1, the official measure")
    for name in sorted(set(params.distances.models or []) - set(params.models)):
        lines.append(f"distances.models: there is no model {name}; there are {', '.join(params.models)}")
    for name, model in params.models.items():
        if model.loss.triplet is None and model.loss.softmax is None:
            lines.append(f"models.{name}.loss: triplet and softmax are both null; one must be given")
        if model.loss.triplet and model.sampler.images < 2:
            lines.append(f"models.{name}.sampler.images: must be 2 or more for loss.triplet")
    if lines:
        raise ReidError(summarise(lines, path))
    return params


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; PyYAML would let the last one win."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_params(path="params.yaml"):
    """Read and check a parameter file.

    Raises:
        ReidError: the file is missing, is no YAML, or :func:`check_params` refuses it.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: is not valid YAML ({error})") from error
    return check_params(content, path)


def model_params(params, name):
    """The section of one model.

    Raises:
        ReidError: there is no such model.
    """
    if name not in params.models:
        raise ReidError(f"models.{name}: is not in the parameter file, which has {', '.join(params.models)}")
    return params.models[name]
