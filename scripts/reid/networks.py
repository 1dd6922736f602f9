"""Networks that turn thumbnails into embeddings: a torchvision backbone and an optional layer after its pooling."""

import json
import re
from pathlib import Path
from urllib.error import URLError

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn

from reid.errors import ReidError
from reid.files import replacing
from reid.params import Network

# ImageNet's mean and standard deviation per channel (RGB, pictures in [0, 1]), which the kit uses too.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_HEADS = ("fc", "classifier", "heads", "head")  # what torchvision's networks call their classifier
_TAKEN_OFF = ("fc.", "classifier.", "heads.", "head.", "aux1.", "aux2.", "AuxLogits.")  # arrays that may be left over


class Embedder(nn.Module):
    """Pictures to embeddings.

    Args:
        params: reid.params.Network
        size: (height, width) of its input, pixels.

    Attributes:
        width: number of components D of an embedding.

    Raises:
        ReidError: the backbone is unknown, does not take pictures of this size, or its weights cannot be had.
    """

    def __init__(self, params, size):
        super().__init__()
        self.backbone = _backbone(params)
        with torch.no_grad():
            self.eval()
            try:
                width = self.backbone(torch.zeros(1, 3, *size)).shape[1]
            except (RuntimeError, AssertionError, ValueError) as error:
                raise ReidError(f"{params.backbone} does not take pictures of {size[0]}x{size[1]}: {error}") from error
            self.train()
        self.projection = nn.Identity()
        if params.embedding:
            linear = nn.Linear(width, params.embedding)
            nn.init.normal_(linear.weight, 0, 0.01)  # as the kit does
            nn.init.zeros_(linear.bias)
            self.projection = nn.Sequential(linear, nn.BatchNorm1d(params.embedding), nn.ReLU())
        self.width = params.embedding or width
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.size = tuple(size)

    def prepare(self, pictures):
        """Turn store rows into network input on the pictures' device.

        Args:
            pictures: uint8, B x H x W x 3.

        Returns:
            float32, B x 3 x height x width, normalised; resized (bilinear, antialiased) where the size differs.
        """
        x = pictures.permute(0, 3, 1, 2).float()
        if x.shape[2:] != self.size:
            x = nn.functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        return ((x / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, x):
        """float32, B x 3 x height x width, to float32, B x D."""
        return self.projection(self.backbone(x)).float()


def _backbone(params):
    names = torchvision.models.list_models(module=torchvision.models)
    if params.backbone not in names:
        raise ReidError(f"network.backbone: torchvision has no {params.backbone}; it has {', '.join(names)}")
    extra = {}
    if params.backbone in ("googlenet", "inception_v3"):
        # a second output, which only classification uses; their weights want pictures normalised in another way
        extra = {"aux_logits": False, "init_weights": True, "transform_input": True}
    network = torchvision.models.get_model(params.backbone, weights=None, **extra)
    head = next((name for name in _HEADS if hasattr(network, name)), None)
    if head is None or not _drop_last_linear(network, head):
        raise ReidError(f"network.backbone: {params.backbone} has no linear classifier to take off; choose another")
    if params.weights:
        _load_backbone(network, params)
    if params.last_stride == 1:
        if not isinstance(network, torchvision.models.ResNet):
            raise ReidError(f"network.last_stride: is 2 for {params.backbone}; only a ResNet's can be 1")
        for module in network.layer4[0].modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
    return network


def _drop_last_linear(network, name):
    """Replace the last linear layer of ``network.name`` by nothing; False if there is none."""
    parent, key = network, name
    module = getattr(network, name)
    while isinstance(module, nn.Sequential):
        parent, key = module, list(module._modules)[-1]
        module = parent._modules[key]
    if isinstance(module, nn.Linear):
        setattr(parent, key, nn.Identity())
        return True
    return False


def _load_backbone(network, params):
    """Load weights by name (torchvision's) or from a file; everything but the layer taken off must match."""
    path = Path(params.weights)
    if path.suffix in (".safetensors", ".pth", ".pt"):
        state = _read_weights(path)
    else:
        try:
            weights = torchvision.models.get_model_weights(params.backbone)[params.weights]
        except KeyError as error:
            known = [w.name for w in torchvision.models.get_model_weights(params.backbone)]
            raise ReidError(
                f"network.weights: {params.backbone} has no weights {params.weights}; it has {', '.join(known)}"
            ) from error
        try:
            state = weights.get_state_dict(progress=True, check_hash=True)
        except (URLError, OSError, RuntimeError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise ReidError(
                f"network.weights: {params.weights} of {params.backbone} cannot be fetched ({error}). Put the file "
                f"{weights.url.rsplit('/', 1)[1]} into {folder}, or give its path as network.weights, or train from "
                "scratch with network.weights: null"
            ) from error
    # torchvision's files of DenseNet have a dot that its module names no longer have
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): state[key] for key in state}
    own = network.state_dict()
    wrong = [
        f"{key}: {'is missing' if key not in state else f'has shape {list(state[key].shape)}'}"
        for key, value in own.items()
        if not key.endswith("num_batches_tracked") and (key not in state or state[key].shape != value.shape)
    ]
    # a deeper network of the same family has all of these arrays, and more
    wrong += [f"{key}: is not part of it" for key in state if key not in own and not key.startswith(_TAKEN_OFF)]
    if wrong:
        raise ReidError(
            f"network.weights: {params.weights} is not of {params.backbone}: {len(wrong)} arrays differ, "
            f"first {wrong[0]}"
        )
    _set_arrays(network, {key: state[key] for key in own if key in state})


def _set_arrays(network, arrays):
    state = network.state_dict()  # its metadata is what MNASNet asks for
    state.update(arrays)
    network.load_state_dict(state)


def _read_weights(path):
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)  # runs no code from the file
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError("it does not hold arrays by name alone")
        return state
    except FileNotFoundError as error:
        raise ReidError(f"network.weights: {path}: there is no such file") from error
    except Exception as error:  # the readers raise a dozen kinds
        raise ReidError(f"network.weights: {path} cannot be read as weights ({error})") from error


def save(path, network, params):
    """Write a checkpoint: the arrays, and the parameters of the model that built them as metadata.

    Args:
        path: the ``.safetensors`` file to make.
        network: Embedder
        params: reid.params.Model
    """
    arrays = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # one metadata key only: safetensors does not promise an order for several
    metadata = {"model": json.dumps(params.model_dump(), sort_keys=True)}
    with replacing(path) as partial:
        partial.write_bytes(safetensors.torch.save(arrays, metadata))


def load(path):
    """Build the network of a checkpoint; no code of the file is run.

    Returns:
        Embedder in evaluation mode, on the CPU

    Raises:
        ReidError: the file is missing, damaged, or no checkpoint of this pipeline.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            params = json.loads(file.metadata()["model"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline ({error!r})") from error
    try:
        size = params["input"]["height"], params["input"]["width"]
        network = Embedder(Network(**{**params["network"], "weights": None}), size)
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        if shapes != {key: value.shape for key, value in arrays.items()}:
            raise ValueError("its arrays are not those of its network")
    except (KeyError, TypeError, ValueError) as error:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline ({error!r})") from error
    _set_arrays(network, arrays)
    return network.eval()
