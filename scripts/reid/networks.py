"""Networks that turn thumbnails into embeddings: a backbone without its classifier, and what may follow it."""

import json

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reid import catalogue
from reid.errors import ReidError
from reid.files import replacing
from reid.osnet import osnet
from reid.params import Network

# ImageNet's mean and standard deviation per channel (RGB, pictures in [0, 1]), which the kit uses too.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_HEADS = ("fc", "classifier", "heads", "head")  # what torchvision's networks call their classifier


def resize(x, size):
    """Resize where the size differs.

    Args:
        x: float, B x 3 x H x W.
        size: (height, width), pixels.

    Returns:
        float, B x 3 x height x width; bilinear, antialiased
    """
    if x.shape[2:] == tuple(size):
        return x
    # a plane per colour: about 1.5 times as fast as on channels_last
    return nn.functional.interpolate(x.contiguous(), tuple(size), mode="bilinear", antialias=True)


class GeM(nn.Module):
    """Generalised mean of a map with a trained power (Radenovic 2018): B x C x H x W to B x C x 1 x 1."""

    def __init__(self):
        super().__init__()
        self.power = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):  # powers leave the range of half precision
            if x.ndim != 4:
                raise ValueError(f"gem needs a map of places, B x C x H x W, not {x.ndim} dimensions")
            return x.float().clamp(min=1e-6).pow(self.power).mean((2, 3), keepdim=True).pow(1 / self.power)


class Embedder(nn.Module):
    """Pictures to embeddings: backbone, pooling, an optional projection, an optional neck.

    Args:
        params: reid.params.Network; its weights are not read here (see reid.weights).
        size: (height, width) of its input, pixels.

    Attributes:
        width: number of components D of an embedding.

    Raises:
        ReidError: the backbone is unknown, or does not take pictures of this size or this pooling.
    """

    def __init__(self, params, size):
        super().__init__()
        self.backbone, self.pool, mean, std = _backbone(params, tuple(size))
        self.name = f"{params.backbone} with pooling {params.pooling}"
        width = self.try_size(size)
        self.projection, self.neck = nn.Identity(), nn.Identity()
        if params.projection:
            linear = nn.Linear(width, params.projection.width)
            width = params.projection.width
            if params.projection.kind == "relu":
                nn.init.normal_(linear.weight, 0, 0.01)  # as the kit does
                nn.init.zeros_(linear.bias)
                self.projection = nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU())
            else:
                self.projection = linear
        if params.neck:
            self.neck = nn.BatchNorm1d(width)
            self.neck.bias.requires_grad_(False)  # Luo 2019: the classes are told apart by angle
        self.width, self.size = width, tuple(size)
        # kept with the weights, for weights by name bring their own
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def try_size(self, size, where="network.backbone"):
        """Number of components before the projection for pictures of a size.

        Args:
            size: (height, width), pixels.
            where: the parameter that asks for this size, for messages.

        Raises:
            ReidError: the backbone does not take them.
        """
        training = self.training
        with torch.no_grad():
            self.backbone.eval()
            try:
                return self.pool(self.backbone(torch.zeros(1, 3, *size))).flatten(1).shape[1]
            except (RuntimeError, AssertionError, ValueError, IndexError) as error:
                message = f"{where}: {self.name} does not take pictures of {size[0]}x{size[1]}: {error}"
                raise ReidError(message) from error
            finally:
                self.backbone.train(training)

    def prepare(self, pictures):
        """Turn store rows into network input on the pictures' device.

        Args:
            pictures: uint8, B x H x W x 3.

        Returns:
            float32, B x 3 x height x width, normalised; resized (bilinear, antialiased) where the size differs.
        """
        return self.normalise(resize(pictures.permute(0, 3, 1, 2).float(), self.size) / 255)

    def normalise(self, x):
        """float32, B x 3 x height x width in [0, 1], to what the backbone was trained on."""
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def features(self, x):
        """Embeddings that the losses over pairs see: normalised pictures to float32, B x D."""
        return self.projection(self.pool(self.backbone(x)).flatten(1)).float()

    def forward(self, x):
        """Embeddings that are compared: normalised pictures (float32, B x 3 x height x width) to float32, B x D."""
        return self.neck(self.features(x))

    def blocks(self):
        """Parameters of the backbone by depth: list of lists, from its input to its output."""
        groups = []
        for child in self.backbone.children():
            parts = child.children() if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
            groups += [group for part in parts if (group := list(part.parameters()))]
        known = {id(parameter) for group in groups for parameter in group}
        first = [parameter for parameter in self.backbone.parameters() if id(parameter) not in known]
        return [first, *groups] if first else groups  # tokens and places of a transformer stand at its input

    def cost(self):
        """What the network costs.

        Returns:
            dict: number of parameters, and floating point operations (a multiplication and an addition are two) for
            one picture
        """
        training = self.training
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.eval()(torch.zeros(1, 3, *self.size, device=self.mean.device))
        self.train(training)
        return {"parameters": sum(p.numel() for p in self.parameters()), "flops": counter.get_total_flops()}


