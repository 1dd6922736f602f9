"""What networks from scratch begin with: identities, and a stem that whitens."""

import numpy as np
import pytest
import torch

from builders.model import model
from builders.training import CHEAP, equal, trainer_of, weights
from reid.core.errors import ReidError
from reid.models.embedder import Embedder
from reid.models.initialisation import initialise, set_dirac, whiten_stem
from reid.params.network import Init

pytestmark = pytest.mark.usefixtures("one_thread")


def embedder(backbone="resnet18", size=(32, 16), **changes):
    torch.manual_seed(1)
    changes = {f"network.{key}": value for key, value in changes.items()}
    return Embedder(model({"network.backbone": backbone, **changes}).network, size)


@pytest.fixture(scope="module")
def images():
    """Smooth ones, whose neighbouring pixels are alike."""
    small = torch.rand(300, 3, 8, 4, generator=torch.Generator().manual_seed(2))
    smooth = torch.nn.functional.interpolate(small, (32, 16), mode="bicubic").clamp(0, 1)
    return (255 * smooth).permute(0, 2, 3, 1).byte().numpy()


def test_convolutions_that_keep_their_channels_hand_on_what_they_get():
    network = embedder()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    set_dirac(network.backbone)
    x = torch.randn(2, 64, 8, 4)
    torch.testing.assert_close(network.backbone.layer1[0].conv1(x), x)
    torch.testing.assert_close(network.backbone.layer2[0].conv2(x.repeat(1, 2, 1, 1)), x.repeat(1, 2, 1, 1))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    own = {f"backbone.layer{i}.{j}.conv{k}.weight" for i in range(1, 5) for j in range(2) for k in (1, 2)}
    assert changed == own - {f"backbone.layer{i}.0.conv1.weight" for i in (2, 3, 4)}  # which double the channels


@pytest.mark.parametrize(
    "backbone, half",
    [("resnet18", 32), ("osnet_x0_25", 8), (torch.nn.Conv2d(3, 64, 3, 2, 1), 27)],  # a patch of 3x3 has 27 numbers
)
def test_stem_takes_patches_apart_into_uncorrelated_parts_of_variance_1(images, backbone, half):
    network = embedder(backbone if isinstance(backbone, str) else "osnet_x0_25")
    if not isinstance(backbone, str):
        network.backbone = backbone
    stem = next(module for module in network.backbone.modules() if isinstance(module, torch.nn.Conv2d))
    before = stem.weight.detach().clone()
    x = network.prepare(torch.from_numpy(images))
    whiten_stem(network, x)
    with torch.no_grad():
        inside = torch.nn.functional.conv2d(x, stem.weight, stride=stem.stride)  # whole patches alone
    parts = inside.transpose(0, 1).flatten(1)
    torch.testing.assert_close(parts[half : 2 * half], -parts[:half], atol=1e-4, rtol=1e-4)
    moments = parts[:half] @ parts[:half].T / parts.shape[1]
    largest = moments.diagonal()
    torch.testing.assert_close(moments, torch.diag(largest), atol=2e-3, rtol=0)
    assert largest.max() < 1.001 and largest[:3].min() > 0.99  # less where 5e-4 beside the variance counts
    assert (largest[:-1] > largest[1:] - 1e-3).all()
    assert torch.equal(stem.weight[2 * half :], before[2 * half :])
    # numpy's eigenvectors of the same patches
    patches = torch.nn.functional.unfold(x, stem.kernel_size, stride=stem.stride).transpose(1, 2).flatten(0, 1)
    values, vectors = np.linalg.eigh((patches.T.double() @ patches.double() / len(patches)).numpy())
    first = vectors[:, -1] / np.sqrt(values[-1] + 5e-4)
    own = stem.weight[0].detach().flatten().numpy()
    np.testing.assert_allclose(own * np.sign(own @ first), first, atol=1e-4)


def test_seed_chooses_the_images_and_what_is_not_asked_for_stays(images):
    rows, stem, kernel = np.arange(10, 290), "backbone.conv1.weight", "backbone.layer1.0.conv1.weight"
    untouched, states = embedder().state_dict(), []
    for init, seed in (({}, 1), ({"dirac": True}, 1), ({"whitened_stem": True}, 1), ({"whitened_stem": True}, 1)):
        network = embedder()
        initialise(network, Init(**init), images, rows, seed)
        states.append(network.state_dict())
    changed = [{name for name in untouched if not torch.equal(state[name], untouched[name])} for state in states]
    assert changed[0] == set() and kernel in changed[1] and stem not in changed[1]
    assert changed[2] == changed[3] == {stem} and torch.equal(states[2][stem], states[3][stem])


def test_a_training_begins_so():
    before = {**CHEAP, "network.backbone": "osnet_x0_25"}
    changes = {**before, "network.init": {"dirac": False, "whitened_stem": True}}
    one, again, plain = (weights(trainer_of(c).network) for c in (changes, changes, before))
    assert equal(one, again)
    assert {name for name in one if not torch.equal(one[name], plain[name])} == {"backbone.conv1.conv.weight"}


def test_network_that_begins_with_something_else_is_refused():
    network = embedder("osnet_x0_25")
    network.backbone = torch.nn.Linear(3, 4)
    with pytest.raises(ReidError, match=r"^network\.init\.whitened_stem: osnet_x0_25 does not begin with"):
        whiten_stem(network, torch.zeros(1, 3, 32, 16))
