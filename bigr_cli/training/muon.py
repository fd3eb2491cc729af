"""The Muon optimiser (Jordan et al. 2024): momentum, made orthogonal, for weights that are matrices.

`torch.optim.Muon` takes two-dimensional weights only and always computes in bfloat16, which processors without native
bfloat16 do several times slower than float32; here convolutions count as matrices, weights of one shape are worked on
together, and the number format is the caller's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bigr_cli.training.dtensors import spread_like, whole_tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    """Push the singular values of (..., M, N) matrices towards 1 by a quintic Newton–Schulz iteration.

    Each iteration multiplies X from the left by a polynomial of its Gram matrix. In float32 the polynomials are
    multiplied together first, so that only two products have the long side of the matrix in them. In a shorter format
    that would not do: what rounding adds to the Gram matrix grows twelvefold with each iteration.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    result = _by_polynomials(x) if x.dtype.itemsize >= 4 else _step_by_step(x)
    return result.mT if tall else result


def _by_polynomials(x: Tensor) -> Tensor:
    a, b, c = _COEFFICIENTS
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    product = identity
    for iteration in range(_ITERATIONS):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        if iteration + 1 < _ITERATIONS:
            gram = factor @ gram @ factor
    return product @ x


def _step_by_step(x: Tensor) -> Tensor:
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    The update's root mean square is scaled to 0.2, as AdamW's tends to be, so both take similar learning rates.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.flatten(1).shape].append(parameter)
            for shape, parameters in shapes.items():
                # To orthogonalise a matrix takes all of it, so those that are spread over processes are gathered.
                directions = [whole_tensor(self._direction(parameter, group["momentum"])) for parameter in parameters]
                updates = orthogonalised(torch.stack(directions).flatten(2).to(self.dtype))
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(parameters, updates, strict=True):
                    moved = update.view(parameter.shape).to(parameter.dtype)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(spread_like(moved, parameter), alpha=-rate)
        return loss

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """The gradient with Nesterov momentum, in the parameter's shape."""
        gradient = parameter.grad
        if gradient is None:
            raise ValueError("the parameter has no gradient")
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        average = state["momentum"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)
