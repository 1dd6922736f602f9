"""Parts of extensions in a training: each does what it says, and one that fails is named."""

import numpy as np
import pytest
import torch

from builders.losses import loss_of
from builders.training import CHEAP, equal, league, trained, trainer_of, weights
from reid.core.errors import ReidError
from reid.training import ranks
from reid.training import trainer as training

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "device")

PARTS = '''
import torch

from reid.params import AUGMENTATIONS, LOSSES, OPTIMIZERS, POOLINGS, SAMPLERS, SCHEDULES
from reid.params import AugmentationStep, Field, Optimizer, Section, WeightedLoss


class Spread(WeightedLoss):
    """Distance from a centre that is trained."""

    scale: float = Field(gt=0)


@LOSSES.register("spread", Spread)
class Distance(torch.nn.Module):
    def __init__(self, params, setting):
        super().__init__()
        self.scale = params.scale
        self.centre = torch.nn.Parameter(torch.zeros(setting.width))

    def forward(self, batch):
        assert len(batch.identity) == len(batch.action) == len(batch.game) == len(batch.positive)
        return self.scale * (batch.embeddings - self.centre).square().sum(1).mean()


class Pairs(Section):
    """Two rows a batch, from the last to the first."""

    batches: int = Field(ge=1)


@SAMPLERS.register("pairs", Pairs)
def pairs(identities, params, rng):
    rows = identities.rows[::-1]
    return [rows[2 * k : 2 * k + 2] for k in range(params.batches)]


class Momentum(Optimizer):
    """SGD of any momentum."""

    momentum: float = Field(ge=0, lt=1)


@OPTIMIZERS.register("momentum", Momentum)
def momentum(groups, params):
    return torch.optim.SGD(groups, params.learning_rate, params.momentum, weight_decay=params.weight_decay)


class Straight(Section):
    """Down in a straight line."""

    end: float = Field(0.0, ge=0)


@SCHEDULES.register("straight", Straight)
def straight(params, progress, epoch):
    return 1 - progress * (1 - params.end)


class Negative(AugmentationStep):
    """As a film."""

    stage = "store"


@AUGMENTATIONS.register("negative", Negative, after="flip")
def negative(params, size):
    return lambda images, generator: 255 - images


class Dim(AugmentationStep):
    """Darker by a factor of the image's own."""

    least: float = Field(gt=0, le=1)


@AUGMENTATIONS.register("dim", Dim)
def dim(params, size):
    def step(x, generator):
        assert tuple(x.shape[1:]) == (3, *size)
        factor = params.least + (1 - params.least) * torch.rand(len(x), generator=generator)
        return x * factor.to(x.device)[:, None, None, None]

    return step


@POOLINGS.register("normed", Section)
class Normed(torch.nn.Module):
    """Mean of tokens, batch-normed first (as the heads of SimCLR and MoCo v3 are)."""

    takes = (3,)

    def __init__(self, params):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(64)

    def forward(self, x):
        return self.norm(x.mean(1))
'''
NORMED = {"network.backbone": "test_vit", "network.pooling": "normed"}


@pytest.fixture
def parts(extend):
    extend("parts", PARTS)


@pytest.mark.usefixtures("parts")
def test_loss_is_weighed_beside_ours_and_its_own_parameters_are_trained():
    losses = {"loss": {"spread": {"scale": 0.5, "weight": 2.0}, "triplet": {"margin": 0.3}}}
    trainer = trainer_of({**CHEAP, **losses})
    centre = next(trainer.criterion.parameters())
    assert centre.shape == (trainer.network.width,) and not centre.any()
    while not trainer.epoch_is_over:
        trainer.step()
    assert centre.abs().min() > 0
    epoch = trainer.end_epoch()
    assert set(epoch.losses) == {"loss", "spread", "triplet"}
    assert epoch.losses["spread"] > 0
    assert epoch.losses["loss"] == pytest.approx(2 * epoch.losses["spread"] + epoch.losses["triplet"], rel=1e-5)


@pytest.mark.usefixtures("parts")
def test_sampler_decides_about_the_batches():
    table, store = league()
    trainer = trainer_of({**CHEAP, "sampler": {"kind": "pairs", "batches": 3}, "subset": 0.6}, (table, store))
    rows = [row for row, action in enumerate(table["action_idx"].to_pylist()) if action < 3]
    assert [batch.tolist() for batch in trainer.batches] == [rows[:-3:-1], rows[-3:-5:-1], rows[-5:-7:-1]]
    assert [trainer.step() for _ in trainer.batches] == [2, 2, 2]
    assert trainer.end_epoch().images == 6


