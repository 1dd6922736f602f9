"""Several processes that train one model: each takes its share of every batch, and all come to the same weights.

Every rank draws the same batches and random numbers, and computes the loss of the whole batch; what differs is which
images go through its network. The processes are those of torchrun (:func:`require`); without it there is one, and
nothing here does anything.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import nn

from reid.core import environment
from reid.core.errors import ReidError
from reid.core.forms import Number
from reid.core.processes import PID, end_with
from reid.models.device import at_least_float32

_COUNT = Number(1, 2**16, whole=True)
_LAUNCHER = "REID_LAUNCHER_PID"  # environment: the process that holds the GPUs for those that it has started
_GONE = re.compile("by peer|Broken pipe|ncclRemoteError")  # gloo and NCCL say so of a process that has ended


def count() -> int:
    """How many processes train this model.

    Raises:
        ReidError: WORLD_SIZE is no such number.
    """
    return environment.number("WORLD_SIZE", _COUNT, environment.OF_TORCHRUN) or 1


def rank() -> int:
    """Number of this process among them, from 0. The first one writes the files.

    Raises:
        ReidError: RANK or WORLD_SIZE is no such number.
    """
    processes = count()
    if processes == 1:
        return 0
    return environment.number("RANK", Number(0, processes - 1, whole=True), environment.OF_TORCHRUN) or 0


def require(devices: int) -> None:
    """Be one of so many processes: where there are none yet, start them, and end with them.

    Args:
        devices: of the model.

    Raises:
        ReidError: torchrun has started another number, or what it sets is set to something else.
    """
    rank()
    if not environment.by_torchrun() and devices > 1:
        _launch(devices)
    launcher = environment.number(_LAUNCHER, PID, "by hand it must be unset")
    if environment.by_torchrun() and launcher:
        end_with(launcher)  # when it is killed, its GPUs are free at once
    if count() != devices:
        raise ReidError(f"devices: is {devices} for this model, but torchrun has started {count()} processes")


def _launch(processes: int) -> NoReturn:
    """Run this program anew, so many times side by side, and end with it.

    One that ends before its time takes the others along. Signals to end are passed on.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the rank that failed has said why
    os.environ[_LAUNCHER] = str(os.getpid())
    config = LaunchConfig(
        1, 1, processes, run_id="train", rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        monitor_interval=0.1,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        sys.exit(code if code > 0 else 128 - code)
    except SignalException as error:
        sys.exit(128 + error.sigval)
    sys.exit(0)


def join(device: torch.device) -> None:
    """Meet the other processes, before the first sum over them.

    Raises:
        ReidError: they cannot meet where the environment says.
    """
    if count() > 1 and not dist.is_initialized():
        # gloo beside nccl: flags lie in the machine's memory
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend)
        except (ValueError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise ReidError(
                f"the {count()} processes of WORLD_SIZE cannot meet: {said}; {environment.OF_TORCHRUN}"
            ) from error


def leave() -> None:
    """Part from the other processes, after the last sum over them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share(images: int) -> slice:
    """The rows of a batch of so many images that go through this process's network."""
    return slice(images * rank() // count(), images * (rank() + 1) // count())


def _sum(x: torch.Tensor, op: Any = dist.ReduceOp.SUM) -> None:
    """Put the sum over the processes into each of them, in place; end without a word when one of them has ended.

    That one has said why, or was killed, and whoever started them ends with its status.
    """
    try:
        dist.all_reduce(x, op)
    except RuntimeError as error:
        if not _GONE.search(str(error)):
            raise
        time.sleep(1)  # so that it is the other one that is seen to have ended first
        sys.exit(1)


def agreed(flag: bool) -> bool:
    """Whether ``flag`` is set in any of the processes: the same answer in all of them."""
    if count() == 1:
        return flag
    number = torch.tensor(int(flag))
    _sum(number, dist.ReduceOp.MAX)
    return bool(number)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, images: int) -> torch.Tensor:
        whole = own.new_zeros(images, *own.shape[1:])
        whole[share(images)] = own
        ctx.images = images
        _sum(whole)  # shares differ in size by one, which all_gather does not take
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        # every process has the gradient of the whole loss; mean_gradients divides by their number later
        return gradients[0][share(ctx.images)] * count(), None


def gather(own: torch.Tensor, images: int) -> torch.Tensor:
    """Embeddings of a whole batch from those of each process's share; gradients flow back to where they came from.

    Args:
        own: float, embeddings of :func:`share`, b x D.
        images: of the whole batch, B.

    Returns:
        float, B x D, the same in every process
    """
    whole: torch.Tensor = _Gather.apply(own, images) if count() > 1 else own
    return whole


def mean_gradients(parameters: Iterable[torch.Tensor]) -> None:
    """Put the mean over the processes into the gradients, in place: that of the whole batch's loss."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    _sum(flat)
    parts = (flat / count()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def reseed(*numbers: int) -> None:
    """Let dropout and drop path draw other numbers in each process, the same after a resume.

    Args:
        numbers: what names the step: seed, epoch, batch.
    """
    if count() > 1:
        mixed = 0
        for number in (*numbers, rank()):
            mixed = (mixed * 1_000_003 + number) % 2**63
        torch.manual_seed(mixed)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        _sum(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        _sum(total)
        return total


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the images of all processes, on a CPU; torch.nn.SyncBatchNorm is for GPUs alone."""

    def _check_input_dim(self, x: torch.Tensor) -> None:
        pass  # any number of dimensions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        wide = at_least_float32(x)
        others = [d for d in range(x.ndim) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(x.ndim)]
        own = x.numel() // x.shape[1]
        first = _Sum.apply(torch.cat([wide.sum(others), wide.new_full((1,), own)]))
        images = first[-1].detach()
        mean = first[:-1] / images
        centred = wide - mean.view(shape)
        var = _Sum.apply(centred.square().sum(others)) / images
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None and self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                unbiased = var * images / (images - 1)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        result = centred * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(x.dtype)


def share_statistics(network: nn.Module, *parts: str) -> None:
    """Let each batch norm in these parts of a network see the images of all processes; in place.

    Raises:
        ReidError: there is a batch norm of a kind that cannot be shared.
    """
    if count() == 1:
        return
    for part in parts:
        module = getattr(network, part)
        if any(array.is_cuda for array in module.state_dict().values()):
            from timm.layers import convert_sync_batchnorm  # torch's own does not know timm's batch norms

            setattr(network, part, convert_sync_batchnorm(module))
        else:
            _share_on_cpu(module, part)


def _share_on_cpu(part: nn.Module, place: str) -> None:
    for name, module in part.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) or module.momentum is None:
            raise ReidError(
                f"devices: {place}.{name}, a {type(module).__name__}, cannot be shared between processes on a CPU; "
                "set devices to 1"
            )
        module.__class__ = _SharedBatchNorm
