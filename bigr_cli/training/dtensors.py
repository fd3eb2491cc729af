"""Tensors that may be spread over several processes, and whole ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over processes, whole in each; all of them must call this."""
    gather: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def spread_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A tensor that is whole in each process, spread as `pattern` is; nothing is sent."""
    if not hasattr(pattern, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    spread: Any = pattern
    return distribute_tensor(tensor, spread.device_mesh, spread.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one that may be spread."""
    target.copy_(spread_like(whole.to(target.device, target.dtype), target))
