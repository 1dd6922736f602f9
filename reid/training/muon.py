"""Muon: the step of a weight matrix is its momentum with every singular value brought near 1; AdamW for all else.

Source: Jordan and others, Muon: an optimizer for hidden layers in neural networks, 2024
(kellerjordan.github.io/posts/muon). A convolution's kernel counts as a matrix, output channels x all that they are
sums of; the queries, keys and values of an attention as three.
"""

from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from reid.params.optimizer import Muon as Params

Groups = list[dict[str, Any]]

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic, Jordan's
STEPS = 5


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Bring all singular values near 1 (0.7 to 1.2) by five steps of Newton and Schulz.

    With X of norm 1, a step is X <- (a + b A + c A A) X, where A = X X^T.

    Args:
        matrices: N x R x C; float32, or bfloat16, which is quicker where it is built in.

    Returns:
        of the same shape and type
    """
    rows, columns = matrices.shape[-2:]
    x = matrices.mT if rows > columns else matrices
    size = torch.linalg.matrix_norm(x, keepdim=True, dtype=torch.float32) + 1e-7
    x = x / size.to(x.dtype)
    x = _on_x(x) if x.dtype == torch.bfloat16 else _on_gram(x)
    return x.mT if rows > columns else x


def _factor(gram: torch.Tensor) -> torch.Tensor:
    """b A + c A A."""
    return torch.baddbmm(gram, gram, gram, beta=COEFFICIENTS[1], alpha=COEFFICIENTS[2])


def _on_x(x: torch.Tensor) -> torch.Tensor:
    """The steps as they are written."""
    for _ in range(STEPS):
        x = torch.baddbmm(x, _factor(torch.bmm(x, x.mT)), x, beta=COEFFICIENTS[0])
    return x


def _on_gram(x: torch.Tensor) -> torch.Tensor:
    """The same on A, which is the smaller: all factors are functions of the first A, and X is multiplied at the end.

    A third of the work for a kernel of 3x3. Needs float32, for A has the squares of the singular values.
    """
    gram = torch.bmm(x, x.mT)
    product = None
    for step in range(STEPS):
        factor = _factor(gram)
        factor.diagonal(dim1=-2, dim2=-1).add_(COEFFICIENTS[0])
        product = factor if product is None else torch.bmm(factor, product)
        if step + 1 < STEPS:
            gram = torch.bmm(torch.bmm(factor, gram), factor)
    assert product is not None
    return torch.bmm(product, x)


def matrices_of(backbone: nn.Module) -> dict[int, int]:
    """The weights that Muon trains: ``id`` of each to the number of matrices that it is made of.

    Those of convolutions and linear layers, but for the first one, which sees colours (of a transformer it makes
    the tokens), and for convolutions in groups, of which each channel sees few others.
    """
    found: dict[int, int] = {}
    layers = []
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(module)
            if getattr(module, "groups", 1) == 1:
                of_three = name.endswith("qkv") and module.weight.shape[0] == 3 * module.weight.shape[1]
                found[id(module.weight)] = 3 if of_three else 1
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found[id(module.in_proj_weight)] = 3
    if layers:
        found.pop(id(layers[0].weight), None)
    return found


def split(groups: Groups, backbone: nn.Module, params: Params) -> Groups:
    """Part groups of parameters into those of Muon and those of AdamW, whose ``scale`` is of its own learning rate.

    Args:
        groups: with ``params``, ``scale`` and ``lr``.
        backbone: to which some of the parameters belong.
        params: of the optimizer.

    Returns:
        list of dict: each with ``matrices``, how many each of its parameters is made of; 0 for AdamW
    """
    known = matrices_of(backbone)
    share = params.adamw_learning_rate / params.learning_rate
    parted = []
    for group in groups:
        for count in (1, 3, 0):
            chosen = [p for p in group["params"] if known.get(id(p), 0) == count]
            factor = 1.0 if count else share
            scaled = {"scale": group["scale"] * factor, "lr": group["lr"] * factor}
            if chosen:
                parted.append({**group, **scaled, "params": chosen, "matrices": count})
    return parted


class Muon(torch.optim.Optimizer):
    """Muon for the groups whose parameters are ``matrices``, AdamW for the others.

    The step is Nesterov's momentum with its singular values near 1, times sqrt(R / C) where that is more than 1.
    Weight decay is decoupled in both.

    Args:
        groups: what :func:`split` gives.
        params: of the optimizer.
    """

    def __init__(self, groups: Groups, params: Params) -> None:
        defaults = {"lr": params.learning_rate, "weight_decay": params.weight_decay, "momentum": params.momentum}
        self.precision = params.precision
        # torch keeps the counters of a fused AdamW on the device
        super().__init__(groups, {**defaults, "betas": (0.9, 0.999), "eps": 1e-8, "fused": True})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; parameters without a gradient stay as they are."""
        alike: dict[tuple[int, int], list[tuple[nn.Parameter, dict[str, Any]]]] = {}
        for group in self.param_groups:
            if not group["matrices"]:
                self._adamw(group)
                continue
            for p in group["params"]:
                if p.grad is not None:
                    rows = p.shape[0] // group["matrices"]
                    alike.setdefault((rows, p[0].numel()), []).append((p, group))
        for (rows, columns), members in alike.items():
            counts, device = [group["matrices"] for _, group in members], members[0][0].device
            momenta = torch.empty(sum(counts), rows, columns, dtype=_precision(self.precision, device), device=device)
            for (p, group), own in zip(members, momenta.split(counts), strict=True):
                own.copy_(self._momentum(p, group))
            steps = orthogonalised(momenta)
            scale = max(1.0, rows / columns) ** 0.5
            for (p, group), own in zip(members, steps.split(counts), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(_as_weight(own, p), alpha=-group["lr"] * scale)

    def _momentum(self, p: nn.Parameter, group: dict[str, Any]) -> torch.Tensor:
        """Nesterov's momentum of a weight as matrices."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - group["momentum"])
        return _as_matrices(torch.lerp(p.grad, state["momentum"], group["momentum"]), group["matrices"])

    def _adamw(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        for p in params:
            if not self.state[p]:
                count = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p] = {"step": count, "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        states = [self.state[p] for p in params]
        adamw(
            params,
            [p.grad for p in params],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _precision(name: str, device: torch.device) -> torch.dtype:
    """The number format of the products: bfloat16 in auto where it is several times as fast.

    Float32 is never TF32, whose rounding the squares of singular values do not survive: GPUs that have it are those
    with bfloat16, and reid.params.consistency keeps ``fp32`` from it.
    """
    if name == "auto" and device.type == "cuda":
        name = "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"
    elif name == "auto":
        name = "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[name]


def _as_matrices(weight: torch.Tensor, count: int) -> torch.Tensor:
    """A weight as count x R x C; the order of the columns does not matter, and this one is that of channels_last."""
    if weight.ndim == 4:
        weight = weight.permute(0, 2, 3, 1)
    return weight.reshape(count, weight.shape[0] // count, -1)


def _as_weight(matrices: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """What :func:`_as_matrices` made of something like ``p``, as it was."""
    if p.ndim == 4:
        outputs, inputs, height, width = p.shape
        return matrices.reshape(outputs, height, width, inputs).permute(0, 3, 1, 2)
    return matrices.reshape(p.shape)
