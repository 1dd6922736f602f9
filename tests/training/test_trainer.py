"""One training, step by step: what the network sees, and what the optimizer does."""

import copy

import numpy as np
import pytest
import torch

from builders.training import CHEAP, Net, equal, league, numbered, trained, trainer_of, weights
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.training import optimizers
from reid.training import trainer as training
from reid.training.losses import BatchLoss

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "device")

KINDS = ("adam", "adamw", "amsgrad", "sgd", "rmsprop", "radam")


@pytest.fixture
def spy(monkeypatch):
    """Train with a :class:`Net`; gives the network, and the identities that the loss was told."""
    kept = {"identity": []}

    class Loss(BatchLoss):
        def forward(self, embeddings, identity, *others):
            kept["identity"].append(identity.clone())
            return super().forward(embeddings, identity, *others)

    def build(params, size):
        kept.setdefault("network", Net(params, size))
        return kept["network"]

    monkeypatch.setattr(training.Trainer, "_try_a_step", lambda trainer: None)  # it is no step of the training
    monkeypatch.setattr(training, "Embedder", build)
    monkeypatch.setattr(training, "BatchLoss", Loss)
    return kept


# ---- what the network sees


@pytest.mark.parametrize(
    "sampler",
    [
        {"kind": "actions", "actions": 2, "identities": 4, "instances": 2},
        {"kind": "identity", "identities": 3, "instances": 2},
    ],
)
def test_network_sees_the_stores_rows_or_their_mirror_images_with_their_own_identity(spy, sampler):
    table, store = league()
    store = numbered(store)
    trained({"subset": 0.6, "sampler": sampler, "epochs": 3}, (table, store))
    uid_of_identity, rows = {}, []
    for images, identity in zip(spy["network"].seen, spy["identity"], strict=True):
        for image, number in zip(images.numpy(), identity.tolist(), strict=True):
            flipped = image[0, 0, 1] == 0
            as_stored = image[:, ::-1] if flipped else image
            row = int(as_stored[0, 0, 0])
            np.testing.assert_array_equal(as_stored, store[row])
            uid = table["person_uid"][row].as_py()
            assert uid_of_identity.setdefault(number, uid) == uid
            rows.append(row)
    assert {table["action_idx"][row].as_py() for row in rows} == {0, 1, 2}
    assert sorted(uid_of_identity) == list(range(len(set(uid_of_identity.values()))))
    assert sum(map(len, spy["identity"])) == len(rows)


@pytest.mark.parametrize("probability", [None, 0.0, 0.5, 1.0])
def test_images_are_flipped_as_often_as_asked_and_each_by_itself(spy, probability):
    table, store = league()
    flip = None if probability is None else {"probability": probability}
    trained({"augmentation.flip": flip, "epochs": 40}, (table, numbered(store)))
    flipped = [images[:, 0, 0, 1].numpy() == 0 for images in spy["network"].seen]
    every, p = np.concatenate(flipped), probability or 0.0
    assert len(every) == 1600
    assert every.mean() == pytest.approx(p, abs=5 * (p * (1 - p) / 1600) ** 0.5)
    if p == 0.5:
        assert not any(batch.all() or not batch.any() for batch in flipped if len(batch) == 16)


