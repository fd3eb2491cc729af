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
from bigr_cli.imaging.windows import ZOOM, Pixels, working_area
from bigr_cli.painting.asks import Painter, holding, side_by_side
from bigr_cli.painting.repaint import Repainted, Wish, guess_label, repaint, windows_for

_HELD = 4  # times the pixels of the area worked on that wait with each variant
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
    if not (mask > 0).any():
        return Painted(original.image, wish.label)
    windows = windows_for(network, mask > 0, wish.window, wish.step)
    first = windows_for(network, mask > 0, wish.window)[:1] if guess else []
    # All else of a large image is never made into floats, and is no part of what waits to be sampled.
    box = working_area(mask > 0, [*windows, *first])
    windows, first = ([window.shifted(*box[:2]) for window in some] for some in (windows, first))
    mask = mask[box[1] : box[3], box[0] : box[2]].copy()
    pixels, region = original.seen(box), mask > 0
    held = 2 * original.stored_bytes
    if guess:
        wish = replace(wish, label=guess_label(network, pixels, region, wish.seed, first))
    if best_of > 1:
        tries = [replace(wish, seed=seed, scored=True) for seed in _tries(wish.seed, best_of)]
        variants = side_by_side([repaint(network, pixels, region, each, windows=windows) for each in tries])
        made = yield from holding(variants, held + best_of * _HELD * pixels.nbytes)
        best = max(made, key=lambda each: each.score)
    else:
        variant = repaint(network, pixels, region, wish, windows=windows)
        best = yield from holding(variant, held + _HELD * pixels.nbytes)
    painted = joined(original, pixels, best, mask, how, at=box[:2])
    return Painted(painted, wish.label, best.score if best_of > 1 else None)


def joined(
    original: Original,
    pixels: Pixels,
    made: Repainted,
    mask: Mask,
    how: Blend,
    *,
    opaque: bool = True,
    at: tuple[int, int] = (0, 0),
) -> Image.Image:
    """The image with what was painted at (x, y); without `opaque` its transparency stays as it is."""
    colours, weight = blend(pixels, made.pixels, mask, how)
    return original.changed(colours, weight, opaque=opaque, at=at)


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
