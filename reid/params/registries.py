"""The open lists: parts that a parameter file names, and that ``extensions/`` may add to."""

from reid.core.registry import Registry
from reid.params.base import Section

BACKBONES = Registry("backbone")
POOLINGS = Registry("pooling")
AUGMENTATIONS = Registry("augmentation")
SAMPLERS = Registry("sampler")
LOSSES = Registry("loss")
OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("schedule")
POSTPROCESSING = Registry("post-processing step")

ALL = (BACKBONES, POOLINGS, AUGMENTATIONS, SAMPLERS, LOSSES, OPTIMIZERS, SCHEDULES, POSTPROCESSING)

for _registry in ALL:
    _registry.base = Section
