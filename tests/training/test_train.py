"""A training from beginning to end: how long, which weights are averaged, which are selected, what is told."""

import numpy as np
import pytest
import torch

from builders.model import model
from builders.training import CHEAP, HEIGHT, WIDTH, equal, league, trained, trainer_of, weights
from reid.models.embedder import Embedder
from reid.training import trainer as training

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "device")


def cheap(changes, **more):
    return trained({**CHEAP, **changes}, **more)


# ---- from seed to network


def test_the_same_seed_gives_the_same_arrays_to_the_bit_and_another_seed_others():
    first, second, other = (weights(trained({"seed": seed}, league(actions=2)).selected) for seed in (1, 1, 2))
    assert equal(first, second)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("conv1.weight"))


def test_loss_falls_and_each_epoch_is_reported_in_order():
    reports = []
    changes = {"epochs": 5, "schedule": None}
    network = trained(changes, on_epoch=lambda number, epoch: reports.append((number, epoch))).selected
    assert [number for number, _ in reports] == list(range(5))
    assert all(set(epoch.losses) == {"loss", "triplet", "id"} for _, epoch in reports)
    assert all(epoch.images == 40 and epoch.seconds > 0 for _, epoch in reports)
    losses = [epoch.losses["loss"] for _, epoch in reports]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    assert not network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


def test_no_epochs_keep_the_untrained_network():
    network = trained({"epochs": 0}, on_epoch=lambda *_: pytest.fail("there is no epoch")).selected
    params = model()
    torch.manual_seed(params.seed)
    assert equal(weights(network), weights(Embedder(params.network, (HEIGHT, WIDTH))))
    assert not network.training


def test_init_is_where_the_training_begins():
    torch.manual_seed(9)
    init = weights(Embedder(model(CHEAP).network, (HEIGHT, WIDTH)))
    assert equal(weights(cheap({"epochs": 0}, init=init).selected), init)


def test_summary_tells_size_and_cost():
    summary = cheap({"epochs": 1}).summary
    network = Embedder(model(CHEAP).network, (HEIGHT, WIDTH))
    assert summary["parameters"] == sum(p.numel() for p in network.parameters())
    macs = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            size = module.weight[0].numel()
            module.register_forward_hook(lambda m, _, y, size=size: macs.append(size * y[0].numel()))
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda m, _, y: macs.append(m.weight[0].numel() * y[0].numel()))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, HEIGHT, WIDTH))
    assert summary["flops"] == 2 * sum(macs)
    assert summary["backbone"] == CHEAP["network.backbone"]
    assert summary["identities"] == 20 and summary["thumbnails"] == 40


# ---- averages


def snapshots(changes, monkeypatch):
    """Raw weights after each update of a training, and the epoch of each, with what the training ends in."""
    steps = []
    update = training.Trainer._update

    def noted(trainer):
        update(trainer)
        steps.append((trainer.epoch, weights(trainer.network)))

    monkeypatch.setattr(training.Trainer, "_update", noted)
    return steps, cheap(changes)


def test_moving_average_is_the_naive_one(monkeypatch):
    steps, ended = snapshots({"averaging": {"kind": "ema", "decay": 0.7}}, monkeypatch)
    mean = steps[0][1]
    for _, step in steps[1:]:
        mean = {name: 0.7 * mean[name] + 0.3 * value for name, value in step.items()}
    for name, value in ended.last.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, mean[name], atol=1e-5, rtol=1e-4)
    assert not equal(weights(ended.last), steps[-1][1])


def test_average_of_the_last_epochs_is_their_plain_mean(monkeypatch):
    steps, ended = snapshots({"epochs": 4, "averaging": {"kind": "epochs", "last": 3}}, monkeypatch)
    ends = [dict(steps)[epoch] for epoch in (1, 2, 3)]
    for name, value in ended.last.state_dict().items():
        if value.is_floating_point():
            mean = sum(end[name].double() for end in ends) / 3
            torch.testing.assert_close(value.double(), mean, atol=1e-5, rtol=1e-4)


def test_soup_is_the_mean_of_its_seeds():
    torch.manual_seed(3)
    init = weights(Embedder(model(CHEAP).network, (HEIGHT, WIDTH)))
    alone = [cheap({"seed": seed}, init=init).last.state_dict() for seed in (1, 5, 6)]
    epochs = []
    named = {"soup": [5, 6], "network.weights": "any.pth"}
    soup = cheap(named, init=init, on_epoch=lambda number, epoch: epochs.append(number))
    for name, value in soup.selected.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(part[name] for part in alone) / 3)
    assert epochs == list(range(6))
    assert [seed["seed"] for seed in soup.summary["seeds"]] == [1, 5, 6]


