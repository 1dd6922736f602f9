"""What does not go together in a parameter file though each value is right by itself."""

import math
from collections.abc import Iterator

from reid.params import backbones
from reid.params.augmentation import Rectangle
from reid.params.loss import LEAST_LEARNED, Contrast, Contrastive
from reid.params.model import EpochAverage, Model
from reid.params.optimizer import Muon
from reid.params.ranking import Reranking, Step
from reid.params.registries import AUGMENTATIONS, LOSSES, POSTPROCESSING
from reid.params.sampler import ActionSampler, IdentitySampler, RandomSampler
from reid.params.schedule import CosineSchedule, StepSchedule
from reid.params.schema import Params, parts

MOST_IMAGES = 100_000  # of a batch; the losses compare each with each


def contradictions(params: Params) -> Iterator[str]:
    """What does not go together: a line each, with the place."""
    download = params.download
    if download.source == "local" and download.path is None:
        yield "download.path: must name a folder when download.source is local"
    if download.source == "synthetic" and download.synthetic is None:
        yield "download.synthetic: is missing; download.source is synthetic"
    if 1 not in params.evaluate.ranks:
        yield "evaluate.ranks: must hold 1, the official measure"
    splits = params.train.splits
    if "train" not in splits or len(set(splits)) < len(splits):
        yield f"train.splits: must hold train, and each split once, not {splits}"
    names = [*params.models, *params.external_models]
    if not names:
        yield "models: there is none; name one here or in external_models"
    for name in sorted(set(params.models) & set(params.external_models)):
        yield f"external_models.{name}: models has a {name} too; use another name"
    for name in sorted(set(params.distances.models) - set(names)):
        yield f"distances.models: there is no model {name}; there are {', '.join(names)}"
    for line in _of_postprocessing(params):
        yield f"distances.postprocessing.{line}"
    for name, model in params.models.items():
        for part in (_of_sampler, _of_loss, _of_network, _of_augmentation, _of_training):
            for line in part(model):
                yield f"models.{name}.{line}"


def _of_postprocessing(params: Params) -> Iterator[str]:
    steps: dict[str, Step] = parts(params.distances.postprocessing, POSTPROCESSING)
    reranking = steps.get("reranking")
    if isinstance(reranking, Reranking) and reranking.k2 > reranking.k1:
        yield "reranking.k2: must not be larger than k1"
    several = [name for name, step in steps.items() if step.stage == "boxes"]
    if len(several) > 1:
        yield f"{several[1]}: cannot follow {several[0]}, after which the distances between all boxes are gone"
    if several and params.distances.fusion == "rank":
        yield f"{several[0]}: cannot go with distances.fusion rank, which leaves no distances; use mean"
    if "dual_softmax" in steps and "sinkhorn" in steps:
        yield "sinkhorn: cannot go with dual_softmax, for both divide the gallery boxes among the queries; keep one"


def _of_sampler(model: Model) -> Iterator[str]:
    sizes = [getattr(model.sampler, key, None) for key in ("actions", "identities", "instances")]
    images = math.prod(size for size in sizes if isinstance(size, int))
    if images > MOST_IMAGES:
        yield f"sampler: asks for {images:,} images a batch; {MOST_IMAGES:,} are the most"


def _of_loss(model: Model) -> Iterator[str]:
    losses, sampler = parts(model.loss, LOSSES), model.sampler
    pairs = [name for name, part in losses.items() if part.pairs]
    if not losses:
        yield f"loss: none is named; one must be given of {', '.join(LOSSES)}"
    if pairs and getattr(sampler, "instances", None) == 1:
        yield f"sampler.instances: must be 2 or more for loss.{pairs[0]}"
    yield from _of_memory(model, pairs)
    for name, part in losses.items():
        if isinstance(part, Contrast) and part.learn_temperature and part.temperature < LEAST_LEARNED:
            yield f"loss.{name}.temperature: must be {LEAST_LEARNED} or more with learn_temperature"
        if isinstance(part, Contrastive) and part.positive_margin >= part.margin:
            yield f"loss.{name}.positive_margin: must be less than margin"
    own_sampler = isinstance(sampler, IdentitySampler | ActionSampler | RandomSampler)
    if "info_nce" in losses and own_sampler and getattr(sampler, "instances", None) not in (1, 2):
        yield "loss.info_nce: needs a sampler with instances of 2, for it compares one pair of images per identity"
    if model.loss.negatives != "batch" and isinstance(sampler, IdentitySampler | RandomSampler):
        yield f"loss.negatives: {model.loss.negatives} needs sampler.kind actions, or there are hardly any negatives"
    if isinstance(sampler, ActionSampler) and sampler.actions == 1:
        if sampler.neighbours == "game":
            yield "sampler.neighbours: game needs sampler.actions of 2 or more"
        if model.loss.negatives == "action+games" and pairs:
            yield f"loss.negatives: {model.loss.negatives} needs sampler.actions of 2 or more"


