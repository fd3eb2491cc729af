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

from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.sharding import shard_like, whole_tensor

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
                # To orthogonalise a matrix takes all of it, so sharded ones are gathered.
                directions = [whole_tensor(self._direction(parameter, group["momentum"])) for parameter in parameters]
                updates = orthogonalised(torch.stack(directions).flatten(2).to(self.dtype))
                scaled = group["lr"] * 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(parameters, updates, strict=True):
                    moved = update.view(parameter.shape).to(parameter.dtype)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(shard_like(moved, parameter), alpha=-scaled)
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


def learning_rate_factor(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`, divided by the full one."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "cosine":
        done = (step - config.warmup) / max(1, steps - config.warmup)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2
    falling = max(1.0, config.decay * steps)
    left = min(1.0, max(0.0, (steps - step) / falling))
    return config.final + (1 - config.final) * left


class Optimizers:
    """AdamW, and Muon for the matrices inside blocks, behind one interface."""

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self._names = {weight: name for name, weight in module.named_parameters()}
        matrices, decayed, plain = _sorted_weights(module, muon=config.name == "muon")
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas)
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [(adamw, config.learning_rate)]
        if matrices:
            muon = Muon(
                matrices,
                config.matrix_learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                dtype=_muon_dtype(matrices[0]),
            )
            self.parts.append((muon, config.matrix_learning_rate))

    def names(self) -> list[list[str]]:
        """The names of the weights that each part moves, in its order."""
        return [
            [self._names[weight] for group in optimizer.param_groups for weight in group["params"]]
            for optimizer, _ in self.parts
        ]

    def set_learning_rates(self, factor: float) -> None:
        """Use this times the full learning rates from now on."""
        for optimizer, learning_rate in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * factor

    def unscale(self, scaler: torch.amp.GradScaler | None) -> None:
        """Divide the gradients by what the scaler multiplied the loss with."""
        if scaler is not None:
            for optimizer, _ in self.parts:
                scaler.unscale_(optimizer)

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """One update; a scaler leaves it out where gradients are not finite."""
        for optimizer, _ in self.parts:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer, _ in self.parts:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of every part."""
        return [optimizer.state_dict() for optimizer, _ in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from a saved state."""
        for (optimizer, _), state in zip(self.parts, states, strict=True):
            optimizer.load_state_dict(state)


def _sorted_weights(
    module: nn.Module, *, muon: bool
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(matrices for Muon, weights that decay, weights that do not), each in the module's order; frozen ones in none.

    Muon suits weights between hidden layers. Embeddings, first and last layers, and single rows are AdamW's; and the
    transcoder's matrices do not decay under AdamW, as published.
    """
    matrices, decayed, plain = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = "blocks." in name and parameter.ndim >= 2 and parameter.flatten(1).shape[0] > 1
        if hidden and muon and min(parameter.flatten(1).shape) >= 16:
            matrices.append(parameter)
        elif parameter.ndim >= 2 and not name.startswith("transcoder."):
            decayed.append(parameter)
        else:
            plain.append(parameter)
    return matrices, decayed, plain


def _muon_dtype(weight: torch.Tensor) -> torch.dtype:
    """bfloat16 suffices for Muon, but only accelerators have it at full speed everywhere."""
    return torch.float32 if weight.device.type == "cpu" else torch.bfloat16