@pytest.mark.usefixtures("parts")
def test_optimizer_is_used_with_what_all_have():
    shared = {"learning_rate": 0.01, "weight_decay": 0.1, "layer_decay": 0.5, "clip_norm": 1.0}
    ours = {"kind": "sgd", **shared}
    theirs = {"kind": "momentum", "momentum": 0.9, **shared}
    one, two, other = (
        weights(trained({**CHEAP, "epochs": 1, "optimizer": optimizer}).last)
        for optimizer in (ours, theirs, {**theirs, "momentum": 0.5})
    )
    assert equal(one, two) and not equal(one, other)


@pytest.mark.usefixtures("parts")
def test_schedule_decides_about_the_learning_rate():
    rates = []
    schedule = {"kind": "straight", "end": 0.1}
    trained({**CHEAP, "epochs": 2, "schedule": schedule}, on_epoch=lambda _, epoch: rates.append(epoch.learning_rate))
    # the last of three batches of each epoch
    np.testing.assert_allclose(rates, [0.001 * (1 - 0.9 * (epoch + 2 / 3) / 2) for epoch in range(2)])


@pytest.mark.usefixtures("parts")
def test_augmentation_changes_the_stores_images():
    """A training on negatives of negatives is one on the images."""
    table, store = league()
    plain = weights(trained({**CHEAP, "epochs": 1}, (table, store)).last)
    back = weights(trained({**CHEAP, "epochs": 1, "augmentation.negative": {}}, (table, 255 - store)).last)
    assert equal(plain, back)


@pytest.mark.usefixtures("parts")
def test_augmentation_comes_after_the_step_that_it_names():
    """Before crop, then, whose margin has the mean colour and no other."""
    steps = {"augmentation.crop": {"probability": 1.0, "margin": 0.25}, "augmentation.negative": {}}
    augment = trainer_of({**CHEAP, **steps}).augment
    changed = augment(torch.full((20, 32, 16, 3), 250, dtype=torch.uint8), torch.Generator().manual_seed(1))
    assert (changed[:, 0] * 255).round().unique().tolist() == [255 - 250, 124]


@pytest.mark.usefixtures("parts")
def test_augmentation_of_the_input_draws_from_the_trainings_generator():
    changes = {**CHEAP, "epochs": 1, "augmentation.dim": {"least": 0.2}}
    first, second, without = (
        weights(trained(choice).last) for choice in (changes, changes, {**changes, "augmentation.dim": None})
    )
    assert equal(first, second) and not equal(first, without)
    augment = trainer_of(changes).augment
    images = torch.full((50, 32, 16, 3), 200, dtype=torch.uint8)
    shares = augment(images, torch.Generator().manual_seed(1))[:, 0, 0, 0] / (200 / 255)
    assert 0.2 <= shares.min() < 0.3 and 0.9 < shares.max() <= 1


@pytest.mark.usefixtures("parts")
def test_chunks_are_refused_where_a_pooling_normalises_its_batch():
    with pytest.raises(ReidError, match=r"chunk: cannot go with network\.pooling normed, whose batch norms need"):
        trainer_of({**NORMED, "chunk": 4})


@pytest.mark.usefixtures("parts")
def test_batch_norm_of_a_pooling_sees_the_images_of_all_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "join", lambda device: None)
    monkeypatch.setattr(training.Trainer, "_try_a_step", lambda trainer: None)  # the other one would have to, too
    norm = trainer_of(NORMED).network.pool.norm
    assert isinstance(norm, ranks._SharedBatchNorm | torch.nn.SyncBatchNorm)


# ---- what fails

