"""A section of ``models``: all that decides about one trained model; and of ``external_models``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from reid.params.augmentation import Augmentation
from reid.params.base import MOST_EPOCHS, MOST_THREADS, PathText, Section, Seed, Size, expanded
from reid.params.loss import Loss
from reid.params.network import Network

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
PRECISION = (
    "of convolutions and matrix products; auto: bf16 where the processor or GPU has it, else fp32; tf32: fp32 whose "
    "factors a GPU rounds to 10 bits, several times as fast there (the same as fp32 on a CPU)"
)


class MovingAverage(Section):
    """Exponential moving average of the weights."""

    kind: Literal["ema"]
    decay: float = Field(gt=0, lt=1, description="per step of the optimizer")


class EpochAverage(Section):
    """Plain mean of the weights at the ends of the last epochs."""

    kind: Literal["epochs"]
    last: int = Field(ge=2, le=MOST_EPOCHS, description="epochs")


class Validation(Section):
    """mAP of valid during the training; off when valid is trained on."""

    metric: Literal["euclidean", "cosine"] = Field(description="distance of embeddings")
    every: int = Field(1, ge=1, le=MOST_EPOCHS, description="epochs")
    select: Literal["best", "last"] = Field(
        "last", description="the checkpoint that is used: of the best mAP of valid, or the last"
    )
    patience: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = Field(
        None, description="the training ends after so many evaluations in a row without a better one; never if absent"
    )


class Model(Section):
    """All that decides about a model that is trained here."""

    seed: Seed = Field(description="of the training: weights, batches and augmentation")
    soup: list[Seed] = Field(
        [],
        max_length=100,
        description="further seeds to train with; the weights of all are averaged (Wortsman 2022)",
    )
    subset: float = Field(
        1.0, gt=0, le=1, description="share of the training actions, from the first one on (dev kit)"
    )
    network: Network
    input: Size = Field(description="of the network; the store is resized on the device where it differs")
    augmentation: Augmentation = Augmentation()
    sampler: Any = Field(description="what a batch is made of")
    loss: Loss
    optimizer: Any = Field(description="how the weights follow the gradient")
    schedule: Any = Field(None, description="of the learning rate; constant if absent")
    averaging: Annotated[MovingAverage | EpochAverage, Field(discriminator="kind")] | None = Field(
        None, description="of the weights"
    )
    precise_bn: Annotated[int, Field(ge=2, le=10**6)] | None = Field(
        None,
        description="training images, without augmentation, over which batch norms take their statistics anew before "
        "a network is scored on valid and when it is finished (Wu and Johnson 2021); those of the training if absent",
    )
    epochs: int = Field(ge=0, le=MOST_EPOCHS, description="0 keeps the untrained network")
    max_images: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        None, description="images after which the training ends, if that is before its last epoch"
    )
    validation: Validation | None = None
    precision: Precision = Field("fp32", description=PRECISION)
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = Field(
        None, description="mode of torch.compile (needs a C compiler)"
    )
    chunk: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="images that go through the network at a time (GradCache, Gao 2021): the loss is that of the "
        "whole batch, at the memory of a chunk and one more forward pass; all at once if absent",
    )
    batch_multiple: int = Field(
        1,
        ge=1,
        le=1024,
        description="batches are filled up to a multiple of it with images of their own, so that compiled networks "
        "meet few sizes; no loss sees these, batch norms count them",
    )
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs, or processes on a CPU, that share each batch; part of the result, because of how sums are "
        "split",
    )
    threads: int = Field(
        1, ge=1, le=MOST_THREADS, description="on a CPU; part of the result, because sums are split between threads"
    )


class ExternalModel(Section):
    """Embeddings made elsewhere, which are fused, scored and submitted like those of a trained model. They count as
    trained on what train.splits names, so name there what they have seen.
    """

    folder: PathText = Field(
        description="holds {split}.npy (floats, N x D, row i is row i of the index) or {split}.parquet (columns role, "
        "bbox_idx, embedding; any order) for valid, test and challenge",
    )

    def place(self) -> Path:
        """The folder, its ``~`` expanded."""
        return expanded(self.folder)
