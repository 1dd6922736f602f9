"""What a training may be asked for beside its network and losses, each against a plain version of itself."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch
from small import model

from reid import training
from reid.errors import ReidError
from reid.networks import Embedder
from reid.trainset import Pictures, select_people

pytestmark = pytest.mark.usefixtures("torch_as_it_was")

HEIGHT, WIDTH = 32, 16
CHEAP = {"network.backbone": "osnet_x0_25", "schedule.milestones": []}


def league(actions=5, people=4, images=2, game="game"):
    """An index of a labelled split and a picture per row: its person's colour and noise."""
    person = np.repeat(np.arange(actions * people), images)
    rng = np.random.default_rng(actions)
    role = np.where(np.arange(len(person)) % images == 0, "query", "gallery")
    table = pa.table(
        {
            "role": role,
            "bbox_idx": pa.array(np.arange(len(person)), pa.int32()),
            "action_idx": pa.array(person // people, pa.int32()),
            "person_uid": pa.array(person, pa.int32()),
            **{level: pa.array([level] * len(person)) for level in ("championship", "season")},
            "game": pa.array([f"{game} {number // people // 2}" for number in person.tolist()]),
        }
    )
    colours = rng.integers(0, 200, (actions * people, 1, 1, 3))
    return table, (colours[person] + rng.integers(0, 40, (len(person), HEIGHT, WIDTH, 3))).astype(np.uint8)


def train(changes, watcher=None, start=None, **more):
    table, store = league()
    params = model({**CHEAP, **changes})
    people = select_people([table], params.subset)
    return training.train(people, Pictures([store]), params, start, watcher, progress=False, **more)


def trainer_of(changes):
    table, store = league()
    params = model({**CHEAP, **changes})
    return training.Trainer(select_people([table], params.subset), Pictures([store]), params)


def weights(network):
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


# ---- averages


def snapshots(changes, monkeypatch):
    """Raw weights after each update of a training, and the epoch of each, with what the training ends in."""
    found = []
    update = training.Trainer._update

    def noted(trainer):
        update(trainer)
        found.append((trainer.epoch, weights(trainer.network)))

    monkeypatch.setattr(training.Trainer, "_update", noted)
    return found, train(changes)


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
    start = weights(Embedder(model(CHEAP).network, (HEIGHT, WIDTH)))
    alone = [train({"seed": seed}, start=start).last.state_dict() for seed in (1, 5, 6)]
    steps = []
    named = {"soup": [5, 6], "network.weights": "any.pth"}
    soup = train(named, start=start, on_epoch=lambda number, step: steps.append(number))
    for name, value in soup.chosen.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(part[name] for part in alone) / 3)
    assert steps == list(range(6))
    assert [seed["seed"] for seed in soup.summary["seeds"]] == [1, 5, 6]


# ---- the optimiser's steps


def test_accumulated_gradients_are_those_of_both_batches_before_the_step():
    changes = {"optimiser.accumulate": 2, "optimiser.kind": "sgd", "optimiser.weight_decay": 0.0}
    trainer = trainer_of(changes)
    before = copy.deepcopy(trainer.network)
    trainer.step()
    assert equal(weights(before.neck), weights(trainer.network.neck))
    parameters = dict(before.named_parameters())
    assert all(torch.equal(p, parameters[name]) for name, p in trainer.network.named_parameters())
    first = {name: p.grad.clone() for name, p in trainer.network.named_parameters()}
    trainer.optimiser.step, seen = lambda: None, {}
    zero = trainer.optimiser.zero_grad

    def kept():
        seen.update({name: p.grad.clone() for name, p in trainer.network.named_parameters()})
        zero()

    trainer.optimiser.zero_grad = kept
    trainer.step()
    other = trainer_of({**changes, "optimiser.accumulate": 1})
    other.network.load_state_dict(trainer.network.state_dict())
    other.draws.set_state(trainer.draws.get_state())
    assert seen and any(not torch.equal(first[name], seen[name]) for name in seen)
    assert trainer.batch == 2


