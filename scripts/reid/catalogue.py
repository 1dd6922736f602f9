"""Which backbones there are, by name: known without importing PyTorch, so that a wrong name is refused at once."""

import difflib
import functools
import importlib.util
import re
from pathlib import Path

OSNETS = tuple(f"{kind}_x{width}" for kind in ("osnet", "osnet_ain") for width in ("1_0", "0_75", "0_5", "0_25"))
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)", re.MULTILINE)
# what torchvision registers beside its classification networks
_OTHER_TASKS = ("detection", "optical_flow", "quantization", "segmentation", "video")


@functools.cache
def _registered(package):
    """Names of the models that the sources of ``package`` (torchvision or timm) register."""
    folder = Path(importlib.util.find_spec(package).origin).parent / "models"
    names = set()
    for path in folder.rglob("*.py"):
        if not (package == "torchvision" and path.parent.name in _OTHER_TASKS):
            names.update(_REGISTERED.findall(path.read_text(encoding="utf-8")))
    return names


def resolve(backbone):
    """Whose network a name is.

    Args:
        backbone: as in ``network.backbone``.

    Returns:
        tuple of str: ``"osnet"``, ``"torchvision"`` or ``"timm"``, and the name there; None if nobody has it
    """
    if backbone in OSNETS:
        return "osnet", backbone
    if not backbone.startswith("timm/") and backbone in _registered("torchvision"):
        return "torchvision", backbone
    name = backbone.removeprefix("timm/")
    if name in _registered("timm"):
        return "timm", name
    return None


def problem(backbone):
    """What is wrong with the name of a backbone; None if nothing is."""
    if resolve(backbone):
        return None
    names = sorted({*OSNETS, *_registered("torchvision"), *_registered("timm")})
    near = difflib.get_close_matches(backbone, names, n=3) or ["resnet50"]
    return f"neither torchvision nor timm has {backbone}; did you mean {', '.join(near)}?"
