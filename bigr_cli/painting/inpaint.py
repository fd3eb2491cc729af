"""Inpainting, outpainting, and editing under a mask: the same repainting of the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.core.config import LARGEST_SEED, Guide
from bigr_cli.core.model import BinaryModel
from bigr_cli.imaging.blending import Blend, blend
from bigr_cli.imaging.canvas import Margins
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import ZOOM, Pixels
from bigr_cli.painting.asks import Painter, side_by_side
from bigr_cli.painting.repaint import Repainted, Wish, guess_label, repaint

_STEP = 0.25  # of a window, from one to the next in outpainting

Mask = NDArray[np.float32]  # (H, W) in [0, 1], 1 = repaint


@dataclass(frozen=True)
class Painted:
    """A finished picture, what it was painted for (a class's index or a text, None for none), and any score."""

    image: Image.Image
    label: Guide = None
    score: float | None = None


def inpaint(
    network: BinaryModel,
    original: Original,
    mask: Mask,
    wish: Wish,
    *,
    how: Blend = "poisson",
    guess: bool = False,
    best_of: int = 1,
) -> Painter[Painted]:
    """Repaint the masked part of a picture.

    Args:
        network: tokenizer and generator.
        original: a picture of any size and mode.
        mask: (H, W) of the picture's size; where it is 0 the picture comes back bit for bit.
        wish: label, seed, settings.
        how: how the paint is joined to the picture.
        guess: take the label that fits what is seen, instead of the wish's.
        best_of: paint so many variants and keep the one that the model finds likeliest.
    """
    pixels, region = original.seen(), mask > 0
    if not region.any():
        return Painted(original.image, wish.label)
    if guess:
        wish = replace(wish, label=guess_label(network, pixels, region, wish.seed, wish.window))
    if best_of > 1:
        tries = [replace(wish, seed=seed, scored=True) for seed in _tries(wish.seed, best_of)]
        made = yield from side_by_side([repaint(network, pixels, region, each) for each in tries])
        best = max(made, key=lambda each: each.score)
    else:
        best = yield from repaint(network, pixels, region, wish)
    return Painted(joined(original, pixels, best, mask, how), wish.label, best.score if best_of > 1 else None)


def joined(
    original: Original, pixels: Pixels, made: Repainted, mask: Mask, how: Blend, *, opaque: bool = True
) -> Image.Image:
    """The picture with what was painted in its place; without `opaque` its transparency stays as it is."""
    colours, weight = blend(pixels, made.pixels, mask, how)
    return original.changed(colours, weight, opaque=opaque)


def _tries(seed: int, count: int) -> Sequence[int]:
    """Seeds of the variants to choose from: the picture's own, and others far from it."""
    step = 0x2545F4914F6CDD1D
    return [(seed + index * step) & LARGEST_SEED for index in range(count)]


def outpaint(
    network: BinaryModel,
    original: Original,
    margins: Margins,
    wish: Wish,
    *,
    how: Blend = "poisson",
    guess: bool = False,
    best_of: int = 1,
) -> Painter[Painted]:
    """Continue a picture on a larger canvas; the picture itself stays bit for bit. Arguments as in `inpaint`.

    Windows are as large as the picture's shorter side, so that what is painted has the scale of what is there, and go
    on by a quarter of that, because a model that sees little of the picture begins another one.

    Raises:
        UsageError: the canvas is not larger than the picture, or too large.
    """
    width, height = original.size
    canvas = margins.canvas(original.size)
    corner = (-margins.left, -margins.top)
    whole = original.image.crop((*corner, corner[0] + canvas[0], corner[1] + canvas[1]))
    mask = np.ones((canvas[1], canvas[0]), dtype=np.float32)
    mask[margins.top : margins.top + height, margins.left : margins.left + width] = 0
    size = network.tokenizer.config.image_size
    side = wish.window or min(max(min(width, height), size // 2), ZOOM * size)
    wish = replace(wish, window=side, step=_STEP)
    extended = replace(original, image=whole)
    return (yield from inpaint(network, extended, mask, wish, how=how, guess=guess, best_of=best_of))
