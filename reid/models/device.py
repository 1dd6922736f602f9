"""Where and how precisely networks run: device, threads, mixed precision, determinism."""

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch

from reid.core.cli import log
from reid.core.errors import ReidError
from reid.core.parallel import cores


def device() -> torch.device:
    """The GPU if there is one (the current one of several, see :mod:`reid.models.slots`), else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(threads: int, seed: int | None = None) -> None:
    """Make the same inputs give the same bytes on this machine, and float32 mean float32.

    Args:
        threads: of PyTorch on the CPU, no more than there are cores; it decides how sums are split.
        seed: of PyTorch's random numbers.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic cuBLAS
    torch.set_num_threads(min(threads, cores()))
    # use_deterministic_algorithms(True, warn_only=True) does the same, and imports the compiler, which takes seconds
    torch.set_deterministic_debug_mode("warn")
    # a check for debugging, and slow
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_cudnn_sdp(False)  # the one of three attentions that cannot repeat itself
    _allow_tf32(False)
    if seed is not None:
        torch.manual_seed(seed)


def strict_where_possible(work: Callable[[], object]) -> bool:
    """Refuse operations that do not repeat themselves, unless ``work`` has one; then go on allowing them.

    Fused attention asks for this: its backward pass on a GPU repeats itself only where others would be refused.

    Args:
        work: has every operation that is to come.

    Returns:
        whether they are refused from here on
    """
    torch.set_deterministic_debug_mode("error")
    try:
        work()
    except (RuntimeError, ReidError) as error:  # the latter of an extension's part
        if "deterministic" not in str(error):
            raise
        torch.set_deterministic_debug_mode("warn")
        what = str(error).partition(", but")[0]
        log.warning("two trainings of one seed may differ in their last digits here: %s", what)
        return False
    return True


def precision(name: str, where: torch.device) -> torch.dtype:
    """The number format of convolutions and matrix products, for which this process is set up.

    Args:
        name: ``"auto"``, ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``; auto is bf16 where it is built in, else
            fp32; tf32 is float32 whose factors a GPU rounds to 10 bits of mantissa, and fp32 on a CPU.
        where: the device that computes.
    """
    if name == "auto":
        if where.type == "cuda":
            built_in = torch.cuda.get_device_capability()[0] >= 8
        else:
            built_in = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        name = "bf16" if built_in else "fp32"
    _allow_tf32(name == "tf32" and where.type == "cuda")
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name, torch.float32)


def _allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of float32 convolutions and products to TF32, which is cuDNN's default.

    By PyTorch's older names: they set its newer ones (``fp32_precision``) too, of which compiled networks read both,
    and the other way round they do not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are newer names
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """A float tensor in float32, or in float64 if it is that."""
    return x if x.dtype == torch.float64 else x.float()


def autocast(dtype: torch.dtype, where: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which ``where`` computes in ``dtype`` where that is safe."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(where.type, dtype)
