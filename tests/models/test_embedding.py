"""Embeddings of a store, row by row, in batches of any size."""

import copy
import functools
import threading

import numpy as np
import pytest
import torch

from builders.model import model
from builders.training import HEIGHT, WIDTH, Net, league
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.embedding import Copies, _pipelined, embed
from reid.params.ranking import Embed

pytestmark = pytest.mark.usefixtures("torch_as_it_was", "one_thread")
CPU = torch.device("cpu")


def built(size):
    """A network with running statistics that make train and evaluation mode differ."""
    torch.manual_seed(0)
    network = Embedder(model().network, size).train()
    with torch.no_grad():
        network(network.prepare(torch.from_numpy(league()[1])))
    return network


@pytest.fixture(scope="module")
def made():
    return built((HEIGHT, WIDTH))


@pytest.fixture
def network(made, device):
    return copy.deepcopy(made).to(device)


def run(network, store, batch_size, **params):
    return embed(network, store, Embed(batch_size=batch_size, **params), progress=False)


def naive(network, images):
    """The embedding of each image alone, on the CPU."""
    network = copy.deepcopy(network).cpu().eval()
    with torch.no_grad():
        return np.concatenate([network(network.prepare(torch.from_numpy(image[None]))) for image in images])


def test_embedding_of_a_row_does_not_depend_on_the_batch(network):
    _, store = league()
    whole = run(network, store, 64)
    assert whole.dtype == np.float32
    assert whole.shape == (40, 512)
    for batch_size in (1, 7, 40):
        np.testing.assert_allclose(run(network, store, batch_size), whole, atol=1e-4)
    np.testing.assert_allclose(whole, naive(network, store), atol=1e-4)
    assert np.abs(whole[0] - whole[13]).max() > 0.01  # so that a mix-up would be seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_an_embedding_is_the_same_to_rounding_whatever_stands_beside_it(made):
    network, (_, store) = copy.deepcopy(made), league()
    whole = run(network, store, 16)
    order = np.random.default_rng(0).permutation(len(store))
    np.testing.assert_allclose(run(network, store[order], 16), whole[order], atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(run(network, store[:5], 16), whole[:5], atol=1e-6, rtol=1e-6)


def test_flip_test_is_the_mean_with_the_mirror_image_each_of_length_1(network):
    _, store = league(actions=2)
    both = [naive(network, images) for images in (store, store[:, :, ::-1].copy())]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in both]
    np.testing.assert_allclose(run(network, store, 5, flip_test=True), sum(unit) / 2, atol=1e-5)
    assert np.abs(unit[0] - unit[1]).max() > 1e-3  # else the mirror image says nothing


def test_the_same_store_gives_the_same_embeddings_to_the_bit(network):
    _, store = league()
    np.testing.assert_array_equal(run(network, store, 16), run(network, store, 16))


def test_embedding_takes_a_read_only_memory_map_and_images_of_another_size(network, tmp_path):
    _, store = league()
    np.save(tmp_path / "s.npy", np.kron(store[:6], np.ones((1, 2, 2, 1), np.uint8)))
    large = run(network, np.load(tmp_path / "s.npy", mmap_mode="r"), 4)
    assert large.shape == (6, 512)
    distance = np.linalg.norm(run(network, store, 16)[:, None] - large, axis=2)
    assert np.argmin(distance, axis=0).tolist() == list(range(6))


