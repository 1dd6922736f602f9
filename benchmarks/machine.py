"""What figures were measured with."""

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pyarrow", "pillow", "snakemake", "dvc")


def machine():
    """dict: processor, cores, Python and versions of the packages that are installed."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), "")
    return {
        "cpu": cpu or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
