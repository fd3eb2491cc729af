"""What the layers of a generator say about images (reference section 5, "Representation")."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bigr_cli.core.network import Generator, Labels


def middle_layer(layers: int) -> int:
    """The block after which half of the blocks are done."""
    return max(0, layers - 1) // 2


def layer_features(
    generator: Generator, codes: Tensor, labels: Labels, layers: Sequence[int], *, cells: int | None = 1
) -> Tensor:
    """The residual stream after several blocks, in one pass, float32.

    Args:
        codes: (B, L, K) bool or 0/1; nothing is masked.
        labels: as for `Generator.hidden`; the index after the last class is no label.
        layers: numbers of blocks, 0 is the first.
        cells: see `pooled`.

    Returns:
        (B, layers, cells² · D), or without `cells` (B, layers, L, D).

    Raises:
        ValueError: there is no such block, or none is asked for; more cells than tokens along a side.
    """
    count = len(generator.blocks)
    if not layers or not all(0 <= layer < count for layer in layers):
        raise ValueError(f"layers: expected numbers from 0 to {count - 1}, got {list(layers)}")
    found: dict[int, Tensor] = {}

    def keep(layer: int, states: Tensor) -> None:
        if layer in layers:
            found[layer] = pooled(states.float(), cells)

    generator.hidden(codes, labels, max(layers), keep)
    return torch.stack([found[layer] for layer in layers], dim=1)


def pooled(states: Tensor, cells: int | None) -> Tensor:
    """Tokens (B, L, D) of a square grid as means over `cells` × `cells` parts of it, side by side: (B, cells² · D).

    One cell is the mean over all tokens; None leaves the tokens as they are. Where the grid cannot be divided evenly,
    neighbouring cells overlap by a token.

    Raises:
        ValueError: the grid has fewer tokens along a side than that.
    """
    if cells is None:
        return states
    if cells == 1:
        return states.mean(dim=1)
    side = math.isqrt(states.shape[1])
    if not 1 <= cells <= side:
        raise ValueError(f"cells: expected 1 to {side}, got {cells}")
    grid = states.transpose(1, 2).unflatten(2, (side, side))  # (B, D, h, w)
    return adaptive_avg_pool2d(grid, cells).flatten(2).transpose(1, 2).flatten(1)


def packed(codes: Tensor) -> NDArray[np.uint8]:
    """(B, L, K) bool codes → (B, ⌈L·K / 8⌉), one bit a bit, the first one highest."""
    return np.packbits(codes.flatten(1).bool().cpu().numpy(), axis=1)