def test_accumulation_is_the_mean_of_the_batches_gradients():
    """With the same pictures twice, two batches and one step are one batch and one step."""
    found = []
    for accumulate in (1, 2):
        trainer = trainer_of({"optimiser.accumulate": accumulate, "pictures.flip": 0.0, "loss.softmax": None})
        trainer.batches = [trainer.batches[0]] * accumulate + trainer.batches[accumulate:]
        trainer.network.eval()  # running statistics would differ
        for _ in range(accumulate):
            trainer.step()
        found.append(weights(trainer.network))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_gradients_are_clipped_to_their_norm(clip):
    trainer = trainer_of({"optimiser.clip": clip})
    norms, step = [], trainer.scaler.step

    def noted(optimiser):
        norms.append(float(torch.cat([p.grad.flatten() for p in trainer.trained if p.grad is not None]).norm()))
        return step(optimiser)

    trainer.scaler.step = noted
    for _ in range(3):
        trainer.step()
    assert all(norm == pytest.approx(clip, rel=1e-3) if clip < 1 else norm < clip for norm in norms)
    assert len(norms) == 3


def test_training_begins_on_smaller_pictures():
    changes = {"network.backbone": "resnet18", "pictures.progressive": {"scale": 0.75, "until": 0.5}, "epochs": 3}
    trainer = trainer_of(changes)
    seen, wanted, features = [], [], trainer.features
    trainer.features = lambda x: (seen.append(tuple(x.shape[2:])), features(x))[1]
    while trainer.progress < 1:
        wanted.append((24, 12) if trainer.epoch + trainer.batch / len(trainer.batches) < 1.5 else (32, 16))
        trainer.step()
        if trainer.epoch_is_over:
            trainer.end_epoch()
    assert seen == wanted and len(set(seen)) == 2


def test_backbone_of_one_size_cannot_begin_on_smaller_pictures():
    swin = {"network.backbone": "timm/swin_tiny_patch4_window7_224", "input": {"height": 64, "width": 64}}
    with pytest.raises(ReidError, match=r"pictures.progressive: timm/swin_tiny\S+ .* does not take pictures of 48x48"):
        trainer_of({**swin, "pictures.progressive": {"scale": 0.75, "until": 0.5}})


def test_frozen_backbone_stays_as_it_is_and_thaws():
    changes = {
        "network.weights": "any.pth",
        "network.projection": {"width": 8, "kind": "linear"},
        "optimiser.frozen_epochs": 1,
    }
    trainer = trainer_of(changes)
    before = weights(trainer.network)

    def moved():
        now = weights(trainer.network)
        return {name.split(".")[0] for name in now if not torch.equal(before[name], now[name])}

    while not trainer.epoch_is_over:
        trainer.step()
    assert moved() == {"projection"}
    trainer.end_epoch()
    trainer.step()
    assert moved() == {"backbone", "projection"}


# ---- how long


@pytest.mark.parametrize("budget, pictures", [(1, 16), (40, 40), (41, 56), (1000, 80)])
def test_training_ends_after_so_many_pictures(budget, pictures):
    rates = []
    changes = {"budget": budget, "schedule": {"kind": "cosine", "warm_up": 0.0, "hold": 0.0, "end": 0.0}}
    found = train(changes, on_epoch=lambda number, step: rates.append(step.learning_rate))
    assert found.summary["seeds"][0]["pictures"] == pictures
    assert len(rates) == (1 if pictures <= 40 else 2)


def test_schedule_spans_the_budget():
    trainer = trainer_of(
        {"epochs": 50, "budget": 64, "schedule": {"kind": "cosine", "warm_up": 0.0, "hold": 0.0, "end": 0.0}}
    )
    rates = []
    while trainer.progress < 1:
        seen = trainer.seen
        trainer.step()
        rates.append((seen, trainer.rate))
        if trainer.epoch_is_over:
            trainer.end_epoch()
    for seen, rate in rates:
        assert rate == pytest.approx(0.001 * (1 + np.cos(np.pi * min(seen / 64, 1))) / 2)
    assert len(rates) == 5  # 16, 16, 8 pictures of an epoch, then 16 and 16 until 64 are reached


# ---- watching


class Script:
    """A watcher that gives scores out of a list, and keeps the weights that it was shown."""

    def __init__(self, scores):
        self.scores, self.shown = list(scores), []

    def score(self, network, dtype):
        self.shown.append(weights(network))
        return self.scores[len(self.shown) - 1]


def watch(**changes):
    return {"every": 1, "choose": "best", "patience": None, "metric": "cosine", **changes}


