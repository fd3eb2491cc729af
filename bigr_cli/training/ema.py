"""A moving average of the weights, which is what a run's model folder holds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average whose decay warms up: min(decay, (1 + step) / (10 + step)).

    A fixed decay of 0.9999 would still hold a good part of the random start after 10,000 steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights after `step` steps (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.averages(), module.parameters(), strict=True)
        averages, weights = (list(each) for each in zip(*pairs, strict=True))
        torch._foreach_lerp_(averages, weights, 1 - decay)
        self._copy_buffers(module)

    def averages(self) -> list[Tensor]:
        """The average of each parameter, in the module's order."""
        return list(self.module.parameters())

    def _copy_buffers(self, module: nn.Module) -> None:
        for average, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(buffer)

    @contextmanager
    def gathered(self, *, needed: bool) -> Iterator[nn.Module]:
        """A module with the averaged weights, not to be changed, where it is needed; all processes must call this."""
        yield self.module

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over averaged weights saved earlier."""
        self.module.load_state_dict(state)
