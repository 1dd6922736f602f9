"""Parameter files: every parameter, its type, range and meaning, and the lists that extensions add to.

Not here: what the parameters do. Nothing imports PyTorch.
"""

from pydantic import Field

from reid.params.augmentation import Step as AugmentationStep
from reid.params.base import Section, Share
from reid.params.loss import WeightedLoss
from reid.params.optimizer import Optimizer
from reid.params.ranking import Step as PostprocessingStep
from reid.params.reading import check_params, model_params, read_params
from reid.params.registries import (
    AUGMENTATIONS,
    BACKBONES,
    LOSSES,
    OPTIMIZERS,
    POOLINGS,
    POSTPROCESSING,
    SAMPLERS,
    SCHEDULES,
)

__all__ = [
    "AUGMENTATIONS",
    "BACKBONES",
    "LOSSES",
    "OPTIMIZERS",
    "POOLINGS",
    "POSTPROCESSING",
    "SAMPLERS",
    "SCHEDULES",
    "AugmentationStep",
    "Field",
    "Optimizer",
    "PostprocessingStep",
    "Section",
    "Share",
    "WeightedLoss",
    "check_params",
    "model_params",
    "read_params",
]
