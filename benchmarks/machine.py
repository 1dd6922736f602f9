"""What figures were measured with."""

import importlib.metadata
import platform

from reid.core.parallel import cores
from reid.lineage.provenance import processor

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pyarrow", "pillow", "snakemake", "dvc")


def machine():
    """dict: processor, cores, Python and versions of the packages that are installed."""
    return {
        "cpu": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
