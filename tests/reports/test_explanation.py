"""Activation maps: sums, finite differences, planted places; every kind of backbone; which boxes are shown."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from builders import ROOT, gallery
from builders.model import NETWORK, changed, model
from reid.core.errors import ReidError
from reid.data.index import read_index
from reid.models import device as compute
from reid.models.checkpoint import save
from reid.models.embedder import Embedder
from reid.params.schema import section_class
from reid.ranking.distances import read_distances
from reid.reports.activation import find_places, similarity_maps
from reid.reports.chosen_queries import COLUMNS, Chosen, choose
from reid.reports.explanation import maps_of
from reid.reports.explanation_sheet import draw, heat
from reid.reports.ranked_boxes import Box

pytestmark = pytest.mark.usefixtures("one_thread")
PAIRS = [1, 0, 0]  # the partner of each of three images
TOKENS = {"backbone": "timm/vit_tiny_patch16_224", "pooling": "token"}


def build(size=(64, 32), seed=0, **changes):
    torch.manual_seed(seed)
    return Embedder(section_class("Network").model_validate(changed(NETWORK, changes)), size).eval()


def images(size=(64, 32), count=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


class Stub(nn.Module):
    """A network of which a test knows where it looks: its pooling takes B x 3 x 8 x 4 to B x 3."""

    def __init__(self, pool, size=(32, 16)):
        super().__init__()
        self.backbone = nn.Sequential(nn.AvgPool2d(4))
        self.pool, self.size, self.width = pool, size, 3
        self.register_buffer("mean", torch.zeros(1))

    def prepare(self, batch):
        return batch.permute(0, 3, 1, 2).float() / 255

    def normalise(self, x):
        return x

    def forward(self, x):
        return self.pool(self.backbone(x))


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "average"},
        {"pooling": "gem"},
        {"backbone": "osnet_x0_25"},
        {"backbone": "convnext_tiny"},
        {"backbone": "timm/vit_tiny_patch16_224"},
        {"backbone": "timm/swin_tiny_patch4_window7_224"},
    ],
    ids=lambda changes: " ".join(changes.values()),
)
@pytest.mark.usefixtures("torch_as_it_was")
def test_maps_sum_to_the_cosine_where_nothing_else_adds_to_it(changes, device):
    compute.prepare(1)
    network = build((64, 32), **changes)
    with torch.no_grad():
        embeddings = nn.functional.normalize(network(network.prepare(torch.from_numpy(images()))))
    maps, cosines = similarity_maps(network.to(device), images(), PAIRS)
    np.testing.assert_allclose(cosines, (embeddings * embeddings[PAIRS]).sum(1), atol=1e-5)
    np.testing.assert_allclose(maps.sum((1, 2)), cosines, atol=1e-4)
    assert np.ptp(maps, axis=(1, 2)).min() > 0


def test_what_a_bnneck_adds_is_the_rest():
    network = build(bnneck=True)
    with torch.no_grad():
        network.bnneck.bias.normal_()
        network.bnneck.running_mean.normal_()
        network.bnneck.running_var.uniform_(0.5, 2)
    maps, cosines = similarity_maps(network, images(), PAIRS)
    with torch.no_grad():
        embeddings = network(network.prepare(torch.from_numpy(images())))
        constant = network.bnneck(torch.zeros(1, network.width))
        other = nn.functional.normalize(embeddings)[PAIRS]
        rest = (constant * other).sum(1) / embeddings.norm(dim=1)
    np.testing.assert_allclose(maps.sum((1, 2)) + rest.numpy(), cosines, atol=1e-4)


@pytest.mark.parametrize("projection", [{"kind": "relu", "width": 16}, {"kind": "linear", "width": 16}])
def test_a_place_is_worth_what_its_loss_would_cost(projection):
    """Finite differences: one place a thousandth weaker, the lengths as they were."""
    network, share = build(pooling="gem", projection=projection).double(), 1e-3
    places, batch = find_places(network), images()
    maps, _ = similarity_maps(network, batch, PAIRS, places)
    x = network.prepare(torch.from_numpy(batch)).double()
    module = network.backbone.get_submodule(places.module)
    with torch.no_grad():
        whole = network.double()(x)
        other = nn.functional.normalize(whole)[PAIRS]
        for line, column in np.ndindex(places.grid):

            def weaken(module, inputs, output, line=line, column=column):
                output = output.clone()
                output[:, :, line, column] *= 1 - share
                return output

            handle = module.register_forward_hook(weaken)
            changed = ((whole - network(x)) / whole.norm(dim=1, keepdim=True) * other).sum(1) / share
            handle.remove()
            np.testing.assert_allclose(maps[:, line, column], changed, rtol=2e-2, atol=1e-4)


def test_a_network_that_looks_at_one_corner_has_its_map_there():
    class Corner(nn.Module):
        def forward(self, x):
            return x[:, :, :2, 2:].mean((2, 3))

    maps, cosines = similarity_maps(Stub(Corner()), images((32, 16)), PAIRS)
    assert maps.shape == (3, 8, 4)
    assert (maps[:, :2, 2:] > 0).all()
    assert np.count_nonzero(maps) == 3 * 4
    np.testing.assert_allclose(maps.sum((1, 2)), cosines, atol=1e-5)


def test_a_map_shows_what_both_images_have():
    """Red in both, at different places; green and blue in one alone."""
    batch = np.zeros((2, 32, 16, 3), np.uint8)
    batch[0, :8, :8, 0], batch[0, 16:24, 8:, 1] = 255, 255
    batch[1, 24:, 8:, 0], batch[1, :8, :8, 2] = 255, 255
    maps, _ = similarity_maps(Stub(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())), batch, [1, 0])
    wanted = np.zeros((2, 8, 4), bool)
    wanted[0, :2, :2] = wanted[1, 6:, 2:] = True
    np.testing.assert_array_equal(maps > 1e-6, wanted)


@pytest.mark.parametrize(
    "changes, size, grid",
    [
        ({"last_stride": 1}, (64, 32), (4, 2)),
        ({"backbone": "osnet_x0_25"}, (64, 32), (4, 2)),
        ({"backbone": "osnet_ain_x0_25"}, (64, 32), (4, 2)),
        ({"backbone": "mobilenet_v3_small"}, (128, 64), (4, 2)),
        ({"backbone": "swin_t"}, (64, 32), (2, 1)),
        (TOKENS, (128, 64), (8, 4)),
    ],
    ids=lambda value: value.get("backbone", "resnet18") if isinstance(value, dict) else "",
)
def test_every_kind_of_backbone_has_maps_of_the_images_shape(changes, size, grid):
    network = build(size, **changes)
    batch = images(size)
    maps, cosines = similarity_maps(network, batch, PAIRS)
    assert maps.shape == (3, *grid)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert np.ptp(maps, axis=(1, 2)).min() > 0
    assert (abs(cosines) <= 1 + 1e-5).all()
    # an image's map does not depend on those beside it
    alone, _ = similarity_maps(network, batch[:2], PAIRS[:2])
    np.testing.assert_allclose(alone, maps[:2], atol=1e-5 + 1e-3 * abs(maps).max())


def test_a_transformer_of_torchvision_has_maps():
    torch.manual_seed(0)
    network = Stub(nn.Identity(), (32, 32))
    network.backbone = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32).eval()
    network.backbone.heads, network.width = nn.Identity(), 16
    maps, _ = similarity_maps(network, images((32, 32)), PAIRS)
    assert maps.shape == (3, 4, 4)
    assert np.ptp(maps, axis=(1, 2)).min() > 0


def test_explaining_leaves_the_network_as_it_was():
    network = build((64, 32), **TOKENS)
    x = network.prepare(torch.from_numpy(images()))
    with torch.no_grad():
        before = network(x)
        similarity_maps(network, images(), PAIRS)
        assert torch.equal(network(x), before)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.usefixtures("torch_as_it_was")
@pytest.mark.parametrize("changes", [TOKENS, {"backbone": "timm/swin_tiny_patch4_window7_224"}, {"pooling": "gem"}])
def test_a_gpu_gives_the_same_maps_twice(changes):
    compute.prepare(1)
    network, store = build(**changes).to(compute.device()), images(count=9)
    queries = [Chosen(0, [Box(row, row, 0.5, None) for row in range(1, 9)], 8, None, None)]
    first, again = (maps_of(network, queries, store) for _ in "ab")
    np.testing.assert_array_equal(first, again)


def test_a_network_without_places_is_refused():
    network = Stub(nn.Identity())
    network.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 16, 3))
    with pytest.raises(ReidError, match="no map of the image's places"):
        find_places(network)


def test_heat_is_brightest_where_the_map_is_highest():
    values = np.zeros((4, 2), np.float32)
    values[0, 1], values[3, 0] = 2, -5
    light = np.asarray(heat(Image.new("RGB", (40, 80), "grey"), values, 2.0).convert("L"), int)
    assert light.shape == (80, 40)
    assert light[5, 35] == light.max()
    assert light[75, 5] == light.min() == light[75, 35]


SIZES = [(3, 9), (1, 1), (2, 30), (4, 12)]


@pytest.fixture
def split(tmp_path):
    table = gallery.make_index(SIZES)
    return gallery.write_split(tmp_path, table, height=32, width=16)


def chosen(files, **options):
    table, _ = read_index(files["index"], COLUMNS)
    return table, choose(table, read_distances(files["distances"]), files["distances"], **options)


@pytest.mark.parametrize("matches", [1, 4, 50])
def test_boxes_are_those_ranked_best_and_the_first_match(split, matches):
    table, queries = chosen(split, worst=100, matches=matches)
    rows = table.to_pylist()
    assert len(queries) == 10
    assert [one.ap for one in queries] == sorted(one.ap for one in queries)
    pairs = read_distances(split["distances"])
    for one in queries:
        query = rows[one.row]
        assert query["role"] == "query"
        mine = pairs.query == query["bbox_idx"]
        order = sorted(zip(pairs.distance[mine].tolist(), pairs.gallery[mine].tolist(), strict=True))
        person = {box["bbox_idx"]: box["person_uid"] for box in rows if box["role"] == "gallery"}
        match = [person[idx] == query["person_uid"] for _, idx in order]
        ranks = list(range(1, min(matches, len(order)) + 1))
        if not any(match[:matches]):
            ranks.append(match.index(True) + 1)
        assert (one.gallery_size, one.first_match_rank) == (len(order), match.index(True) + 1)
        assert [box.rank for box in one.boxes] == ranks
        for box in one.boxes:
            assert (box.distance, rows[box.row]["bbox_idx"]) == order[box.rank - 1]
            assert rows[box.row]["role"] == "gallery"
            assert box.match == match[box.rank - 1]


def test_queries_come_in_the_order_they_are_named_in(split):
    table, queries = chosen(split, queries=[7, 2])
    assert [table["bbox_idx"][one.row].as_py() for one in queries] == [7, 2]
    with pytest.raises(ReidError, match="no query 12 in this split; near are 5, 6, 7, 8, 9"):
        chosen(split, queries=[12])


def test_without_labels_nothing_is_marked_and_queries_must_be_named(tmp_path):
    files = gallery.write_split(tmp_path, gallery.make_index(SIZES, labels=False), "challenge", 32, 16)
    with pytest.raises(ReidError, match="--queries 0 1 2"):
        chosen(files)
    table, queries = chosen(files, queries=[1], matches=3)
    assert [box.match for box in queries[0].boxes] == [None] * 3
    assert queries[0].ap is queries[0].first_match_rank is None
    draw(tmp_path / "out.png", queries, [np.ones((4, 4, 2), np.float32)], table, np.load(files["thumbnails"]))


@pytest.mark.usefixtures("torch_as_it_was")
def test_the_program_writes_what_the_library_draws(split, tmp_path):
    params = model({"network.backbone": "osnet_x0_25"})
    torch.manual_seed(0)
    network = Embedder(params.network, (32, 16)).eval()
    save(tmp_path / "m.safetensors", network, params)
    command = [sys.executable, ROOT / "scripts/explain.py", "--checkpoint", tmp_path / "m.safetensors"]
    for name, path in split.items():
        command += [f"--{name}", path]
    command += ["--out", tmp_path / "a.png", "--worst", "2", "--matches", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"wrote [^\n]+\n", done.stderr), done.stderr
    compute.prepare(1)
    network.to(compute.device())
    store, (table, queries) = np.load(split["thumbnails"]), chosen(split, worst=2, matches=2)
    maps = [
        similarity_maps(network, store[[one.row, *(b.row for b in one.boxes)]], [1] + [0] * len(one.boxes))[0]
        for one in queries
    ]
    for own, wanted in zip(maps_of(network, queries, store), maps, strict=True):
        np.testing.assert_array_equal(own, wanted)
    draw(tmp_path / "b.png", queries, maps, table, store)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.info) == ("PNG", {})
