"""Gradient checkpointing: blocks of a backbone are computed again in the backward pass instead of kept."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from torch import is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint


def batch_norms(*parts: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """All batch norms in these parts of a network, of any number of dimensions and of timm's too."""
    modules = [module for part in parts for module in part.modules()]
    return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch norms use the statistics of their batch without counting them: it passes more than once."""
    norms = batch_norms(network)
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


@functools.cache
def _recomputed(kind: Any, has_norms: bool) -> Any:
    class Recomputed(kind):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            if not (self.training and is_grad_enabled()):
                return super().forward(*args, **kwargs)
            more: dict[str, Any] = {}
            if has_norms:
                more["context_fn"] = lambda: (contextlib.nullcontext(), statistics_kept(self))
            return checkpoint(super().forward, *args, use_reentrant=False, **more, **kwargs)

    Recomputed.__name__ = Recomputed.__qualname__ = kind.__name__
    return Recomputed


def recompute(blocks: list[nn.Module]) -> None:
    """Let each of these modules that has parts be computed again in the backward pass (Chen et al. 2016).

    The arrays keep their names, and copies of a network their own weights. Results are the same to rounding.
    """
    for block in blocks:
        if any(True for _ in block.children()):  # a layer alone saves nothing, and what follows may change it in place
            kind: Any = type(block)
            block.__class__ = _recomputed(kind, bool(batch_norms(block)))
