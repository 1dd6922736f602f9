"""Batches on their way to the network: the same whoever makes them ready, and no random number lost."""

import numpy as np
import pytest
import torch

from builders.model import model
from builders.training import equal, league, trained, weights
from reid.training import trainer as training
from reid.training.augmentation import Augment
from reid.training.dataset import Images
from reid.training.feed import Feed, Order

CHANGES = {
    "augmentation.crop": {"probability": 0.5, "margin": 0.1},
    "augmentation.color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "augmentation.random_erasing": {"probability": 0.5, "smallest": 0.02, "largest": 0.4},
}
CPU = torch.device("cpu")


def feed_of(whole, multiple=1):
    _, store = league()
    labels = np.stack([np.arange(len(store))] * 3)
    augment = Augment(model(CHANGES).augmentation, (32, 16))
    generator = torch.Generator().manual_seed(3)
    return Feed(Images([store]), labels, augment, lambda x: x, generator, multiple, CPU, whole)


def orders(count=6):
    rng = np.random.default_rng(0)
    return [Order(rng.integers(40, size=int(size)), 0.5) for size in rng.integers(3, 9, size=count)]


def run(feed, batches):
    following = [*batches[1:], None]
    return [feed.get(order, after) for order, after in zip(batches, following, strict=True)]


def test_batches_made_ahead_are_those_made_in_turn():
    for ahead, in_turn in zip(run(feed_of(True), orders()), run(feed_of(False), orders()), strict=True):
        assert torch.equal(ahead[0], in_turn[0]) and torch.equal(ahead[1], in_turn[1])


@pytest.mark.parametrize("whole", [True, False])
def test_each_image_goes_with_its_labels(whole):
    for order, (x, labels) in zip(orders(), run(feed_of(whole), orders()), strict=True):
        assert len(x) == len(order.rows) and labels.tolist() == [order.rows.tolist()] * 3


@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_a_batch_is_filled_up_with_its_own_images(multiple):
    for order, (x, labels) in zip(orders(), run(feed_of(False, multiple), orders()), strict=True):
        count = len(order.rows)
        assert len(x) % multiple == 0 and 0 <= len(x) - count < multiple and labels.shape[1] == count
        for place in range(count, len(x)):
            assert torch.equal(x[place], x[(place - count) % count])


@pytest.mark.parametrize("whole", [True, False])
def test_state_is_that_before_the_batch_that_is_coming(whole):
    batches = orders()
    every = run(feed_of(whole), batches)
    feed = feed_of(whole)
    for place in range(3):
        feed.get(batches[place], batches[place + 1])
    state = feed.state()
    feed.restart()  # forgets the batch that is coming, and its random numbers
    other = feed_of(whole)
    other.restart(state)
    for x, resumed, again in zip(every[3:], run(other, batches[3:]), run(feed, batches[3:]), strict=True):
        assert torch.equal(x[0], resumed[0]) and torch.equal(x[0], again[0])


def test_a_training_ends_in_the_same_bytes_whoever_changes_its_images(monkeypatch, torch_as_it_was):
    changes = CHANGES | {"max_images": 60, "augmentation.progressive_resizing": {"scale": 0.75, "until": 0.6}}
    plain = weights(trained(changes).last)
    monkeypatch.setattr(training, "Feed", lambda *args: Feed(*args, whole=True))
    assert equal(plain, weights(trained(changes).last))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="counts how often a GPU is waited for; there is none")
@pytest.mark.parametrize("changes", [{}, {"loss": {"negatives": "action", "supcon": {"temperature": 0.05}}}])
def test_a_step_waits_for_nothing(changes, torch_as_it_was):
    from builders.training import trainer_of

    trainer = trainer_of(CHANGES | changes | {"averaging": {"kind": "ema", "decay": 0.9}, "epochs": 9}, league(30))
    trainer.step()  # the first one makes buffers and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            assert not trainer.epoch_is_over
            trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