WRONG = {
    "loss": '''
import torch
from reid.params import LOSSES, WeightedLoss


class Wrong(WeightedLoss):
    """Wrong."""


@LOSSES.register("wrong", Wrong)
class Loss(torch.nn.Module):
    def __init__(self, params, setting):
        super().__init__()

    def forward(self, batch):
        return {}
''',
    "augmentation": '''
from reid.params import AUGMENTATIONS, AugmentationStep


class Wrong(AugmentationStep):
    """Wrong."""


@AUGMENTATIONS.register("wrong", Wrong)
def build(params, size):
    return lambda x, generator: {}
''',
    "sampler": """
import numpy as np
from reid.params import SAMPLERS, Section


@SAMPLERS.register("wrong", Section)
def draw(identities, params, rng):
    return {}
""",
    "optimizer": '''
import torch
from reid.params import OPTIMIZERS, Optimizer


class Wrong(Optimizer):
    """Wrong."""


@OPTIMIZERS.register("wrong", Wrong)
def build(groups, params):
    return {}
''',
    "schedule": """
from reid.params import SCHEDULES, Section


@SCHEDULES.register("wrong", Section)
def factor(params, progress, epoch):
    return {}
""",
}
USE = {
    "loss": {"loss": {"wrong": {}}},
    "augmentation": {"augmentation.wrong": {}},
    "sampler": {"sampler": "wrong"},
    "optimizer": {"optimizer": {"kind": "wrong", "learning_rate": 0.1}},
    "schedule": {"schedule": {"kind": "wrong"}},
}
LOWER = r"lower optimizer\.learning_rate, or correct the extension"
BATCH = r"a batch must be an int array of rows to train on, at least one, not "


@pytest.mark.parametrize(
    "part, returned, message",
    [
        (
            "loss",
            "batch.embeddings.sum(1)",
            r"loss\.wrong{}: must be a floating-point scalar tensor, not torch\.float32 \[16\]",
        ),
        ("loss", "batch.embeddings.sum().item()", r"loss\.wrong{}: must be a floating-point scalar tensor, not float"),
        ("loss", "None", r"loss\.wrong{}: must be a floating-point scalar tensor, not NoneType"),
        ("loss", "(batch.distance() > 1).sum()", r"loss\.wrong{}: must be a floating-point .*, not torch\.int64 \[\]"),
        ("loss", "batch.embeddings.detach().sum()", r"loss\.wrong{}: has no gradient"),
        ("loss", "batch.embeddings.sum() / 0", rf"epoch 1: the loss is (nan|-?inf) \(loss\.wrong\); {LOWER}{{}}$"),
        ("loss", "batch.colour", r"loss\.wrong{line} fails: AttributeError: .*colour"),
        (
            "augmentation",
            "x[:1]",
            r"augmentation\.wrong{}: must return torch.float32 \[16, 3, 32, 16\], as it is given",
        ),
        ("augmentation", "x.double()", r"augmentation\.wrong{}: must return torch.float32 \[16, 3, 32, 16\]"),
        ("augmentation", "None", r"augmentation\.wrong{}: must return torch.float32 \[16, 3, 32, 16\]"),
        ("augmentation", "x + size", r"augmentation\.wrong{line} fails: TypeError: "),
        ("sampler", "[identities.rows, np.array([40])]", rf"sampler: wrong{{}}: {BATCH}array\(\[40\]\)"),
        ("sampler", "[np.array([-1, 2])]", rf"sampler: wrong{{}}: {BATCH}array\(\[-1,  2\]\)"),
        ("sampler", "[identities.rows[:0]]", rf"sampler: wrong{{}}: {BATCH}array\(\[\], dtype=int64\)"),
        ("sampler", "[identities.rows / 1]", rf"sampler: wrong{{}}: {BATCH}array"),
        ("sampler", "[[1, 2]]", rf"sampler: wrong{{}}: {BATCH}\[1, 2\]"),
        ("sampler", "[]", r"sampler: 20 identities in 5 actions are too few for one batch of "),
        ("sampler", "None", r"sampler: wrong{} fails: TypeError: "),
        ("sampler", "rng.shuffle(identities.rows)", r"sampler: wrong{line} fails: ValueError: .*read-only"),
        ("sampler", "1 / 0", r"sampler: wrong{line} fails: ZeroDivisionError: "),
        (
            "optimizer",
            "None",
            r"optimizer: wrong{} fails: TypeError: its builder gives a NoneType, not a torch\.optim",
        ),
        (
            "optimizer",
            "torch.optim.SGD([p for group in groups for p in group['params']], lr=0.1)",
            r"optimizer: wrong{} fails: TypeError: its builder must give the groups",
        ),
        ("optimizer", "groups[7]", r"optimizer: wrong{line} fails: IndexError: "),
        ("schedule", "'half'", r"schedule: wrong{} fails: ValueError: .*'half'"),
        ("schedule", "-1", r"schedule: wrong{}: its factor must be a finite number, 0 or more, not -1\.0 \(epoch 1, "),
        ("schedule", "float('nan')", r"schedule: wrong{}: its factor must be .*, not nan \(epoch 1, 0\.0% of"),
        ("schedule", "progress / epoch", r"schedule: wrong{line} fails: ZeroDivisionError: "),
    ],
)
def test_part_that_gives_something_else_or_fails_is_one_error_that_names_its_file(extend, part, returned, message):
    extend("mine", WRONG[part].replace("{}", returned))
    message = message.replace("{line}", r" \(extensions/mine\.py, line \d+\)").replace(
        "{}", r" \(extensions/mine\.py\)"
    )
    with pytest.raises(ReidError, match=f"^{message}"):
        trained({**CHEAP, **USE[part]})


