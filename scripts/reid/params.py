"""Every parameter of ``params.yaml``: its type, range and meaning. Unknown keys are refused."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid import catalogue
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
    fit: Literal["stretch", "pad"] = Field(
        description="stretch to the size (dev kit), or keep the shape of the box and pad with grey"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = Field(
        description="all but nearest are antialiased; the dev kit's is bilinear"
    )


class Train(Section):
    """What all models train on."""

    splits: list[Literal["train", "valid", "test"]] = Field(
        min_length=1,
        description="train; for a final model also valid and test, whose scores are then no results; with valid "
        "among them nothing is chosen by valid",
    )


class Projection(Section):
    """A layer after the pooling."""

    width: int = Field(ge=1, description="components of the embedding")
    kind: Literal["linear", "relu"] = Field(description="linear alone, or linear + batch norm + ReLU (dev kit)")


class Network(Section):
    backbone: str = Field(
        description="a classification network of torchvision.models or timm by its name there (timm/NAME where both "
        "have it); osnet_x1_0, osnet_x0_75, osnet_x0_5, osnet_x0_25, osnet_ain_x1_0, ..."
    )
    weights: str | None = Field(
        description="null: from scratch; DEFAULT or a name of torchvision's (IMAGENET1K_V1) or timm's weights "
        "(the tag, as laion2b); or a path to a .safetensors or .pth file, Torchreid's too"
    )
    last_stride: Literal[1, 2] = Field(description="stride of a ResNet's last stage; 1 keeps a finer map (dev kit)")
    pooling: Literal["average", "gem", "token"] = Field(
        description="of the last feature map: mean, generalised mean with a trained power, or a transformer's token"
    )
    projection: Projection | None
    neck: Literal["batch_norm"] | None = Field(
        description="batch norm between the embedding of the other losses and that of softmax and result (Luo 2019)"
    )

    def file(self):
        """Path of the file that ``weights`` names (Torchreid's end in .pth.tar-60); None if it names no file."""
        name = (self.weights or "").rsplit("/")[-1]
        return self.weights if name.endswith((".safetensors", ".pth", ".pt", ".tar")) or ".pth.tar" in name else None


class Size(Section):
    height: int = Field(ge=8, le=2048, description="pixels; the store is resized on the device where it differs")
    width: int = Field(ge=8, le=2048, description="pixels")


class Crop(Section):
    """A window of the picture's own size, out of the picture with a margin around it."""

    probability: Share
    margin: float = Field(gt=0, le=0.5, description="as a share of height and width")


class Light(Section):
    """A factor from 1 - x to 1 + x for each; hue turns by up to x of the circle (0 keeps the colours of kits)."""

    brightness: Share
    contrast: Share
    saturation: Share
    hue: float = Field(ge=0, le=0.5)


class Resample(Section):
    """Down- and up-sampling: cameras differ in scale."""

    probability: Share
    smallest: float = Field(gt=0, lt=1, description="smallest size as a share of the input's")


class Blur(Section):
    """Gaussian blur."""

    probability: Share
    sigma: float = Field(gt=0, description="largest standard deviation, pixels")


class Rectangle(Section):
    """A random rectangle, of this share of the area."""

    probability: Share
    smallest: float = Field(gt=0, lt=1)
    largest: float = Field(gt=0, lt=1)


class Progressive(Section):
    """Smaller pictures first: progressive resizing (Howard 2018, Tan 2021). Needs a backbone that takes any size."""

    scale: float = Field(gt=0, lt=1, description="height and width to begin with, as a share of the input's")
    until: float = Field(gt=0, lt=1, description="share of the training after which pictures have the input's size")


class Pictures(Section):
    """What happens to a picture in training; null leaves a part out."""

    flip: Share = Field(description="probability of a horizontal flip")
    crop: Crop | None
    light: Light | None
    resample: Resample | None
    blur: Blur | None
    erasing: Rectangle | None = Field(description="filled with the mean colour (Zhong 2020, dev kit's random_erase)")
    patch: Rectangle | None = Field(description="filled from another picture of the batch (dev kit's random_patch)")
    progressive: Progressive | None = Field(description="the last step: the changed picture made smaller")


class IdentitySampler(Section):
    """The dev kit's RandomIdentitySampler: people from anywhere, pictures repeated where a person has too few."""

    kind: Literal["identity"]
    people: int = Field(ge=2, description="people per batch")
    images: int = Field(ge=1, description="pictures per person")


class ActionSampler(Section):
    """Whole actions: the team mates that a query will meet stand in its batch."""

    kind: Literal["actions"]
    actions: int = Field(ge=1, description="actions per batch")
    people: Annotated[int, Field(ge=2)] | None = Field(description="people per action at most; null for all")
    images: Annotated[int, Field(ge=2)] | None = Field(
        description="different pictures per person at most, null for all; people with one serve as negatives"
    )
    neighbours: Literal["any", "game"] = Field(
        description="the other actions of a batch: any, or those of the same game first"
    )


class SupervisedContrast(Section):
    """Khosla 2020: softmax of each anchor's positives against its negatives and the other positives."""

    kind: Literal["supcon"]
    weight: float = Field(gt=0)
    temperature: float = Field(gt=0)


class PairContrast(Section):
    """NT-Xent, InfoNCE: each positive pair against the anchor's negatives."""

    kind: Literal["ntxent"]
    weight: float = Field(gt=0)
    temperature: float = Field(gt=0)


class MultiSimilarity(Section):
    """Wang 2019."""

    kind: Literal["multi_similarity"]
    weight: float = Field(gt=0)
    alpha: float = Field(gt=0, description="sharpness for positives (2)")
    beta: float = Field(gt=0, description="sharpness for negatives (50)")
    base: float = Field(description="similarity that parts them (0.5)")


class Circle(Section):
    """Sun 2020."""

    kind: Literal["circle"]
    weight: float = Field(gt=0)
    margin: float = Field(ge=0, le=1, description="0.4")
    gamma: float = Field(gt=0, description="scale (80)")


class Triplet(Section):
    weight: float = Field(gt=0)
    margin: float = Field(ge=0)


class Centroid(Section):
    """Each embedding against the means of people (Wieczorek 2021): softmax over his own mean and the negatives'."""

    weight: float = Field(gt=0)
    temperature: float = Field(gt=0)


class Softmax(Section):
    weight: float = Field(gt=0)
    label_smoothing: Share
    over: Literal["all", "action"] = Field(description="all training ids (dev kit), or those of the picture's action")


class Loss(Section):
    """A weighted sum; null leaves a part out."""

    negatives: Literal["everything", "action", "action+games"] = Field(
        description="who is told apart in contrast, triplet and centroid: everybody else in the batch; others of the "
        "same action; or these and people of other games (in another action of his game it may be the same man)"
    )
    contrast: (
        Annotated[SupervisedContrast | PairContrast | MultiSimilarity | Circle, Field(discriminator="kind")] | None
    ) = Field(description="over all pairs of the batch")
    triplet: Triplet | None = Field(description="hardest positive and negative in the batch (Hermans 2017)")
    centroid: Centroid | None
    softmax: Softmax | None = Field(description="classification of the person ids")


class Optimiser(Section):
    kind: Literal["adamw", "adam", "amsgrad", "sgd", "rmsprop", "radam"] = Field(
        description="sgd and rmsprop have a momentum of 0.9, as in the dev kit"
    )
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    layer_decay: float = Field(
        gt=0, le=1, description="factor of the learning rate per block of the backbone, from its end to its beginning"
    )
    clip: Annotated[float, Field(gt=0)] | None = Field(description="largest norm of the gradient")
    accumulate: int = Field(ge=1, description="batches per step of the optimiser")
    frozen_epochs: int = Field(ge=0, description="epochs at the beginning in which the backbone stays as it is")


class StepSchedule(Section):
    """The dev kit's single_step and multi_step."""

    kind: Literal["step"]
    milestones: list[Annotated[int, Field(ge=1)]] = Field(
        description="epochs after which the learning rate is multiplied by gamma, ascending"
    )
    gamma: float = Field(gt=0)


class CosineSchedule(Section):
    """A straight rise, a plateau, then half a cosine down (with a plateau: warm-up, stable, decay; Hu 2024)."""

    kind: Literal["cosine"]
    warm_up: float = Field(ge=0, lt=1, description="share of the training in which the learning rate rises")
    hold: float = Field(ge=0, lt=1, description="share of the training after that in which it stays at its highest")
    end: Share = Field(description="the last learning rate as a share of the highest")


class OneCycleSchedule(Section):
    """Half a cosine from 1/25 up to the learning rate, and half a cosine down to nothing (Smith 2018)."""

    kind: Literal["one_cycle"]
    warm_up: float = Field(gt=0, lt=1, description="share of the training in which the learning rate rises (0.3)")


class MovingAverage(Section):
    """Exponential moving average of the weights."""

    kind: Literal["ema"]
    decay: float = Field(gt=0, lt=1, description="per step of the optimiser")


class EpochAverage(Section):
    """Plain mean of the weights at the ends of the last epochs."""

    kind: Literal["epochs"]
    last: int = Field(ge=2)


class Watch(Section):
    """mAP of valid during the training; off when valid is trained on."""

    every: int = Field(ge=1, description="epochs")
    choose: Literal["best", "last"] = Field(description="the weights that go on: of the best valid mAP, or the last")
    patience: Annotated[int, Field(ge=1)] | None = Field(
        description="the training ends when so many looks in a row brought nothing better; null for never"
    )
    metric: Literal["euclidean", "cosine"]


class Model(Section):
    """All that decides about one model."""

    seed: Seed
    soup: list[Seed] | None = Field(
        min_length=1, description="further seeds to train with; the weights of all are averaged (Wortsman 2022)"
    )
    subset: float = Field(gt=0, le=1, description="share of the training actions, from the first one on (dev kit)")
    network: Network
    input: Size
    pictures: Pictures
    sampler: IdentitySampler | ActionSampler = Field(discriminator="kind")
    loss: Loss
    optimiser: Optimiser
    schedule: StepSchedule | CosineSchedule | OneCycleSchedule = Field(discriminator="kind")
    averaging: Annotated[MovingAverage | EpochAverage, Field(discriminator="kind")] | None
    epochs: int = Field(ge=0, description="0 keeps the untrained network")
    budget: Annotated[int, Field(ge=1)] | None = Field(
        description="pictures after which the training ends, if that is before its last epoch"
    )
    watch: Watch | None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        description="auto: bf16 where the processor or GPU has it, else fp32"
    )
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = Field(
        description="mode of torch.compile (needs a C compiler); null for none"
    )
    threads: int = Field(ge=1, description="on a CPU; part of the result, because sums are split between threads")


