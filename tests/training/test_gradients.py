"""The gradient of a whole batch at the memory of a part of it: chunks (GradCache) and gradient checkpointing."""

import copy

import pytest
import torch

from builders import thorough
from builders.training import equal, league, trained, trainer_of, weights
from reid.core.errors import ReidError
from reid.models.recomputation import statistics_kept
from reid.training import ranks
from reid.training.gradients import backward

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "one_thread", "device")

VIT = {
    "network.backbone": "test_vit",
    "network.pooling": "token",
    "optimizer.learning_rate": 1e-4,
    "loss": {"negatives": "action", "supcon": {"temperature": 0.05}},
}


def double(trainer):
    """The same training in float64."""
    for part in (trainer.network, trainer.criterion, trainer.average):
        if part is not None:
            part.double()
    return trainer


def after(steps, changes, make=double):
    """Weights and losses after some steps."""
    trainer, losses = make(trainer_of(changes)), []
    while len(losses) < steps:
        trainer.step()
        losses.append({name: float(value) for name, value in trainer.sums.items()})
        if trainer.epoch_is_over:
            trainer.end_epoch()
    return weights(trainer.network), losses


def assert_close(one, other, tolerance):
    (weights_one, losses_one), (weights_other, losses_other) = one, other
    for before, now in zip(losses_one, losses_other, strict=True):
        assert now == pytest.approx(before, rel=tolerance)
    for name, value in weights_one.items():
        torch.testing.assert_close(weights_other[name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("chunk", [5, 15])
@pytest.mark.parametrize("more", [{}, {"loss.id": {"label_smoothing": 0.1}, "network.bnneck": True}])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk, more):
    assert_close(after(2, VIT | more), after(2, VIT | more | {"chunk": chunk}), 1e-9)


def test_chunks_train_what_follows_embeddings_that_are_frozen():
    frozen = {"loss": {"id": {}}, "network.weights": "any.pth", "optimizer.frozen_epochs": 1}
    assert_close(after(2, VIT | frozen), after(2, VIT | frozen | {"chunk": 5}), 1e-9)


def test_chunks_accumulate_and_clip_as_whole_batches_do():
    more = {"optimizer.accumulation": 2, "optimizer.clip_norm": 0.1, "averaging": {"kind": "ema", "decay": 0.5}}
    assert_close(after(4, VIT | more), after(4, VIT | more | {"chunk": 3}), 1e-9)


def test_both_passes_of_a_chunk_drop_the_same_paths():
    """With other paths in the second pass, the gradient would not be that of any loss."""
    trainer = double(trainer_of(VIT | {"network.drop_path": 0.5, "chunk": 4}))
    x = torch.randn(12, 3, 32, 16, dtype=torch.float64, device=trainer.device)
    seen = []
    features = trainer.network.features

    def spy(part):
        seen.append(features(part))
        return seen[-1]

    backward(spy, x, lambda e: e.square().sum().backward(), 12, 4)
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(features(x), features(x))


@pytest.mark.parametrize("images, processes, share", [(1, 4, 1), (3, 4, 1), (3, 8, 1), (5, 4, 1), (9, 4, 2)])
def test_every_process_has_an_image_of_a_small_batch(images, processes, share, monkeypatch):
    seen, counts = [], []
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    monkeypatch.setattr(ranks, "gather", lambda own, count: own.new_zeros(count, 2))
    for rank in range(processes):
        monkeypatch.setenv("RANK", str(rank))
        x = torch.arange(images).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
        backward(lambda own: seen.append(own[:, 0, 0, 0]) or own, x, lambda e: counts.append(len(e)), images, None)
    sizes = [len(part) for part in seen]
    assert len(seen) == processes and min(sizes) == share
    whole = torch.cat(seen)
    assert whole.bincount().unique().numel() == 1 and whole.unique().tolist() == list(range(images))
    assert counts == [images] * processes


NORMED = {"network.projection": {"width": 4, "kind": "relu"}}


@pytest.mark.parametrize(
    ("changes", "norms"),
    [
        ({}, "resnet18"),
        (VIT | NORMED, r"network\.projection"),
        (NORMED, r"resnet18 and network\.projection"),
    ],
)
def test_chunks_are_refused_where_an_embedding_depends_on_its_batch(changes, norms):
    with pytest.raises(ReidError, match=f"^chunk: cannot go with {norms}, whose batch norms need the whole batch"):
        trainer_of({**changes, "chunk": 4})


@pytest.mark.parametrize("backbone", ["resnet18", "osnet_x0_25", "test_resnet", "test_vit"])
def test_checkpointing_changes_nothing_but_memory(backbone):
    changes = {"network.backbone": backbone, "optimizer.learning_rate": 1e-4}
    if backbone.endswith("vit"):
        changes |= {"network.pooling": "token"}
    plain, recomputed = (after(2, changes | {"network.checkpointing": value}) for value in (False, True))
    assert_close(plain, recomputed, 1e-10)


def test_checkpointing_keeps_less():
    def kept(value):
        trainer, sizes = trainer_of(VIT | {"network.checkpointing": value}), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            trainer.network.features(torch.randn(16, 3, 32, 16, device=trainer.device))
        return sum(sizes)

    assert kept(True) < kept(False) / 5


def test_checkpointed_copies_have_weights_of_their_own():
    trainer = trainer_of({"network.checkpointing": True})
    other = copy.deepcopy(trainer.network)
    x = torch.randn(4, 3, 32, 16, device=trainer.device)
    before = trainer.network.features(x).detach()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    assert not torch.allclose(other.features(x), before)
    torch.testing.assert_close(trainer.network.features(x).detach(), before)


def test_statistics_are_kept_for_as_long_as_asked():
    norm = torch.nn.BatchNorm1d(3)
    with statistics_kept(norm):
        inside = norm(torch.arange(12.0).view(4, 3))
    assert norm.running_mean.tolist() == [0, 0, 0] and norm.num_batches_tracked == 0
    torch.testing.assert_close(norm(torch.arange(12.0).view(4, 3)), inside)
    assert norm.num_batches_tracked == 1


@thorough
def test_layer_decay_checkpointing_and_compile_go_together():
    changes = VIT | {"optimizer.layer_decay": 0.7, "network.checkpointing": True}
    plain = after(2, changes, make=lambda trainer: trainer)
    assert_close(plain, after(2, changes | {"compile": "default"}, make=lambda trainer: trainer), 1e-3)


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_filled_batches_train_on_their_own_images_alone(multiple):
    """Without batch norms, what fills a batch up changes nothing."""
    changes = VIT | {"sampler": {"kind": "actions", "actions": 1, "identities": 3, "instances": 2}}
    assert_close(after(3, changes), after(3, changes | {"batch_multiple": multiple}), 1e-9)


def test_filled_batches_have_few_sizes():
    split, sizes = league(actions=7, people=5, images=3), set()
    changes = {"sampler": {"kind": "actions", "actions": 2, "identities": 4, "instances": None}, "epochs": 3}
    trainer = trainer_of(changes | {"batch_multiple": 16}, split)
    features = trainer.features
    trainer.features = lambda x: sizes.add(len(x)) or features(x)
    while trainer.progress < 1:
        while not trainer.epoch_is_over:
            trainer.step()
        trainer.end_epoch()
    assert sizes and all(size % 16 == 0 for size in sizes)


def test_one_process_is_all_there_is_without_torchrun():
    assert (ranks.count(), ranks.rank(), ranks.share(7), ranks.agreed(True)) == (1, 0, slice(0, 7), True)
    x = torch.ones(2)
    assert ranks.gather(x, 2) is x


def test_same_training_twice_gives_the_same_bytes_with_chunks_and_checkpointing():
    changes = VIT | {"chunk": 4, "network.checkpointing": True, "network.drop_path": 0.1}
    one, other = (weights(trained(changes).last) for _ in range(2))
    assert equal(one, other)
