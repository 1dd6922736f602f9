"""Lookahead: slow weights that follow those of any optimizer (Zhang 2019)."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


class Lookahead:
    """An optimizer around another: after every k of its steps the slow weights go a part of the way to its weights.

    The weights then are the slow ones, from which the other goes on. What a training ends in, or is scored in between,
    are the slow ones too (:meth:`round_ended`).

    Args:
        optimizer: the one inside.
        steps: k.
        alpha: the part of the way.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, alpha: float) -> None:
        self.optimizer, self.steps, self.alpha = optimizer, steps, alpha
        self.slow = [p.detach().clone() for p in self._params()]
        self.count = 0

    def _params(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the optimizer inside."""
        return self.optimizer.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """Take a step of the optimizer inside."""
        self.optimizer.step()
        self.count += 1
        if self.count % self.steps == 0:
            for slow, fast in zip(self.slow, self._params(), strict=True):
                slow.lerp_(fast, self.alpha)
                fast.copy_(slow)

    @contextlib.contextmanager
    def round_ended(self) -> Iterator[None]:
        """Weights as if the k steps that are under way ended now; afterwards those as they were."""
        fast = [p.detach().clone() for p in self._params()]
        with torch.no_grad():
            for p, slow in zip(self._params(), self.slow, strict=True):
                p.copy_(slow.lerp(p, self.alpha))
        try:
            yield
        finally:
            with torch.no_grad():
                for p, kept in zip(self._params(), fast, strict=True):
                    p.copy_(kept)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs."""
        return {"optimizer": self.optimizer.state_dict(), "slow": self.slow, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where another was when it made ``state``."""
        self.optimizer.load_state_dict(state["optimizer"])
        for slow, kept in zip(self.slow, state["slow"], strict=True):
            slow.copy_(kept)
        self.count = state["count"]