@pytest.mark.usefixtures("device")
def test_bf16_embeddings_are_float32_and_close_to_those_of_fp32():
    # where a map gets one column wide, oneDNN's bf16 convolutions read memory that nobody has written
    network, (_, store) = built((64, 64)), league(actions=1)
    full, half = run(network, store, 8), run(network, store, 8, precision="bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1 * np.abs(full).max()


@pytest.mark.usefixtures("device")
def test_embedding_that_is_not_finite_is_refused_with_its_row():
    _, store = league()
    spoilt = Net(None, (HEIGHT, WIDTH))
    spoilt.prepare = lambda images: images.float().flatten(1) / images.float().flatten(1).amax(1, keepdim=True)
    store[[9, 30]] = 0  # 0 / 0
    with pytest.raises(ReidError, match="row 9 and 1 more"):
        run(spoilt, store, 4)


def test_empty_store_has_no_embeddings(network):
    assert run(network, league()[1][:0], 4).shape == (0, 512)


# ---- read ahead and copied back behind, as on a GPU


class Store:
    """Rows that are their own numbers; notes which were read, and by which thread."""

    def __init__(self, rows, fails_at=None):
        self.shape, self.rows, self.fails_at, self.read = (rows, 2, 1, 3), rows, fails_at, []

    def __len__(self):
        return self.rows

    def __getitem__(self, part):
        numbers = np.arange(self.rows)[part]
        if self.fails_at in numbers:
            raise ReidError("damaged")
        self.read.append((int(numbers[0]), threading.current_thread() is threading.main_thread()))
        return np.broadcast_to(numbers[:, None, None, None], (len(numbers), *self.shape[1:])).astype(np.uint8)


def sums(seen):
    """A network's stand-in: sum and first component of each row; it notes what it gets."""

    def function(images):
        seen.append(images.clone())
        rows = images.flatten(1).float()
        return torch.stack([rows.sum(1), rows[:, 0]], 1)

    return function


def pipelined(store, batch_size, device):
    seen = []
    return list(_pipelined(sums(seen), store, batch_size, Copies(device))), seen


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 30])
def test_batches_come_in_order_and_all_have_one_size(rows, device):
    store = Store(rows)
    results, seen = pipelined(store, 4, device)
    wanted = np.arange(rows, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(results), np.stack([6 * wanted, wanted], 1))
    assert [len(result) for result in results] == [len(wanted[start : start + 4]) for start in range(0, rows, 4)]
    assert all(images.shape == (4, 2, 1, 3) and images.device.type == device.type for images in seen)
    assert not seen[-1][len(results[-1]) :].any()
    assert store.read == [(start, False) for start in range(0, rows, 4)]  # by another thread, each once


def test_results_do_not_change_when_their_buffers_are_used_again(device):
    results = _pipelined(sums([]), Store(40), 4, Copies(device))
    kept = next(results)
    before = kept.copy()
    assert len(list(results)) == 9
    np.testing.assert_array_equal(kept, before)


class LateCopies(Copies):
    """A device that does nothing before it is waited for, and then what it was asked for, in that order."""

    def __init__(self):
        super().__init__(CPU)
        self.asked, self.done = [], 0

    def up(self, source, target):
        self.asked.append(lambda: target.copy_(source))

    def down(self, source, target):
        self.asked.append(lambda: target.copy_(source))
        return functools.partial(self.wait, len(self.asked))

    def wait(self, upto):
        for work in self.asked[self.done : upto]:
            work()
        self.done = max(self.done, upto)


@pytest.mark.parametrize("rows", [1, 5, 9, 13, 40, 41])
def test_no_buffer_is_used_again_before_a_late_device_has_read_it(rows):
    copies, seen = LateCopies(), []

    def function(images):
        result = torch.full((len(images), 2), -1.0)
        copies.asked.append(lambda: result.copy_(sums(seen)(images)))
        return result

    wanted = np.arange(rows, dtype=np.float32)
    found = np.concatenate(list(_pipelined(function, Store(rows), 4, copies)))
    np.testing.assert_array_equal(found, np.stack([6 * wanted, wanted], 1))
    assert len(seen) == -(-rows // 4)


def test_two_batches_are_read_ahead_and_no_more():
    store, computed = Store(40), []
    results = _pipelined(lambda images: (computed.append(1), images.flatten(1).float())[1], store, 4, Copies(CPU))
    for count in range(1, 8):
        next(results)
        assert len(computed) == count + 1  # the next one is under way while a result is given out
        assert len(store.read) <= count + 3
    results.close()


def test_store_that_is_damaged_is_an_error_where_it_is_read(device):
    results = _pipelined(sums([]), Store(40, fails_at=22), 4, Copies(device))
    with pytest.raises(ReidError, match="damaged"):
        list(results)


def test_empty_store_is_no_batch(device):
    assert pipelined(Store(0), 4, device) == ([], [])


def test_a_pipelined_network_embeds_as_the_plain_loop(made):
    _, store = league()
    network = copy.deepcopy(made).eval()

    @torch.inference_mode()
    def function(images):
        return network(network.prepare(images))

    for batch_size in (8, 40):  # of whole batches, so that kernels are the same
        found = np.concatenate(list(_pipelined(function, store, batch_size, Copies(CPU))))
        plain = [function(torch.from_numpy(store[start : start + batch_size])) for start in range(0, 40, batch_size)]
        np.testing.assert_array_equal(found, np.concatenate(plain))
