"""Training on a few coloured rectangles, and embeddings row by row."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from small import model

from reid import training
from reid.distances import read_embeddings
from reid.embedding import embed, write_embeddings
from reid.errors import ReidError
from reid.losses import BatchLoss
from reid.networks import Embedder
from reid.params import Embed
from reid.trainset import Pictures, epoch_batches, select_people

pytestmark = pytest.mark.usefixtures("torch_as_it_was")

HEIGHT, WIDTH = 32, 16


def league(actions=5, people=4, images=2):
    """An index with rows in no order of action or person, and a picture per row: its person's colour and noise."""
    person = np.repeat(np.arange(actions * people), images)
    np.random.default_rng(3).shuffle(person)
    table = pa.table(
        {
            "bbox_idx": pa.array(np.arange(len(person)), pa.int32()),
            "action_idx": pa.array(person // people, pa.int32()),
            "person_uid": pa.array(7 * person + 2, pa.int32()),
            **{level: pa.array([level] * len(person)) for level in ("championship", "season")},
            "game": pa.array([f"game {number // people // 2}" for number in person.tolist()]),
        }
    )
    rng = np.random.default_rng(4)
    colours = rng.integers(0, 200, (actions * people, 1, 1, 3))
    store = colours[person] + rng.integers(0, 40, (len(person), HEIGHT, WIDTH, 3))
    return table, store.astype(np.uint8)


def train(table, store, params, on_epoch=lambda number, step: None, **more):
    """The network that a training on one split ends in."""
    people = select_people([table], params.subset)
    return training.train(people, Pictures([store]), params, None, on_epoch=on_epoch, progress=False, **more).chosen


def arrays(network):
    return {key: value.numpy().copy() for key, value in network.state_dict().items()}


def equal(one, other):
    return set(one) == set(other) and all(np.array_equal(one[key], other[key]) for key in one)


class Net(torch.nn.Module):
    """One linear layer in the place of a network, which keeps what it is shown."""

    def __init__(self, params, size):
        super().__init__()
        self.backbone, self.neck = torch.nn.Linear(size[0] * size[1] * 3, 4), torch.nn.Identity()
        self.register_buffer("mean", torch.zeros(1))
        self.width, self.size, self.seen = 4, size, []

    def normalise(self, x):
        self.seen.append((255 * x).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous())
        return x.flatten(1)

    def prepare(self, pictures):
        return self.normalise(pictures.permute(0, 3, 1, 2).float() / 255)

    def features(self, x):
        return self.backbone(x)

    def forward(self, x):
        return self.features(x)

    def cost(self):
        return {"parameters": 1, "flops": 1}


@pytest.fixture
def spy(monkeypatch):
    """Train with a :class:`Net`; gives the network, and the classes that the loss was told."""
    found = {"person": []}

    class Loss(BatchLoss):
        def forward(self, embeddings, person, *others):
            found["person"].append(person.clone())
            return super().forward(embeddings, person, *others)

    def build(params, size):
        found.setdefault("network", Net(params, size))
        return found["network"]

    monkeypatch.setattr(training, "Embedder", build)
    monkeypatch.setattr(training, "BatchLoss", Loss)
    return found


def numbered(table, store):
    """A store whose pictures carry their row in the top left corner, and 255 there in the middle of the line."""
    store = store.copy()
    store[:, 0] = 0
    store[:, 0, 0, 0] = np.arange(len(table))
    store[:, 0, 0, 1] = 255
    return store


def test_the_same_seed_gives_the_same_arrays_to_the_bit_and_another_seed_others():
    table, store = league(actions=2)
    first = arrays(train(table, store, model()))
    assert equal(first, arrays(train(table, store, model())))
    other = arrays(train(table, store, model({"seed": 2})))
    assert not any(np.array_equal(first[key], other[key]) for key in first if key.endswith("conv1.weight"))


def test_loss_falls_and_each_epoch_is_reported_in_order():
    table, store = league()
    steps = []
    params = model({"epochs": 5, "schedule.milestones": []})
    network = train(table, store, params, lambda number, step: steps.append((number, step)))
    assert [number for number, _ in steps] == list(range(5))
    assert all(set(step.losses) == {"loss", "triplet", "softmax"} for _, step in steps)
    assert all(step.pictures == 40 and step.seconds > 0 for _, step in steps)
    losses = [step.losses["loss"] for _, step in steps]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    assert not network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    "schedule, wanted",
    [
        ({"kind": "step", "milestones": [1, 3], "gamma": 0.5}, [0.01, 0.005, 0.005, 0.0025]),
        (  # the rate of the last of three batches of each of four epochs
            {"kind": "cosine", "warm_up": 0.0, "hold": 0.0, "end": 0.0},
            [0.005 * (1 + np.cos(np.pi * (k + 2 / 3) / 4)) for k in range(4)],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["adam", "adamw", "amsgrad", "sgd", "rmsprop", "radam"])
def test_learning_rate_follows_the_schedule(spy, schedule, wanted, kind):
    table, store = league()
    optimiser = {"optimiser.kind": kind, "optimiser.learning_rate": 0.01, "optimiser.weight_decay": 0.0}
    rates = []
    params = model({"epochs": 4, "schedule": schedule, **optimiser})
    train(table, store, params, lambda _, step: rates.append(step.learning_rate))
    np.testing.assert_allclose(rates, wanted)


def test_no_epochs_keep_the_untrained_network():
    table, store = league()
    params = model({"epochs": 0})
    found = train(table, store, params, lambda *_: pytest.fail("there is no epoch"))
    torch.manual_seed(params.seed)
    assert equal(arrays(found), arrays(Embedder(params.network, (HEIGHT, WIDTH))))
    assert not found.training


@pytest.mark.parametrize("subset, actions", [(1.0, 5), (0.4, 2), (0.41, 3), (0.01, 1)])
def test_subset_is_a_prefix_of_the_actions(subset, actions):
    table, _ = league()
    people = select_people([table], subset)
    wanted = [row for row, action in enumerate(table["action_idx"].to_pylist()) if action < actions]
    assert people.rows.tolist() == wanted
    assert people.action.tolist() == [table["action_idx"][row].as_py() for row in wanted]
    assert people.game.tolist() == [table["action_idx"][row].as_py() // 2 for row in wanted]
    uids = sorted({table["person_uid"][row].as_py() for row in wanted})
    assert people.person.tolist() == [uids.index(table["person_uid"][row].as_py()) for row in wanted]


@pytest.mark.parametrize(
    "sampler",
    [
        {"kind": "actions", "actions": 2, "people": 4, "images": 2, "neighbours": "any"},
        {"kind": "identity", "people": 3, "images": 2},
    ],
)
def test_network_sees_the_stores_rows_or_their_mirror_images_with_their_own_person(spy, sampler):
    table, store = league()
    store = numbered(table, store)
    train(table, store, model({"subset": 0.6, "sampler": sampler, "epochs": 3}))
    uid_of_class, rows = {}, []
    for pictures, person in zip(spy["network"].seen, spy["person"], strict=True):
        for picture, number in zip(pictures.numpy(), person.tolist(), strict=True):
            flipped = picture[0, 0, 1] == 0
            as_stored = picture[:, ::-1] if flipped else picture
            row = int(as_stored[0, 0, 0])
            np.testing.assert_array_equal(as_stored, store[row])
            uid = table["person_uid"][row].as_py()
            assert uid_of_class.setdefault(number, uid) == uid
            rows.append(row)
    assert {table["action_idx"][row].as_py() for row in rows} == {0, 1, 2}
    assert sorted(uid_of_class) == list(range(len(set(uid_of_class.values()))))
    assert sum(map(len, spy["person"])) == len(rows)


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_pictures_are_flipped_as_often_as_asked_and_each_by_itself(spy, flip):
    table, store = league()
    store = numbered(table, store)
    train(table, store, model({"pictures.flip": flip, "epochs": 40}))
    flipped = [pictures[:, 0, 0, 1].numpy() == 0 for pictures in spy["network"].seen]
    every = np.concatenate(flipped)
    assert len(every) == 1600
    assert every.mean() == pytest.approx(flip, abs=5 * (flip * (1 - flip) / 1600) ** 0.5)
    if flip == 0.5:
        assert not any(batch.all() or not batch.any() for batch in flipped if len(batch) == 16)


def test_batches_of_an_epoch_differ_from_those_of_the_next(spy):
    table, store = league()
    store = numbered(table, store)
    train(table, store, model({"pictures.flip": 0.0}))
    rows = [pictures[:, 0, 0, 0].tolist() for pictures in spy["network"].seen]
    assert len(rows) == 6
    for epoch in (rows[:3], rows[3:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(40))
    assert rows[:3] != rows[3:]


@pytest.mark.parametrize(
    "images, sampler",
    [
        (2, {"kind": "identity", "people": 21, "images": 2}),
        (1, {"kind": "actions", "actions": 2, "people": 4, "images": 2, "neighbours": "any"}),
    ],
)
def test_too_few_people_are_one_clear_error(images, sampler):
    table, store = league(images=images)
    with pytest.raises(ReidError, match=r"20 people in 5 actions are too few .*subset"):
        train(table, store, model({"sampler": sampler}))


def test_index_without_labels_or_with_an_empty_subset_is_refused():
    table, _ = league()
    hidden = table.set_column(2, "person_uid", pa.nulls(len(table), pa.int32()))
    with pytest.raises(ReidError, match="no labels"):
        select_people([hidden], 1.0)
    late = table.set_column(1, "action_idx", pa.array(np.arange(len(table)) + 50, pa.int32()))
    with pytest.raises(ReidError, match="subset: there is no action"):
        select_people([late], 0.1)


def test_loss_that_is_no_number_ends_the_training(spy):
    table, store = league()
    optimiser = {"optimiser.kind": "sgd", "optimiser.learning_rate": 1e30, "optimiser.weight_decay": 0.0}
    with pytest.raises(ReidError, match=r"epoch \d+: the loss is (nan|inf).*learning_rate"):
        train(table, store, model({**optimiser, "epochs": 5}))


def test_bf16_runs_on_a_cpu_and_keeps_the_arrays_in_fp32():
    table, store = league(actions=2)
    full = arrays(train(table, store, model({"epochs": 1})))
    half = arrays(train(table, store, model({"epochs": 1, "precision": "bf16"})))
    assert all(value.dtype == full[key].dtype and np.isfinite(value).all() for key, value in half.items())
    assert not equal(full, half)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_on_a_gpu_repeats_and_comes_back_to_the_cpu(precision):
    table, store = league()
    first = train(table, store, model({"precision": precision}))
    assert {parameter.device.type for parameter in first.parameters()} == {"cpu"}
    assert equal(arrays(first), arrays(train(table, store, model({"precision": precision}))))


def test_epoch_batches_are_those_of_the_models_sampler():
    table, _ = league()
    people = select_people([table], 1.0)
    identity = epoch_batches(people, model({"sampler": {"kind": "identity", "people": 3, "images": 2}}).sampler, rng())
    assert {len(batch) for batch in identity} == {6}
    actions = epoch_batches(people, model().sampler, rng())
    assert [len(batch) for batch in actions] == [16, 16, 8]


def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    built = Embedder(model().network, (HEIGHT, WIDTH)).train()
    with torch.no_grad():  # running statistics that make train and evaluation mode differ
        built(built.prepare(torch.from_numpy(league()[1])))
    return built


def run(network, store, batch, precision="fp32", views="plain"):
    return embed(network, store, Embed(batch=batch, views=views, precision=precision, threads=1), progress=False)


def test_embedding_of_a_row_does_not_depend_on_the_batch(network):
    _, store = league()
    whole = run(network, store, 64)
    assert whole.dtype == np.float32
    assert whole.shape == (40, 512)
    for batch in (1, 7, 40):
        np.testing.assert_allclose(run(network, store, batch), whole, atol=1e-4)
    with torch.no_grad():
        for row in (0, 13, 39):
            alone = network.eval()(network.prepare(torch.from_numpy(store[row : row + 1])))
            np.testing.assert_allclose(whole[row], alone[0].numpy(), atol=1e-4)
    assert np.abs(whole[0] - whole[13]).max() > 0.01  # so that a mix-up would be seen


def test_the_same_store_gives_the_same_embeddings_to_the_bit(network):
    _, store = league()
    np.testing.assert_array_equal(run(network, store, 16), run(network, store, 16))


def test_embedding_takes_a_read_only_memory_map_and_pictures_of_another_size(network, tmp_path):
    _, store = league()
    np.save(tmp_path / "s.npy", np.kron(store[:6], np.ones((1, 2, 2, 1), np.uint8)))
    large = run(network, np.load(tmp_path / "s.npy", mmap_mode="r"), 4)
    assert large.shape == (6, 512)
    assert np.argmin(np.linalg.norm(run(network, store, 16)[:, None] - large, axis=2), axis=0).tolist() == list(
        range(6)
    )


def test_bf16_embeddings_are_float32_and_close_to_those_of_fp32(network):
    _, store = league(actions=1)
    full, half = run(network, store, 8), run(network, store, 8, "bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1 * np.abs(full).max()


def test_embedding_that_is_not_finite_is_refused_with_its_row(monkeypatch):
    _, store = league()
    spoilt = Net(None, (HEIGHT, WIDTH))
    spoilt.prepare = lambda pictures: pictures.float().flatten(1) / pictures.float().flatten(1).amax(1, keepdim=True)
    store[[9, 30]] = 0  # 0 / 0
    with pytest.raises(ReidError, match="row 9 and 1 more"):
        run(spoilt, store, 4)


def test_embeddings_are_read_as_they_were_written(tmp_path):
    found = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    write_embeddings(tmp_path / "sub/e.npy", found)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "sub/e.npy", 5), found)
    assert np.load(tmp_path / "sub/e.npy").dtype == np.float32