# ---- how long


@pytest.mark.parametrize("max_images, images", [(1, 16), (40, 40), (41, 56), (1000, 80)])
def test_training_ends_after_so_many_images(max_images, images):
    rates = []
    changes = {"max_images": max_images, "schedule": {"kind": "cosine"}}
    ended = cheap(changes, on_epoch=lambda number, epoch: rates.append(epoch.learning_rate))
    assert ended.summary["seeds"][0]["images"] == images
    assert len(rates) == (1 if images <= 40 else 2)


def test_schedule_spans_the_images_of_a_training_that_they_end():
    trainer = trainer_of({**CHEAP, "epochs": 50, "max_images": 64, "schedule": {"kind": "cosine"}})
    rates = []
    while trainer.progress < 1:
        seen = trainer.seen
        trainer.step()
        rates.append((seen, trainer.rate))
        if trainer.epoch_is_over:
            trainer.end_epoch()
    for seen, rate in rates:
        assert rate == pytest.approx(0.001 * (1 + np.cos(np.pi * min(seen / 64, 1))) / 2)
    assert len(rates) == 5  # 16, 16, 8 images of an epoch, then 16 and 16 until 64 are reached


# ---- validation


class Script:
    """A validator that gives scores out of a list, and keeps the weights that it was shown."""

    def __init__(self, scores):
        self.scores, self.shown = list(scores), []

    def score(self, network, dtype):
        self.shown.append(weights(network))
        return self.scores[len(self.shown) - 1]


def validation(**changes):
    return {"select": "best", "metric": "cosine", **changes}


def test_best_and_last_are_kept_apart():
    validator = Script([0.3, 0.5, 0.5, 0.2])
    valid = []
    changes = {"epochs": 4, "validation": validation()}
    ended = cheap(changes, validator=validator, on_epoch=lambda _, epoch: valid.append(epoch.valid))
    assert valid == [{"mAP": score} for score in validator.scores]
    assert equal(weights(ended.selected), validator.shown[1])
    assert equal(weights(ended.last), validator.shown[3])
    assert ended.summary["seeds"][0]["best"] == {"mAP": 0.5, "epoch": 2, "weights": "raw"}


def test_validation_changes_nothing_but_the_selection():
    plain = cheap({"epochs": 3})
    validated = cheap({"epochs": 3, "validation": validation(select="last")}, validator=Script([0.9, 0.1, 0.1]))
    assert equal(weights(plain.last), weights(validated.last))
    assert equal(weights(validated.selected), weights(validated.last))


def test_averaged_weights_are_scored_beside_the_raw_ones():
    validator = Script([0.1, 0.2, 0.3, 0.6, 0.4, 0.5])
    valid = []
    changes = {"epochs": 3, "validation": validation(), "averaging": {"kind": "ema", "decay": 0.9}}
    ended = cheap(changes, validator=validator, on_epoch=lambda _, epoch: valid.append(epoch.valid))
    assert valid[1] == {"mAP": 0.3, "mAP_averaged": 0.6}
    assert equal(weights(ended.selected), validator.shown[3])
    assert ended.summary["seeds"][0]["best"] == {"mAP": 0.6, "epoch": 2, "weights": "averaged"}
    assert equal(weights(ended.last), validator.shown[5])


@pytest.mark.parametrize(
    "every, patience, scores, epochs",
    [(1, 2, [0.5, 0.6, 0.6, 0.5, 0.9], 4), (2, 1, [0.5, 0.4, 0.9], 4), (3, None, [0.1, 0.1], 5)],
)
def test_training_ends_when_nothing_got_better(every, patience, scores, epochs):
    evaluated = []
    cheap(
        {"epochs": 5, "validation": validation(every=every, patience=patience)},
        validator=Script(scores),
        on_epoch=lambda number, epoch: evaluated.append(bool(epoch.valid)),
    )
    assert len(evaluated) == epochs
    assert [number + 1 for number, done in enumerate(evaluated) if done] == [
        number for number in range(1, epochs + 1) if number % every == 0 or number == epochs
    ]