class Embed(Section):
    batch: int = Field(ge=1, description="pictures at a time")
    views: Literal["plain", "plain+flip"] = Field(
        description="each picture as it is, or the mean of the embeddings of it and its mirror image"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    threads: int = Field(ge=1, description="on a CPU")


class Expansion(Section):
    """Query expansion: the query's mean with its nearest gallery boxes, weighted by similarity (Radenovic 2018)."""

    neighbours: int = Field(ge=1)
    alpha: float = Field(ge=0, description="power of the similarity; 0 weighs all alike")


class Reranking(Section):
    """k-reciprocal re-ranking inside each action (Zhong 2017)."""

    k1: int = Field(ge=1, description="neighbours that must be mutual (2 to 4 makes sense in an action)")
    k2: int = Field(ge=1, description="neighbours over which the sets are averaged; 1 for none")
    original: Share = Field(description="weight of the distance as it was")


class Queries(Section):
    """The queries of an action are different people, so a gallery box belongs to one of them at most."""

    kind: Literal["softmax", "sinkhorn"] = Field(description="shares of each box among the queries; or balanced too")
    temperature: float = Field(gt=0, description="in units of distance")
    rounds: int = Field(ge=1, description="of sinkhorn")
    weight: float = Field(gt=0, le=1, description="of the result; the rest is the distance as it was")


class Distances(Section):
    metric: Literal["euclidean", "cosine"]
    models: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        min_length=1, description="weight of each model whose distances are averaged; null for all alike"
    )
    scale: Literal["none", "mean"] = Field(description="mean: each model's distances of a split get the mean 1 first")
    expansion: Expansion | None
    reranking: Reranking | None
    queries: Queries | None


