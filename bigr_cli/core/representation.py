"""What the layers of a generator say about images (reference section 5, "Representation")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.core.network import Generator, Labels


def middle_layer(layers: int) -> int:
    """The block after which half of the blocks are done."""
    return max(0, layers - 1) // 2


def layer_features(
    generator: Generator, codes: Tensor, labels: Labels, layers: Sequence[int], *, mean: bool = True
) -> Tensor:
    """The residual stream after several blocks, in one pass, float32.

    Args:
        codes: (B, L, K) bool or 0/1; nothing is masked.
        labels: as for `Generator.hidden`; the index after the last class is no label.
        layers: numbers of blocks, 0 is the first.
        mean: take the mean over the tokens.

    Returns:
        (B, layers, D), or without `mean` (B, layers, L, D).

    Raises:
        ValueError: there is no such block, or none is asked for.
    """
    count = len(generator.blocks)
    if not layers or not all(0 <= layer < count for layer in layers):
        raise ValueError(f"layers: expected numbers from 0 to {count - 1}, got {list(layers)}")
    found: dict[int, Tensor] = {}

    def keep(layer: int, states: Tensor) -> None:
        if layer in layers:
            found[layer] = states.float().mean(dim=1) if mean else states.float()

    generator.hidden(codes, labels, max(layers), keep)
    return torch.stack([found[layer] for layer in layers], dim=1)


def packed(codes: Tensor) -> NDArray[np.uint8]:
    """(B, L, K) bool codes → (B, ⌈L·K / 8⌉), one bit a bit, the first one highest."""
    return np.packbits(codes.flatten(1).bool().cpu().numpy(), axis=1)