@pytest.mark.parametrize("part", ["loss", "augmentation"])
def test_part_that_cannot_be_built_is_one_error_that_names_its_file_and_line(extend, part):
    name = {"loss": "super().__init__()", "augmentation": "return lambda x, generator: {}"}[part]
    extend("mine", WRONG[part].replace(name, "raise OSError('no such file')"))
    with pytest.raises(ReidError, match=rf"^{part}\.wrong \(extensions/mine\.py, line \d+\) fails: OSError: no such"):
        trained({**CHEAP, **USE[part]})


def test_loss_must_be_a_module(extend):
    text = '''
        from reid.params import LOSSES, WeightedLoss

        class Wrong(WeightedLoss):
            """Wrong."""

        @LOSSES.register("wrong", Wrong)
        def build(params, setting):
            return lambda batch: batch.embeddings.sum()
    '''
    extend("mine", "\n".join(line[8:] for line in text.splitlines()))
    with pytest.raises(ReidError, match=r"^loss\.wrong \(extensions/mine\.py\) fails: TypeError: .*not a Module"):
        trained({**CHEAP, **USE["loss"]})


OPTIMIZER = '''
import torch
from reid.params import OPTIMIZERS, Optimizer


class Wrong(Optimizer):
    """Wrong."""


class Descent(torch.optim.SGD):
    def step(self, closure=None):
        return self.state["no"]["momentum"]


@OPTIMIZERS.register("wrong", Wrong)
def build(groups, params):
    return Descent(groups, lr=0.1)
'''
NETWORK = """
from torch import nn

from reid.params import BACKBONES, POOLINGS, Section


class Wrong(nn.Module):
    def forward(self, x):
        return {}["key"] if self.training else x


@BACKBONES.register("wrong", Section)
def build(params, size):
    return nn.Sequential(nn.Conv2d(3, 4, 1), Wrong())


@POOLINGS.register("wrong", Section)
class Pooling(Wrong):
    def __init__(self, params):
        super().__init__()
"""


@pytest.mark.parametrize(
    "text, changes, message",
    [
        (OPTIMIZER, USE["optimizer"], r"optimizer: wrong{}"),
        (NETWORK, {"network.backbone": "wrong"}, r"network: wrong with pooling average{}"),
        (
            NETWORK,
            {"network.backbone": "resnet18", "network.pooling": "wrong"},
            r"network: resnet18 with pooling wrong{}",
        ),
    ],
)
def test_part_that_fails_at_its_first_step_is_one_error_that_names_its_file_and_line(extend, text, changes, message):
    extend("mine", text)
    where = r" \(extensions/mine\.py, line \d+\) fails: KeyError: "
    with pytest.raises(ReidError, match=f"^{message.replace('{}', where)}"):
        trained({**CHEAP, **changes})


def test_loss_may_be_a_constant_beside_others_where_a_batch_has_no_pairs(extend):
    extend("mine", WRONG["loss"].replace("{}", "batch.embeddings.new_zeros(())"))
    criterion = loss_of(width=16, wrong={}, triplet={"margin": 0.3})  # a trainer on a GPU tries a batch with pairs
    embeddings = torch.ones(2, 16, requires_grad=True)
    game = action = torch.zeros(2, dtype=torch.int64)
    criterion(embeddings, torch.arange(2), action, game)["loss"].backward()
    with pytest.raises(ReidError, match=r"^loss\.wrong \(extensions/mine\.py\): has no gradient"):
        criterion(embeddings, torch.zeros(2, dtype=torch.int64), action, game)


def test_want_of_memory_of_an_extension_is_told_as_such(extend):
    extend("mine", WRONG["loss"].replace("{}", "batch.embeddings.new_empty(1 << 58)"))
    with pytest.raises(RuntimeError, match="allocate"):
        trained({**CHEAP, **USE["loss"]})
