"""Which backbones there are, by name: known without importing PyTorch, so that a wrong name is refused at once."""

import difflib
import functools
import importlib.util
import re
from pathlib import Path

from reid.params.registries import BACKBONES

OSNETS = tuple(f"{kind}_x{width}" for kind in ("osnet", "osnet_ain") for width in ("1_0", "0_75", "0_5", "0_25"))
IBN_A = "_ibn_a"  # what the names of ResNets with instance norms end in
IBNS = tuple(f"resnet{layers}{IBN_A}" for layers in (18, 34, 50, 101, 152))
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", re.MULTILINE)
# what torchvision registers beside its classification networks
_OTHER_TASKS = ("detection", "optical_flow", "quantization", "segmentation", "video")


@functools.cache
def _registered(package: str) -> set[str]:
    """Names of the models that the sources of ``package`` (torchvision or timm) register."""
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    names = set()
    for path in (Path(spec.origin).parent / "models").rglob("*.py"):
        if not (package == "torchvision" and path.parent.name in _OTHER_TASKS):
            names.update(_REGISTERED.findall(path.read_text(encoding="utf-8")))
    return names


def _public(backbone: str) -> tuple[str, str] | None:
    """Like :func:`resolve`, without extensions."""
    if backbone in OSNETS:
        return "osnet", backbone
    if backbone in IBNS:
        return "ibn", backbone
    if not backbone.startswith("timm/") and backbone in _registered("torchvision"):
        return "torchvision", backbone
    name = backbone.removeprefix("timm/")
    if name in _registered("timm"):
        return "timm", name
    return None


def resolve(backbone: str) -> tuple[str, str] | None:
    """Whose network a name is.

    Args:
        backbone: as in ``network.backbone``, or the ``kind`` there.

    Returns:
        tuple of str: ``"extension"``, ``"osnet"``, ``"ibn"``, ``"torchvision"`` or ``"timm"``, and the name there;
        None if nobody has it
    """
    return ("extension", backbone) if backbone in BACKBONES else _public(backbone)


def problem(backbone: str) -> str | None:
    """What is wrong with the name of a backbone; None if nothing is."""
    public = _public(backbone)
    if backbone in BACKBONES and public:
        return f"an extension registers {backbone}, which is {public[0]}'s already; give it another name there"
    if backbone in BACKBONES or public:
        return None
    names = sorted({*OSNETS, *IBNS, *_registered("torchvision"), *_registered("timm"), *BACKBONES})
    near = difflib.get_close_matches(backbone, names, n=3) or [*BACKBONES, "resnet50"]
    return f"neither torchvision nor timm nor an extension has {backbone}; did you mean {', '.join(near)}?"