def test_batches_of_an_epoch_differ_from_those_of_the_next(spy):
    table, store = league()
    trained({"augmentation.flip": None}, (table, numbered(store)))
    rows = [images[:, 0, 0, 0].tolist() for images in spy["network"].seen]
    assert len(rows) == 6
    for epoch in (rows[:3], rows[3:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(40))
    assert rows[:3] != rows[3:]


def test_batches_are_those_of_the_seed():
    one, again, other = ([batch.tolist() for batch in trainer_of({**CHEAP, "seed": n}).batches] for n in (1, 1, 2))
    assert one == again != other


def test_training_begins_on_smaller_images():
    changes = {"augmentation.progressive_resizing": {"scale": 0.75, "until": 0.5}, "schedule": None, "epochs": 3}
    trainer = trainer_of(changes)
    seen, wanted, features = [], [], trainer.features
    trainer.features = lambda x: (seen.append(tuple(x.shape[2:])), features(x))[1]
    while trainer.progress < 1:
        wanted.append((24, 12) if trainer.epoch + trainer.batch / len(trainer.batches) < 1.5 else (32, 16))
        trainer.step()
        if trainer.epoch_is_over:
            trainer.end_epoch()
    assert seen == wanted and len(set(seen)) == 2


def test_backbone_of_one_size_cannot_begin_on_smaller_images():
    swin = {"network.backbone": "timm/swin_tiny_patch4_window7_224", "input": {"height": 64, "width": 64}}
    small = {"augmentation.progressive_resizing": {"scale": 0.75, "until": 0.5}}
    message = r"augmentation\.progressive_resizing: timm/swin_tiny\S+ .* does not take images of 48x48"
    with pytest.raises(ReidError, match=message):
        trainer_of({**CHEAP, **swin, **small})


# ---- before the first step


def test_a_step_that_is_tried_changes_nothing():
    network = {"network.backbone": "test_vit", "network.pooling": "token", "network.drop_path": 0.5}
    trainer = trainer_of({**network, "network.bnneck": True, "loss.memory": {"size": 12, "start": 1}})
    before = copy.deepcopy(trainer.state())
    trainer._try_a_step()
    after = trainer.state()
    for name in ("network", "criterion"):
        assert equal(before[name], after[name])
    assert torch.equal(before["torch"], after["torch"]) and before["optimizer"] == after["optimizer"]
    assert all(p.grad is None for p in trainer.trained)


@pytest.mark.parametrize("changes", [{"chunk": 1}, {"batch_multiple": 32}, {"chunk": 5, "batch_multiple": 8}])
@pytest.mark.parametrize("processes, images", [(1, 16), (2, 3), (4, 3)])
def test_a_step_is_tried_with_images_of_one_share_and_losses_of_the_whole_batch(
    changes, processes, images, monkeypatch
):
    network = {"network.backbone": "test_vit", "network.pooling": "token", "network.bnneck": True}
    trainer = trainer_of({**network, **changes, "loss": {"triplet": {"margin": 0.3}}})
    trainer.batches[0] = trainer.batches[0][:images]
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    sizes, labels, features, loss = [], [], Embedder.features, BatchLoss.forward

    def with_labels(self, embeddings, identity, *others):
        labels.append(identity.tolist())
        return loss(self, embeddings, identity, *others)

    monkeypatch.setattr(Embedder, "features", lambda self, x: sizes.append(len(x)) or features(self, x))
    monkeypatch.setattr(BatchLoss, "forward", with_labels)
    trainer._try_a_step()
    assert labels == [trainer.feed.labels[0, trainer.batches[0]].tolist()]
    multiple, chunk = changes.get("batch_multiple", 1), changes.get("chunk", 10**6)
    assert sizes == [max(1, min(-(-images // multiple) * multiple // processes, chunk))]


@pytest.mark.parametrize("refused", [False, True])
def test_what_cannot_repeat_itself_is_let_through_with_a_warning(refused, monkeypatch, caplog):
    def tried(trainer):
        if refused:
            torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))

    monkeypatch.setattr(training.Trainer, "_try_a_step", tried)
    monkeypatch.setattr(training, "_repeats_by_itself", lambda device: False)
    trainer_of(CHEAP).step()
    assert torch.is_deterministic_algorithms_warn_only_enabled() == refused
    assert ("may differ in their last digits" in caplog.text) == refused


# ---- the optimizer's steps


@pytest.mark.parametrize(
    "schedule, wanted",
    [
        (None, [0.01] * 4),
        ({"kind": "step", "milestones": [1, 3], "gamma": 0.5}, [0.01, 0.005, 0.005, 0.0025]),
        # the rate of the last of three batches of each of four epochs
        ({"kind": "cosine"}, [0.005 * (1 + np.cos(np.pi * (k + 2 / 3) / 4)) for k in range(4)]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_learning_rate_follows_the_schedule(spy, schedule, wanted, kind):
    rates = []
    optimizer = {"kind": kind, "learning_rate": 0.01}
    changes = {"epochs": 4, "schedule": schedule, "optimizer": optimizer}
    trained(changes, on_epoch=lambda _, epoch: rates.append(epoch.learning_rate))
    np.testing.assert_allclose(rates, wanted)


def test_accumulated_gradients_are_those_of_both_batches_before_the_step():
    changes = {**CHEAP, "optimizer.accumulation": 2, "optimizer.kind": "sgd", "optimizer.weight_decay": 0.0}
    trainer = trainer_of(changes)
    before = dict(copy.deepcopy(trainer.network).named_parameters())
    trainer.step()
    assert all(torch.equal(p, before[name]) for name, p in trainer.network.named_parameters())
    first = {name: p.grad.clone() for name, p in trainer.network.named_parameters()}
    trainer.optimizer.step, both = lambda: None, {}
    zero = trainer.optimizer.zero_grad

    def kept():
        both.update({name: p.grad.clone() for name, p in trainer.network.named_parameters()})
        zero()

    trainer.optimizer.zero_grad = kept
    trainer.step()
    assert both and any(not torch.equal(first[name], both[name]) for name in both)
    assert trainer.batch == 2


def test_accumulation_is_the_mean_of_the_batches_gradients():
    """With the same images twice, two batches and one step are one batch and one step."""
    after = []
    for accumulation in (1, 2):
        changes = {"optimizer.accumulation": accumulation, "augmentation.flip": None, "loss.id": None}
        trainer = trainer_of({**CHEAP, **changes})
        trainer.batches = [trainer.batches[0]] * accumulation + trainer.batches[accumulation:]
        trainer.network.eval()  # running statistics would differ
        for _ in range(accumulation):
            trainer.step()
        after.append(weights(trainer.network))
    for name, value in after[0].items():
        torch.testing.assert_close(value, after[1][name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("batches, steps, limit", [(3, 3, {}), (4, 2, {"max_images": 30})])
def test_an_update_of_fewer_batches_is_their_mean_too(batches, steps, limit):
    """At the end of an epoch, or of the training, there may be fewer than are accumulated."""
    same = {**CHEAP, "augmentation.flip": None, "loss.id": None, "epochs": 1, "optimizer.kind": "sgd"}
    one, many = trainer_of(same), trainer_of({**same, "optimizer.accumulation": 4, **limit})
    many.batches = [one.batches[0]] * batches
    for trainer in (one, many):
        trainer.network.eval()  # running statistics would differ
    one.step()
    for _ in range(steps):
        many.step()
    assert many.epoch_is_over
    for name, value in weights(one.network).items():
        torch.testing.assert_close(weights(many.network)[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_gradients_are_clipped_to_their_norm(clip_norm):
    trainer = trainer_of({**CHEAP, "optimizer.clip_norm": clip_norm})
    norms, step = [], trainer.scaler.step

    def noted(optimizer):
        norms.append(float(torch.cat([p.grad.flatten() for p in trainer.trained if p.grad is not None]).norm()))
        return step(optimizer)

    trainer.scaler.step = noted
    for _ in range(3):
        trainer.step()
    assert all(norm == pytest.approx(clip_norm, rel=1e-3) if clip_norm < 1 else norm < clip_norm for norm in norms)
    assert len(norms) == 3


def test_frozen_backbone_with_nothing_else_to_train_is_refused():
    frozen = {"network.weights": "any.pth", "optimizer.frozen_epochs": 1}
    with pytest.raises(ReidError, match="nothing is trained while the backbone is frozen"):
        trainer_of({**frozen, "loss": {"negatives": "batch", "triplet": {"margin": 0.3}}, "network.bnneck": True})
    trainer_of({**frozen, "loss": {"negatives": "batch", "triplet": {"margin": 0.3}}, "network.projection.width": 8})
    trainer_of(frozen)  # the classifier of the id loss


def test_frozen_backbone_stays_as_it_is_and_thaws():
    changes = {
        **CHEAP,
        "network.weights": "any.pth",
        "network.projection": {"width": 8, "kind": "linear"},
        "optimizer.frozen_epochs": 1,
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


# ---- precision, compilation, divergence


def test_bf16_keeps_the_arrays_in_fp32():
    # where a map gets one column wide, oneDNN's bf16 convolutions read memory that nobody has written
    changes = {"epochs": 1, "input": {"height": 64, "width": 64}}
    split = league(actions=2)
    full, half = (weights(trained({**changes, "precision": name}, split).selected) for name in ("fp32", "bf16"))
    assert all(value.dtype == full[name].dtype and value.isfinite().all() for name, value in half.items())
    assert not equal(full, half)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns(precision, device):
    losses = []
    # the first steps of fp16 overflow, on a GPU more of them, until its scale is found
    epochs = 8 if device.type == "cpu" else 24
    changes = {**CHEAP, "precision": precision, "epochs": epochs, "optimizer.clip_norm": 5.0}
    trained(changes, on_epoch=lambda _, epoch: losses.append(epoch.losses["loss"]))
    assert np.isfinite(losses).all() and losses[-1] < 0.9 * losses[0]


def test_compiled_network_is_the_one_that_is_trained(monkeypatch):
    called = []

    def compiled(function, mode):
        called.append(mode)
        return lambda x: function(x)

    monkeypatch.setattr(torch, "compile", compiled)
    one, other = (trained({**CHEAP, "compile": mode}).last for mode in ("max-autotune", None))
    assert equal(weights(one), weights(other))
    assert called == ["max-autotune"]


@pytest.mark.parametrize(
    "module, reason, message",
    [
        (
            "torch._inductor.exc",
            "InvalidCxxCompiler: no working C++ compiler\n\nSet TORCHDYNAMO_VERBOSE=1",
            r"^compile: .* here \(InvalidCxxCompiler: no working C\+\+ compiler\)",
        ),
        (  # advice on a compiler is for those without one
            "torch._dynamo.exc",
            "call to a module that torch.compiler.disable has marked",
            r"^compile: PyTorch cannot compile .* has marked\); leave it out$",
        ),
    ],
)
def test_network_that_cannot_be_compiled_is_one_error(monkeypatch, module, reason, message):
    def compiled(x):
        raise type("Refusal", (RuntimeError,), {"__module__": module})(reason)

    monkeypatch.setattr(torch, "compile", lambda function, mode: compiled)
    with pytest.raises(ReidError, match=message):
        trained({**CHEAP, "compile": "default"})


def test_checkpointing_of_batch_norms_is_not_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)
    changes = {**CHEAP, "network.checkpointing": True, "compile": "default"}
    message = r"^network\.checkpointing: cannot go with compile for test_resnet, which has batch norms; leave one out"
    with pytest.raises(ReidError, match=message):
        trainer_of(changes)
    trainer_of({**changes, "network.backbone": "test_vit", "network.pooling": "token"})


def test_loss_that_is_no_number_ends_the_training(spy, monkeypatch):
    set_rate = optimizers.set_rate
    monkeypatch.setattr(optimizers, "set_rate", lambda optimizer, rate: set_rate(optimizer, 1e30))
    optimizer = {"kind": "sgd", "learning_rate": 1.0}
    with pytest.raises(ReidError, match=r"epoch \d+: the loss is (nan|inf).*learning_rate"):
        trained({"optimizer": optimizer, "epochs": 5})


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_every_precision_repeats_and_comes_back_to_the_cpu(precision):
    # not narrower: see above
    changes = {**CHEAP, "epochs": 1, "precision": precision, "input": {"height": 64, "width": 64}}
    first, second = (trained(changes, league(actions=2)).selected for _ in "ab")
    assert {parameter.device.type for parameter in first.parameters()} == {"cpu"}
    assert equal(weights(first), weights(second))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_transformer_repeats_on_a_gpu(precision):
    network = {"backbone": "timm/vit_tiny_patch16_224", "pooling": "token"}
    changes = {"network": network, "input": {"height": 256, "width": 128}, "precision": precision}
    first, second = (trained(changes).last for _ in "ab")
    assert equal(weights(first), weights(second))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_takes_the_steps_of_the_cpu(monkeypatch):
    """Float32 means float32 on both."""
    ends = []
    for kind in ("cpu", "cuda"):
        monkeypatch.setattr(training.device, "device", lambda kind=kind: torch.device(kind))
        trainer = trainer_of({**CHEAP, "optimizer.kind": "sgd"})
        trainer.step()
        ends.append(weights(trainer.network))
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], atol=1e-5, rtol=1e-4)
