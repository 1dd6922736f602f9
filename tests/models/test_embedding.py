"""Embeddings of a store, row by row, in batches of any size."""

import numpy as np
import pytest
import torch

from builders.model import model
from builders.training import HEIGHT, WIDTH, Net, league
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.embedding import embed
from reid.params.ranking import Embed

pytestmark = pytest.mark.usefixtures("torch_as_it_was")


def built(size):
    """A network with running statistics that make train and evaluation mode differ."""
    torch.manual_seed(0)
    network = Embedder(model().network, size).train()
    with torch.no_grad():
        network(network.prepare(torch.from_numpy(league()[1])))
    return network


@pytest.fixture(scope="module")
def network():
    return built((HEIGHT, WIDTH))


def run(network, store, batch_size, **params):
    return embed(network, store, Embed(batch_size=batch_size, **params), progress=False)


def naive(network, images):
    """The embedding of each image alone."""
    with torch.no_grad():
        return np.concatenate([network.eval()(network.prepare(torch.from_numpy(image[None]))) for image in images])


def test_embedding_of_a_row_does_not_depend_on_the_batch(network):
    _, store = league()
    whole = run(network, store, 64)
    assert whole.dtype == np.float32
    assert whole.shape == (40, 512)
    for batch_size in (1, 7, 40):
        np.testing.assert_allclose(run(network, store, batch_size), whole, atol=1e-4)
    np.testing.assert_allclose(whole, naive(network, store), atol=1e-4)
    assert np.abs(whole[0] - whole[13]).max() > 0.01  # so that a mix-up would be seen


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


def test_bf16_embeddings_are_float32_and_close_to_those_of_fp32():
    # where a map gets one column wide, oneDNN's bf16 convolutions read memory that nobody has written
    network, (_, store) = built((64, 64)), league(actions=1)
    full, half = run(network, store, 8), run(network, store, 8, precision="bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1 * np.abs(full).max()


def test_embedding_that_is_not_finite_is_refused_with_its_row():
    _, store = league()
    spoilt = Net(None, (HEIGHT, WIDTH))
    spoilt.prepare = lambda images: images.float().flatten(1) / images.float().flatten(1).amax(1, keepdim=True)
    store[[9, 30]] = 0  # 0 / 0
    with pytest.raises(ReidError, match="row 9 and 1 more"):
        run(spoilt, store, 4)