def _backbone(params, size):
    """The network without its classifier, what pools its map, and mean and deviation of the pictures it expects."""
    found = catalogue.resolve(params.backbone)
    if found is None:
        raise ReidError(f"network.backbone: {catalogue.problem(params.backbone)}")
    source, name = found
    resnet = source == "torchvision" and name.startswith(("resnet", "resnext", "wide_resnet"))
    if params.last_stride == 1 and not resnet:
        raise ReidError(f"network.last_stride: is 2 for {params.backbone}; only torchvision's ResNets can have 1")
    if source == "timm":
        return _timm(name, params, size)
    network = osnet(name) if source == "osnet" else _torchvision(name, params)
    pool = "pool" if source == "osnet" else "avgpool"
    transformer = hasattr(network, "class_token")
    if params.pooling == "gem":
        old = getattr(network, pool, None)
        if not isinstance(old, nn.AdaptiveAvgPool2d) or old.output_size not in (1, (1, 1)):
            raise ReidError(f"network.pooling: {params.backbone} has no pooling that gem could replace")
        setattr(network, pool, GeM())
    elif (params.pooling == "token") != transformer:
        right = "token" if transformer else "average or gem"
        raise ReidError(f"network.pooling: must be {right} for {params.backbone}")
    return network, nn.Identity(), MEAN, STD


def _torchvision(name, params):
    import torchvision

    extra = {}
    if name in ("googlenet", "inception_v3"):
        # a second output, which only classification uses; their weights want pictures normalised in another way
        extra = {"aux_logits": False, "init_weights": True, "transform_input": True}
    network = torchvision.models.get_model(name, weights=None, **extra)
    head = next((head for head in _HEADS if hasattr(network, head)), None)
    if head is None or not _drop_last_linear(network, head):
        raise ReidError(f"network.backbone: {name} has no linear classifier to take off; choose another")
    if params.last_stride == 1:
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


def timm_network(name, params, size, **more):
    """A network of timm without its classifier, for pictures of ``size`` where its kind has a size.

    Raises:
        ReidError: it does not take such pictures or such pooling.
    """
    import timm

    pooling = {"average": "avg", "gem": "", "token": "token"}[params.pooling]
    options = {"num_classes": 0, "global_pool": pooling, **more}
    try:
        try:
            return timm.create_model(name, img_size=size, **options)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return timm.create_model(name, **options)  # takes any size
    except (TypeError, AssertionError, ValueError, KeyError) as error:
        raise ReidError(
            f"network.backbone: timm's {name}, pooling {params.pooling}, pictures of {size[0]}x{size[1]}: {error}"
        ) from error


def timm_tags(name):
    """Names of the weights that timm has for a network."""
    import timm

    return [tag.partition(".")[2] for tag in timm.list_pretrained(f"{name}.*")]


def _timm(name, params, size):
    tag = f".{params.weights}" if params.weights in timm_tags(name) else ""
    network = timm_network(name + tag, params, size)
    about = network.pretrained_cfg
    pool = GeM() if params.pooling == "gem" else nn.Identity()
    return network, pool, about.get("mean", MEAN), about.get("std", STD)


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
        network = Embedder(Network(**params["network"]), size)
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        if shapes != {key: value.shape for key, value in arrays.items()}:
            raise ValueError("its arrays are not those of its network")
    except (KeyError, TypeError, ValueError) as error:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline ({error!r})") from error
    set_arrays(network, arrays)
    return network.eval()


def set_arrays(network, arrays):
    """Put arrays into a network by name; those that it has and ``arrays`` lacks stay as they are."""
    state = network.state_dict()  # its metadata is what MNASNet asks for
    state.update(arrays)
    network.load_state_dict(state)