def test_best_and_last_are_kept_apart():
    watcher = Script([0.3, 0.5, 0.5, 0.2])
    valid = []
    found = train({"epochs": 4, "watch": watch()}, watcher, on_epoch=lambda _, step: valid.append(step.valid))
    assert valid == [{"mAP": score} for score in watcher.scores]
    assert equal(weights(found.chosen), watcher.shown[1])
    assert equal(weights(found.last), watcher.shown[3])
    assert found.summary["seeds"][0]["best"] == {"mAP": 0.5, "epoch": 2, "weights": "raw"}


def test_watching_changes_nothing_but_the_choice():
    plain = train({"epochs": 3})
    watched = train({"epochs": 3, "watch": watch(choose="last")}, Script([0.9, 0.1, 0.1]))
    assert equal(weights(plain.last), weights(watched.last))
    assert equal(weights(watched.chosen), weights(watched.last))


def test_averaged_weights_are_scored_beside_the_raw_ones():
    watcher = Script([0.1, 0.2, 0.3, 0.6, 0.4, 0.5])
    valid = []
    changes = {"epochs": 3, "watch": watch(), "averaging": {"kind": "ema", "decay": 0.9}}
    found = train(changes, watcher, on_epoch=lambda _, step: valid.append(step.valid))
    assert valid[1] == {"mAP": 0.3, "mAP_averaged": 0.6}
    assert equal(weights(found.chosen), watcher.shown[3])
    assert found.summary["seeds"][0]["best"] == {"mAP": 0.6, "epoch": 2, "weights": "averaged"}
    assert equal(weights(found.last), watcher.shown[5])


@pytest.mark.parametrize(
    "every, patience, scores, epochs",
    [(1, 2, [0.5, 0.6, 0.6, 0.5, 0.9], 4), (2, 1, [0.5, 0.4, 0.9], 4), (3, None, [0.1, 0.1], 5)],
)
def test_training_ends_when_nothing_got_better(every, patience, scores, epochs):
    seen = []
    watcher = Script(scores)
    train(
        {"epochs": 5, "watch": watch(every=every, patience=patience)},
        watcher,
        on_epoch=lambda number, step: seen.append(bool(step.valid)),
    )
    assert len(seen) == epochs
    assert [number + 1 for number, looked in enumerate(seen) if looked] == [
        number for number in range(1, epochs + 1) if number % every == 0 or number == epochs
    ]


# ---- several splits


def test_splits_stay_apart_and_a_game_in_both_is_one_game():
    tables = [league(2)[0], league(3)[0], league(2, game="another")[0]]
    people = select_people(tables, 1.0)
    assert people.rows.tolist() == list(range(16 + 24 + 16))
    assert len(np.unique(people.person)) == 8 + 12 + 8
    assert len(np.unique(people.action)) == 2 + 3 + 2
    assert len(np.unique(people.game)) == 2 + 1  # "game 0" and "game 1", and "another 0"
    part = select_people(tables, 0.5)  # the first action of two, the first two of three, the first of two
    assert part.rows.tolist() == [*range(8), *range(16, 16 + 16), *range(40, 48)]


def test_pictures_of_several_stores_are_those_of_their_rows():
    stores = [league(2)[1], league(3)[1]]
    pictures = Pictures(stores)
    rows = np.array([17, 3, 39, 0, 16, 15])
    np.testing.assert_array_equal(pictures[rows], np.concatenate(stores)[rows])
    assert pictures.shape == (40, HEIGHT, WIDTH, 3)


def test_start_is_where_the_training_begins():
    torch.manual_seed(9)
    start = weights(Embedder(model(CHEAP).network, (HEIGHT, WIDTH)))
    assert equal(weights(train({"epochs": 0}, start=start).chosen), start)


def test_summary_tells_size_and_cost():
    summary = train({"epochs": 1}).summary
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
    assert summary["people"] == 20 and summary["thumbnails"] == 40


def test_compiled_network_is_the_one_that_is_trained(monkeypatch):
    called = []

    def compiled(function, mode):
        called.append(mode)
        return lambda x: function(x)

    monkeypatch.setattr(torch, "compile", compiled)
    assert equal(weights(train({"compile": "max-autotune"}).last), weights(train({}).last))
    assert called == ["max-autotune"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_on_a_cpu_too(precision):
    losses = []
    changes = {"precision": precision, "epochs": 4, "optimiser.clip": 5.0}
    train(changes, on_epoch=lambda _, step: losses.append(step.losses["loss"]))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
