"""The generator's loss (reference section 4): what is masked and corrupted, and self-alignment beside it.

In self-alignment an early block learns to say what a late one says of the same images with fewer tokens masked (SRA,
arXiv 2505.02831; Self-Flow, arXiv 2603.06507). The late states come without gradients, from the average of the weights
or from the weights themselves; a small projector, which no model keeps, stands between.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.conditions import Condition
from bigr_cli.core.network import Generator, Observer
from bigr_cli.core.schedule import cosine_mask
from bigr_cli.data.loading import as_floats
from bigr_cli.training.loss_config import MaskingConfig

_SHAPES = 16  # numbers of rows that the transcoder is trained with


def sample_mask(batch: int, tokens: int, config: MaskingConfig, device: torch.device) -> Tensor:
    """(B, L) bool: max(1, ⌊L cos(πr / 2)⌋) masked tokens at uniform places, r ~ U{0 .. L − 1} / L.

    In the share `config.rectangles` of the images L counts the tokens of a random rectangle, and the others are known.
    """
    numbers = torch.randint(tokens, (1 if config.share == "batch" else batch,), device=device)
    inside = None
    if config.rectangles > 0:
        whole = torch.rand(batch, 1, device=device) >= config.rectangles
        inside = whole | rectangles(batch, math.isqrt(tokens), device)
    return cosine_mask(numbers, batch, tokens, inside)


def rectangles(batch: int, side: int, device: torch.device) -> Tensor:
    """(B, side²) bool: a rectangle of each grid, its place, height and width (from 1 to `side`) uniform."""
    sizes = torch.randint(1, side + 1, (2, batch, 1), device=device)
    first = (torch.rand(2, batch, 1, device=device) * (side + 1 - sizes)).long()
    places = torch.arange(side, device=device)
    rows, columns = (places >= first) & (places < first + sizes)  # (B, side) each
    inside: Tensor = rows[:, :, None] & columns[:, None, :]
    return inside.flatten(1)


class View(NamedTuple):
    """What the generator is shown of codes in a step, and what of it counts.

    `codes` (B, L, K) may have flipped bits; tokens are `masked` (B, L) or known; `predicted` (B, L) are in the loss.
    """

    codes: Tensor
    labels: Condition
    masked: Tensor
    predicted: Tensor


def training_view(generator: Generator, codes: Tensor, labels: Condition, config: MaskingConfig) -> View:
    """(B, L, K) bool codes with (B,) labels or texts, freshly masked, corrupted and without some of the labels.

    With causal attention nothing is masked and all tokens are predicted, each from those before it.
    """
    device = codes.device
    if generator.config.attention == "causal":
        predicted = torch.ones(codes.shape[:2], dtype=torch.bool, device=device)
        masked = ~predicted
    else:
        masked = predicted = sample_mask(codes.shape[0], codes.shape[1], config, device)
    dropped = torch.rand(len(labels), device=device) < config.label_dropout
    labels = generator.condition_tokens.dropped(labels, dropped)
    if config.corrupt_bits == 0:
        return View(codes, labels, masked, predicted)
    flipped = corruption(codes, config.corrupt_bits) & ~masked[..., None]
    return View(codes ^ flipped, labels, masked, predicted | flipped.any(dim=2))


def corruption(codes: Tensor, most: float) -> Tensor:
    """Bits to be flipped, as (B, L, K) bool: of each image a share that is sampled uniformly from 0 to `most`."""
    share = most * torch.rand(len(codes), 1, 1, device=codes.device)
    return torch.rand(codes.shape, device=codes.device) < share


def masked_loss(
    generator: Generator, codes: Tensor, labels: Condition, config: MaskingConfig, foreground: Tensor | None = None
) -> Tensor:
    """The head's loss over freshly masked tokens of (B, L, K) bool codes with (B,) labels or texts: scalar.

    `foreground` (B, L) in [0, 1] says how much of each token shows the object, which `config.foreground_weight` weighs.
    """
    return view_loss(generator, training_view(generator, codes, labels, config), codes, config, foreground)


def view_loss(
    generator: Generator,
    view: View,
    codes: Tensor,
    config: MaskingConfig,
    foreground: Tensor | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """The head's loss over the tokens that a view predicts of (B, L, K) bool codes: scalar; `foreground` as above.

    `observe` is called after every block of the transformer.
    """
    rows = view.predicted.flatten().nonzero().flatten().repeat(config.timesteps_per_token)
    count = len(rows)
    rows = _repeated_to(rows, codes.shape[0] * codes.shape[1] * config.timesteps_per_token)
    given = view.codes, view.labels, view.masked
    whole = generator.condition(*given) if observe is None else generator.condition(*given, observe=observe)
    cond = whole.flatten(0, 1)[rows]
    per_bit = generator.transcoder.loss(cond, codes.flatten(0, 1)[rows])[:count]
    if foreground is None or config.foreground_weight == 0:
        return per_bit.mean()
    weight = 1 + config.foreground_weight * foreground.flatten()[rows[:count]]
    return (per_bit.mean(dim=-1) * weight).sum() / weight.sum()


def _repeated_to(rows: Tensor, most: int) -> Tensor:
    """Row numbers, the first ones repeated until there are a whole number of sixteenths of `most`.

    oneDNN compiles and keeps kernels for each shape that it meets, some MB a layer in bfloat16. How many tokens are
    masked differs from step to step; without this, memory grows with every step, by gigabytes in all, and the
    compiling takes longer than the products.
    """
    unit = -(-most // _SHAPES)
    missing = -len(rows) % unit
    return torch.cat([rows, rows.repeat(-(-missing // len(rows)))[:missing]]) if missing else rows


def foreground_mask(coverage: Tensor, grid: int) -> Tensor:
    """(B, 1, H, W) uint8 coverage of the object → (B, L) in [0, 1], the mean over each token's pixels."""
    return F.adaptive_avg_pool2d(as_floats(coverage), grid).flatten(1)


class Projector(nn.Sequential):
    """Two layers from the early block's states (B, L, D) to the late one's."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))


def less_masked(masked: Tensor, revealed: float) -> Tensor:
    """(B, L) bool with about the share `revealed` of the masked tokens shown."""
    return masked & (torch.rand(masked.shape, device=masked.device) >= revealed)


@torch.no_grad()
def late_states(teacher: Generator, codes: Tensor, labels: Condition, masked: Tensor, layer: int) -> Tensor:
    """The states (B, L, D) after a teacher's block, without gradients."""
    return teacher.hidden(codes, labels, layer, mask=masked)


def alignment_loss(predicted: Tensor, states: Tensor) -> Tensor:
    """1 less the mean cosine between predicted and actual states, both (B, L, D): a scalar from 0 to 2."""
    return 1 - F.cosine_similarity(predicted.float(), states.float(), dim=-1).mean()
