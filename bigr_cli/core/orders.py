"""In which order masked tokens are settled: by certainty, or fixed in advance."""

from __future__ import annotations

import torch
from torch import Tensor

from bigr_cli.core.config import Order
from bigr_cli.core.random import Stream, uniform


def certainty(probabilities: Tensor, order: Order) -> Tensor:
    """How certain a token is: (N, K) probabilities of its bits → (N,), larger is more certain.

    "entropy" is 1 minus the mean entropy of the bits in bits, as in the paper; "confidence" is mean |2P − 1|, as in
    the published code. Both run from 0 to 1.
    """
    if order == "confidence":
        return (2 * probabilities - 1).abs().mean(dim=-1)
    p = probabilities.clamp(1e-7, 1 - 1e-7)
    entropy = -(p * p.log2() + (1 - p) * (1 - p).log2())
    return 1 - entropy.mean(dim=-1)


def is_fixed(order: Order) -> bool:
    """Whether the order is known before anything is predicted."""
    return order in ("halton", "random", "raster")


def fixed_ranks(order: Order, seeds: Tensor, grid: int) -> Tensor:
    """The place of every token in a fixed order: (B,) seeds → (B, L) int64, 0 comes first."""
    tokens = grid * grid
    if order == "random":
        batch = len(seeds)
        positions = torch.arange(tokens, device=seeds.device).repeat(batch)
        numbers = uniform(seeds.repeat_interleave(tokens), Stream.ORDER, positions, 1).view(batch, tokens)
        return ranks(numbers)
    if order == "halton":
        sequence = torch.tensor(halton_sequence(grid), device=seeds.device)
        return torch.argsort(sequence).expand(len(seeds), -1)
    return torch.arange(tokens, device=seeds.device).expand(len(seeds), -1)


def ranks(keys: Tensor) -> Tensor:
    """(B, L) sort keys → (B, L) int64, the rank of each in its row, 0 for the smallest; ties go by position."""
    return keys.argsort(dim=-1, stable=True).argsort(dim=-1)


def halton_sequence(grid: int) -> list[int]:
    """All cells of a grid in the order in which the 2-D Halton sequence (bases 2 and 3) first visits them."""
    order: dict[int, None] = {}
    index = 0
    while len(order) < grid * grid:
        index += 1
        row, column = int(_radical_inverse(index, 2) * grid), int(_radical_inverse(index, 3) * grid)
        order.setdefault(row * grid + column)
    return list(order)


def _radical_inverse(index: int, base: int) -> float:
    """The digits of `index`, mirrored behind the point."""
    result, share = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        result += digit * share
        share /= base
    return result
