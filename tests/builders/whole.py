"""Whole parameter files for tests: one with nothing that may be left out, and one with every part on."""

import copy
import functools
import re

import pytest
from ruamel.yaml import YAML

from reid.core.errors import ReidError
from reid.params import check_params

MINIMAL = """
download: {source: synthetic, synthetic: {seed: 1, actions: {train: 4, valid: 2, test: 2, challenge: 2}}}
thumbnails: {height: 32, width: 16}
train: {splits: [train]}
models:
  one:
    seed: 1
    network: {backbone: resnet18}
    input: {height: 32, width: 16}
    sampler: {kind: identity, identities: 8, instances: 4}
    loss: {triplet: {margin: 0.3}}
    optimizer: {kind: adam, learning_rate: 0.001}
    epochs: 2
embed: {batch_size: 100}
distances: {metric: euclidean}
evaluate: {ranks: [1], resamples: 100, seed: 1}
"""
# Every part on, and every key given that can go with the others.
FULL = """
download:
  source: synthetic
  path: somewhere
  sha256: {}
  synthetic: {seed: 1, actions: {train: 4, valid: 2, test: 2, challenge: 2}}
thumbnails: {height: 32, width: 16, fit: stretch, interpolation: bilinear}
train: {splits: [train], classes: [player]}
models:
  one:
    seed: 1
    network: {backbone: resnet18, init: {dirac: true, whitened_stem: true}, pooling: {kind: gem, power: 3.0}}
    input: {height: 32, width: 16}
    augmentation:
      flip: {probability: 0.5}
    sampler: {kind: identity, identities: 8, instances: 4}
    loss:
      id: {weight: 1.0, label_smoothing: 0.1, over: all}
    optimizer: {kind: muon, learning_rate: 0.03, adamw_learning_rate: 0.001, momentum: 0.95, precision: fp32}
    schedule: {kind: step, milestones: [1], gamma: 0.1}
    averaging: {kind: epochs, last: 2}
    precise_bn: 100
    epochs: 2
    precision: fp32
    threads: 1
  two:
    seed: 1
    soup: [2, 3]
    subset: 1.0
    network:
      backbone: resnet18
      weights: some.pth
      mean: [0.5, 0.5, 0.5]
      std: [0.2, 0.2, 0.2]
      last_stride: 2
      pooling: {kind: average}
      projection: {width: 64, kind: linear}
      bnneck: true
      drop_path: 0.1
      checkpointing: true
    input: {height: 32, width: 16}
    augmentation:
      progressive_resizing: {scale: 0.5, until: 0.5}
      flip: {probability: 0.5}
      crop: {probability: 0.5, margin: 0.1}
      perspective: {probability: 0.5, distortion: 0.5}
      downscale: {probability: 0.5, smallest: 0.5}
      blur: {probability: 0.5, sigma: 1.0}
      color_jitter: {brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.0}
      rand_augment: {operations: 2, magnitude: 0.3}
      random_grey_patch: {probability: 0.5, smallest: 0.02, largest: 0.4}
      random_patch: {probability: 0.5, smallest: 0.02, largest: 0.4}
      random_erasing: {probability: 0.5, smallest: 0.02, largest: 0.4}
    sampler: {kind: actions, actions: 2, identities: 4, instances: 2, neighbours: any}
    loss:
      negatives: batch
      supcon: {weight: 1.0, temperature: 0.05, learn_temperature: true, label_smoothing: 0.1}
      ntxent: {weight: 1.0, temperature: 0.05, learn_temperature: true, label_smoothing: 0.1}
      multi_similarity: {weight: 1.0, alpha: 2.0, beta: 50.0, base: 0.5, epsilon: 0.1}
      circle: {weight: 1.0, margin: 0.4, gamma: 80.0}
      triplet: {weight: 1.0, margin: 0.3, mining: hard}
      contrastive: {weight: 1.0, margin: 1.0, positive_margin: 0.1}
      centroid: {weight: 1.0, temperature: 0.1}
      id: {weight: 1.0, label_smoothing: 0.1, over: all}
      arcface: {weight: 1.0, scale: 30.0, margin: 0.5}
    optimizer:
      kind: adam
      learning_rate: 0.001
      weight_decay: 0.0005
      layer_decay: 1.0
      bias_scale: 64.0
      clip_norm: 1.0
      accumulation: 1
      frozen_epochs: 1
      lookahead: {steps: 5, alpha: 0.5}
    schedule: {kind: cosine, warmup: 0.1, hold: 0.05, end: 0.0}
    averaging: {kind: ema, decay: 0.99}
    epochs: 4
    max_images: 1000
    validation: {metric: cosine, every: 1, select: best, patience: 2}
    precision: fp32
    compile: default
    chunk: 8
    batch_multiple: 4
    devices: 2
    threads: 1
external_models:
  elsewhere: {folder: somewhere/else}
embed: {batch_size: 100, flip_test: false, precision: fp32, threads: 1}
distances:
  metric: cosine
  models: {one: 1.0, two: 1.0, elsewhere: 1.0}
  scale: none
  fusion: mean
  postprocessing:
    whitening: {over: split, shrinkage: 0.5}
    query_expansion: {neighbours: 1, alpha: 1.0}
    reranking: {k1: 3, k2: 2, lambda: 0.5}
    sinkhorn: {temperature: 0.1, iterations: 1, weight: 1.0}
evaluate: {ranks: [1, 5, 10], resamples: 2000, seed: 1}
"""


@functools.cache
def _loaded(text):
    return YAML(typ="safe", pure=True).load(text)


def load(text):
    """What a YAML text holds, as parameter files are read; the caller's own, to change."""
    return copy.deepcopy(_loaded(text))  # a thousand tests begin with it, and reading takes 0.1 s


def at(content, place):
    """The section that holds the last part of a dotted place, and that part."""
    *sections, key = place.split(".")
    for section in sections:
        content = content[section]
    return content, key


def changed(content, place, value):
    """``content`` itself with another value at a dotted place."""
    section, key = at(content, place)
    section[key] = value
    return content


def without(content, place):
    """``content`` itself without what is at a dotted place."""
    section, key = at(content, place)
    del section[key]
    return content


def places(content, before=""):
    """Every dotted place of a file with its value: sections and values."""
    for key, value in content.items():
        yield f"{before}{key}", value
        if isinstance(value, dict):
            yield from places(value, f"{before}{key}.")


def fails(content, *lines, problems=None):
    """Check that a file is refused with these beginnings of lines, and this number of lines; the message."""
    with pytest.raises(ReidError) as caught:
        check_params(content, "some/params.yaml")
    message = str(caught.value)
    assert re.match(r"some/params.yaml: \d+ problem", message)
    for line in lines:
        assert f"\n  - {line}" in message, message
    if problems:
        assert message.count("\n  - ") == problems, message
    return message