class Evaluate(Section):
    ranks: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="the k of rank-k; 1 is the official one"
    )
    resamples: int = Field(ge=100, le=100000, description="of the bootstrap over actions that gives the intervals")
    seed: Seed = Field(description="of the bootstrap")


class Params(Section):
    """The whole of ``params.yaml``: one section per stage."""

    download: Download
    thumbnails: Thumbnails
    train: Train
    models: dict[Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")], Model] = Field(min_length=1)
    embed: Embed
    distances: Distances
    evaluate: Evaluate

    def fused(self):
        """Weight of each model whose distances are averaged, in the order of ``models``, which is that of the sum."""
        chosen = self.distances.models or dict.fromkeys(self.models, 1.0)
        return {name: chosen[name] for name in self.models if name in chosen}

    def watched(self, model):
        """How valid is looked at while ``model`` trains: reid.params.Watch, or None."""
        return None if "valid" in self.train.splits else self.models[model].watch


_UNIONS = ("sampler", "contrast", "schedule", "averaging")  # sections of several kinds


def _where(location):
    """The place of an error as the file spells it: pydantic puts the kind of a section between it and its keys."""
    parts = [part for before, part in zip((None, *location), location, strict=False) if before not in _UNIONS]
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
    splits = params.train.splits
    if "train" not in splits or len(set(splits)) < len(splits):
        lines.append(f"train.splits: must hold train, and each split once, not {splits}")
    for name in sorted(set(params.distances.models or {}) - set(params.models)):
        lines.append(f"distances.models: there is no model {name}; there are {', '.join(params.models)}")
    reranking = params.distances.reranking
    if reranking and reranking.k2 > reranking.k1:
        lines.append("distances.reranking.k2: must not be larger than k1")
    for name, model in params.models.items():
        lines += [f"models.{name}.{line}" for line in _contradictions(model)]
    if lines:
        raise ReidError(summarise(lines, path))
    return params


def _contradictions(model):
    """What does not go together in the section of a model: a line each."""
    network, sampler, loss, optimiser = model.network, model.sampler, model.loss, model.optimiser
    pairs = [part for part in ("contrast", "triplet", "centroid") if getattr(loss, part)]
    if not pairs and not loss.softmax:
        yield "loss: contrast, triplet, centroid and softmax are all null; one must be given"
    if pairs and sampler.images == 1:
        yield f"sampler.images: must be 2 or more for loss.{pairs[0]}"
    if loss.negatives != "everything" and sampler.kind == "identity":
        yield f"loss.negatives: {loss.negatives} needs sampler.kind actions, or hardly anybody is told apart"
    if sampler.kind == "actions" and sampler.actions == 1:
        if sampler.neighbours == "game":
            yield "sampler.neighbours: game needs sampler.actions of 2 or more"
        if loss.negatives != "action" and pairs:
            yield f"loss.negatives: {loss.negatives} needs sampler.actions of 2 or more"
    if network.pooling == "token" and model.pictures.progressive:
        yield "pictures.progressive: must be null with network.pooling token, whose places are those of one size"
    if problem := catalogue.problem(network.backbone):
        yield f"network.backbone: {problem}"
    if network.weights is None:
        if optimiser.frozen_epochs:
            yield "optimiser.frozen_epochs: must be 0 without network.weights, or random layers would be kept"
        if model.soup:
            yield "soup: must be null without network.weights, for networks from scratch have nothing in common"
    if optimiser.frozen_epochs and optimiser.frozen_epochs >= model.epochs:
        yield "optimiser.frozen_epochs: must be less than epochs"
    seeds = [model.seed, *(model.soup or [])]
    if len(set(seeds)) < len(seeds):
        yield "soup: must hold each seed once, and not that of seed"
    for part in ("erasing", "patch"):
        rectangle = getattr(model.pictures, part)
        if rectangle and rectangle.smallest > rectangle.largest:
            yield f"pictures.{part}.smallest: must not be more than largest"
    if model.schedule.kind == "step" and sorted(set(model.schedule.milestones)) != model.schedule.milestones:
        yield "schedule.milestones: must be in ascending order, each once"
    if model.schedule.kind == "cosine" and model.schedule.warm_up + model.schedule.hold >= 1:
        yield "schedule.hold: must be less than 1 together with warm_up, or the learning rate never falls"
    if model.averaging and model.averaging.kind == "epochs" and model.averaging.last > model.epochs:
        yield "averaging.last: must not be more than epochs"
    if model.averaging and model.averaging.kind == "epochs":
        early = "budget" if model.budget else "watch.patience" if model.watch and model.watch.patience else None
        if early:
            yield f"averaging: epochs cannot go with {early}, for the last epochs are not known ahead"
    if model.watch and model.epochs and model.watch.every > model.epochs:
        yield "watch.every: must not be more than epochs"


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
