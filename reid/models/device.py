"""Where and how precisely networks run: device, threads, mixed precision, determinism."""

import contextlib
import os
from typing import Any

import torch

from reid.core.parallel import cores


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(threads: int, seed: int | None = None) -> None:
    """Make the same inputs give the same bytes on this machine.

    Args:
        threads: of PyTorch on the CPU, no more than there are cores; it decides how sums are split.
        seed: of PyTorch's random numbers.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic cuBLAS
    torch.set_num_threads(min(threads, cores()))
    torch.use_deterministic_algorithms(True, warn_only=True)
    # a check for debugging, and slow
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    if seed is not None:
        torch.manual_seed(seed)


def precision(name: str, where: torch.device) -> torch.dtype:
    """The number format of convolutions and matrix products.

    Args:
        name: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``; auto is bf16 where it is built in, else fp32.
        where: the device that computes.
    """
    if name == "auto":
        if where.type == "cuda":
            built_in = torch.cuda.get_device_capability()[0] >= 8
        else:
            built_in = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        name = "bf16" if built_in else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def autocast(dtype: torch.dtype, where: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which ``where`` computes in ``dtype`` where that is safe."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(where.type, dtype)