def _of_memory(model: Model, pairs: list[str]) -> Iterator[str]:
    """What contradicts ``loss.memory``; ``pairs`` are the names of the losses over pairs."""
    if model.loss.memory is None:
        return
    if not pairs:
        yield "loss.memory: needs a loss over pairs, whose positives and negatives it holds"
    for name in pairs:
        if not LOSSES.params(name).references:  # type: ignore[attr-defined]
            yield f"loss.memory: cannot go with loss.{name}, which compares the images of a batch alone"
    if model.loss.negatives == "action":
        yield "loss.memory: cannot go with loss.negatives action, for other batches hold other actions"


def _of_network(model: Model) -> Iterator[str]:
    network, optimizer = model.network, model.optimizer
    if network.pooling.kind == "token" and model.augmentation.progressive_resizing:
        yield (
            "augmentation.progressive_resizing: cannot go with network.pooling token, whose places are those of one "
            "size; leave it out"
        )
    if problem := backbones.problem(network.backbone_name):
        yield f"network.backbone: {problem}"
    if network.weights is None:
        if optimizer.frozen_epochs:
            yield "optimizer.frozen_epochs: must be 0 without network.weights, or random layers would be kept"
        if model.soup:
            yield "soup: must be left out without network.weights, for networks from scratch have nothing in common"
    elif network.init:
        yield "network.init: must be left out with network.weights, which take its place"
    if optimizer.frozen_epochs and optimizer.frozen_epochs >= model.epochs:
        yield "optimizer.frozen_epochs: must be less than epochs"


def _of_augmentation(model: Model) -> Iterator[str]:
    for name, part in parts(model.augmentation, AUGMENTATIONS).items():
        if isinstance(part, Rectangle) and part.smallest > part.largest:
            yield f"augmentation.{name}.smallest: must not be more than largest"


def _of_training(model: Model) -> Iterator[str]:
    schedule, averaging, validation = model.schedule, model.averaging, model.validation
    seeds = [model.seed, *model.soup]
    if len(set(seeds)) < len(seeds):
        yield "soup: must hold each seed once, and not that of seed"
    if model.soup and not model.epochs:
        yield "soup: must be left out when epochs is 0, for there is nothing to average"
    if model.compile in ("reduce-overhead", "max-autotune"):
        several = {"chunk": bool(model.chunk), "optimizer.accumulation": model.optimizer.accumulation > 1}
        for name in (name for name, given in several.items() if given):
            yield f"{name}: cannot go with compile {model.compile}, which keeps no result over two calls; use default"
    if isinstance(model.optimizer, Muon) and model.optimizer.precision == "fp32" and model.precision == "tf32":
        yield "optimizer.precision: fp32 cannot go with precision tf32, whose products are too coarse; use bf16"
    if model.precise_bn and model.precise_bn < model.devices:
        yield "precise_bn: must not be less than devices, which share these images"
    if isinstance(schedule, StepSchedule) and sorted(set(schedule.milestones)) != schedule.milestones:
        yield "schedule.milestones: must be in ascending order, each once"
    if isinstance(schedule, CosineSchedule) and schedule.warmup + schedule.hold >= 1:
        yield "schedule.hold: must be less than 1 together with warmup, or the learning rate never falls"
    if isinstance(averaging, EpochAverage):
        if averaging.last > model.epochs:
            yield "averaging.last: must not be more than epochs"
        early = "max_images" if model.max_images else None
        early = early or ("validation.patience" if validation and validation.patience else None)
        if early:
            yield f"averaging: epochs cannot go with {early}, for the last epochs are not known ahead"
    if validation and model.epochs and validation.every > model.epochs:
        yield "validation.every: must not be more than epochs"
