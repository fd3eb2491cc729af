"""What a generator says about images: features of its layers (reference section 5), and how likely tokens are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bigr_cli.core.conditions import Labels
from bigr_cli.core.heads import Rows
from bigr_cli.core.network import Generator, Prefix
from bigr_cli.errors import ConfigError

_ROWS = 256  # images that go through the transformer at once


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


@torch.no_grad()
def token_scores(generator: Generator, codes: Tensor, labels: Labels | Prefix, masked: Tensor, seeds: Tensor) -> Tensor:
    """The log-probability of each masked token's own bits, given the tokens that are not masked.

    It is the mean over the bits, in nats, of what the transcoder says in its first step, where it knows nothing of
    the token but its condition: between about −0.69, when it cannot say, and 0.

    Args:
        codes: (B, L, K) bool.
        labels: (B,) int64, or a tuple of such; or the condition's tokens already.
        masked: (B, L) bool, True = hidden from the model, and scored.
        seeds: (B,) int64, for the noise.

    Returns:
        (B, L) float32, 0 where nothing is masked.

    Raises:
        ConfigError: the generator's attention is causal, and so would not see the tokens behind a masked one.
    """
    if generator.config.attention == "causal":
        raise ConfigError("how likely tokens are beside others is not for a generator with attention: causal to say")
    item, position = masked.nonzero(as_tuple=True)
    scores = torch.zeros(masked.shape, device=codes.device)
    if len(item) == 0:
        return scores
    cond = generator.condition(codes, labels, masked)[item, position]
    logits = generator.transcoder.first_logits(cond, Rows(item, position, seeds[item]))
    agreed = torch.where(codes[item, position], logits, -logits)  # the logit of being right
    scores[item, position] = torch.nn.functional.logsigmoid(agreed).mean(dim=-1)
    return scores


def seen_scores(generator: Generator, codes: Tensor, labels: Labels | Prefix, unknown: Tensor, seeds: Tensor) -> Tensor:
    """The score of every known token, given half of the other known ones: (B, L) float32, 0 at unknown tokens.

    The known tokens are hidden in two turns, as the black and white fields of a chessboard.
    """
    side = generator.config.grid
    place = torch.arange(side, device=codes.device)
    black = ((place[:, None] + place) % 2 == 0).flatten()
    total = torch.zeros(unknown.shape, device=codes.device)
    for half in (black, ~black):
        total += token_scores(generator, codes, labels, half | unknown, seeds).masked_fill(unknown, 0)
    return total


def label_scores(generator: Generator, codes: Tensor, unknown: Tensor, seed: int) -> Tensor:
    """How likely the known tokens of one image are under each label: (classes,), the mean score of a token.

    Most of the image is hidden each time, so that the label has something to say: only every fourth token is seen.

    Args:
        codes: (L, K) bool.
        unknown: (L,) bool, tokens that say nothing; if all are, every label has the same score.
        seed: for the noise, which is the same for every label.
    """
    side, classes = generator.config.grid, generator.config.classes
    place = torch.arange(side, device=codes.device)
    quarter = (2 * (place[:, None] % 2) + place % 2).flatten()
    total = torch.zeros(classes, device=codes.device)
    for seen in range(4):
        masked = unknown | (quarter != seen)
        for start in range(0, classes, _ROWS):
            labels = torch.arange(start, min(classes, start + _ROWS), device=codes.device)
            count = len(labels)
            seeds = torch.full((count,), seed, device=codes.device)
            scores = token_scores(generator, codes.expand(count, -1, -1), labels, masked.expand(count, -1), seeds)
            total[labels] += scores.masked_fill(unknown, 0).sum(dim=1)
    return total / (3 * (~unknown).sum()).clamp_min(1)
