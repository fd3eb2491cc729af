"""Which optimiser moves which weight, and how fast at which step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.muon import Muon


def rate_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`, as a share of the full one."""
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
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW([g for g in groups if g["params"]], lr=config.rate, betas=config.betas), config.rate)
        ]
        if matrices:
            muon = Muon(
                matrices,
                config.matrix_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                dtype=_muon_dtype(matrices[0]),
            )
            self.parts.append((muon, config.matrix_rate))

    def names(self) -> list[list[str]]:
        """The names of the weights that each part moves, in its order."""
        return [
            [self._names[weight] for group in optimizer.param_groups for weight in group["params"]]
            for optimizer, _ in self.parts
        ]

    def set_rate(self, share: float) -> None:
        """Use this share of the full learning rates from now on."""
        for optimizer, rate in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * share

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
