"""The provenance of a submission: all that it was made of, by content, and where and when.

Results have the same bytes in every run; what records time, machine or commit stands here alone.
"""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reid.core.checksums import read_sums, sum_file, verify
from reid.core.errors import ReidError
from reid.core.files import as_text, parse_json, read_json, regular, sha256

# what decides about bytes
PACKAGES = ("torch", "torchvision", "timm", "pytorch-metric-learning", "numpy", "pyarrow", "pillow", "scikit-learn")
_NOT_CODE = ("data/", "results/", "logs/", "dvc.lock")  # what a run itself changes


def content(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file; of a thumbnail store, which may have dozens of GB, that of its blocks' digests.

    A store is not read again: by these digests each of its blocks was checked when it was trained on or embedded.

    Raises:
        ReidError: it is missing, no regular file, or, but for a store, not what was written.
    """
    regular(path)
    if path.suffix == ".npy":
        sums = read_sums(path) or sum_file(path)
        blocks = hashlib.sha256("".join(sums.digests).encode()).hexdigest()
        return {"path": str(path), "bytes": sums.size, "sha256_of_digests": blocks}
    verify(path)
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)}


def checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint with the parameters in it, seeds among them.

    Raises:
        ReidError: it is missing, not what was written, or no checkpoint.
    """
    import safetensors

    found = content(path)
    try:
        with safetensors.safe_open(as_text(path), "np") as file:
            text = file.metadata()["model"]
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ReidError(f"{path}: is not a checkpoint of this pipeline ({error!r})") from error
    model = parse_json(text.encode(), f"{path}, the parameters in it")
    return {**found, "parameters": model}


def commit(folder: Path | None = None) -> dict[str, Any]:
    """The commit that the code is of, and whether it was changed since; None where there is no Git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True)
        return os.fsdecode(done.stdout)  # names need not be text

    try:
        changed = [line[3:] for line in git("status", "--porcelain").split("\n")[:-1]]
        changed = [path for path in changed if not path.strip('"').startswith(_NOT_CODE)]
        return {"commit": git("rev-parse", "HEAD").strip(), "clean": not changed, "changed": changed[:100]}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None, "changed": []}


def machine() -> dict[str, Any]:
    """What computed, and in which versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def engine() -> str:
    """What started this program."""
    if os.environ.get("DVC_STAGE"):
        return "dvc"
    return "snakemake" if os.environ.get("REID_ENGINE_PID") else "by hand"


def provenance(
    split: str,
    ranking: Path,
    parameters: dict[str, Any],
    receipts: Iterable[Path],
    inputs: Iterable[Path],
    checkpoints: Iterable[Path],
) -> dict[str, Any]:
    """Everything that a submission was made of.

    Args:
        split: whose ranking it is.
        ranking: the ranking JSON.
        parameters: the whole parameter file, as chosen.
        receipts: of the raw zips (data/raw/{split}.json), which hold their SHA-256.
        inputs: indexes, thumbnail stores, pretrained weights, embeddings.
        checkpoints: of the trained models.

    Raises:
        ReidError: a file is missing, another, or not what was written.
    """
    return {
        "split": split,
        "submission": content(ranking),
        "code": commit(),
        "parameters": parameters,
        "zips": {path.stem: read_json(path, maker="scripts/download.py") for path in receipts},
        "inputs": [content(path) for path in inputs],
        "checkpoints": [checkpoint(path) for path in checkpoints],
        "engine": engine(),
        "machine": machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(sys.argv),
    }
