"""Inpainting, outpainting and editing: under a mask the same repainting of the same pixels, or of a whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli import console
from bigr_cli.core.config import LARGEST_SEED, Prompt
from bigr_cli.core.familiarity import Look
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import SamplingCoroutine, holding, side_by_side
from bigr_cli.editing.mask_finders import label_ratios, shown_ratios
from bigr_cli.editing.repaint import (
    Painted,
    Repainted,
    WholeView,
    guess_label,
    look_around,
    look_at,
    lowest,
    repaint,
    sample_request,
    see_whole,
    seen_fit,
    windows_for,
)
from bigr_cli.editing.requests import STRENGTH, UNSURE_STRENGTH, Edit, Inpaint, Outpaint
from bigr_cli.imaging.arrays import decode_pixels
from bigr_cli.imaging.blending import Blend, blend
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import Margins
from bigr_cli.imaging.windows import ZOOM, Pixels, resized, working_area

_VARIANTS = 0x2545F4914F6CDD1D  # between the seeds of variants to choose from, which are far from each other
_HELD = 4  # times the pixels of the area worked on that wait with each variant
_STEP = 0.25  # of a window, from one to the next in outpainting

Mask = NDArray[np.float32]  # (H, W) in [0, 1], 1 = repaint


def inpaint(
    network: BinaryModel,
    original: Original,
    mask: Mask,
    request: Inpaint | Outpaint | Edit,
    seed: int,
    *,
    guess: bool = False,
    step: float = 0.5,
) -> SamplingCoroutine[Painted]:
    """Repaint the masked part of an image.

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        mask: (H, W) of the image's size; where it is 0 the image comes back bit for bit.
        request: labels, settings, and how the paint is joined to the image; of `best_of` variants the likeliest is
            kept.
        seed: of the image.
        guess: take the label that fits what is seen, instead of the request's.
        step: how far a window is from the next, as a share of it.

    Raises:
        UnfamiliarError: as `repaint`.
    """
    if not (mask > 0).any():
        return Painted(original.image, request.label)
    # An object that is named is wanted as clear as can be, whatever the image shows farther away.
    close = request.label is not None and not guess and request.window is None
    windows = windows_for(network, mask > 0, request.window, step, close=close)
    usual = windows_for(network, mask > 0, step=step) if close else windows
    first = windows_for(network, mask > 0, request.window)[:1] if guess else []
    # All else of a large image is never made into floats, and is no part of what waits to be sampled.
    box = working_area(mask > 0, [*windows, *usual, *first])
    windows, usual, first = ([window.shifted(*box[:2]) for window in some] for some in (windows, usual, first))
    mask = mask[box[1] : box[3], box[0] : box[2]].copy()
    pixels, region = original.seen(box), mask > 0
    if guess:
        request = replace(request, label=guess_label(network, pixels, region, seed, first))
    scored = request.best_of > 1
    seeds = [(seed + index * _VARIANTS) & LARGEST_SEED for index in range(request.best_of)]
    look = Look(network)
    closer = windows[0].side < usual[0].side
    if closer:  # what is seen from close by is unlike the images of any training
        look_around(look, network, pixels, region, request, usual)
    looks = (None if closer else look, *[None] * (len(seeds) - 1))
    variants = side_by_side(
        [
            repaint(network, pixels, region, request, each, windows=windows, whole=close, scored=scored, look=looking)
            for each, looking in zip(seeds, looks, strict=True)
        ]
    )
    made = yield from holding(variants, 2 * original.stored_bytes + len(seeds) * _HELD * pixels.nbytes)
    best = max(made, key=lambda each: each.score)
    whole = isinstance(request, Edit)  # a mask for another label hides all of what the old one named
    painted = joined(original, pixels, best, mask, request.blend, whole=whole, at=box[:2])
    return Painted(painted, request.label, best.score if scored else None, familiarity=look.verdict)


def joined(
    original: Original,
    pixels: Pixels,
    made: Repainted,
    mask: Mask,
    how: Blend,
    *,
    opaque: bool = True,
    whole: bool = False,
    at: tuple[int, int] = (0, 0),
) -> Image.Image:
    """The image with what was painted at (x, y); without `opaque` its transparency stays as it is.

    `whole` is as of `blend`.
    """
    colours, weight = blend(pixels, made.pixels, mask, how, whole=whole)
    return original.changed(colours, weight, opaque=opaque, at=at)


def outpaint(
    network: BinaryModel,
    original: Original,
    margins: Margins,
    request: Outpaint,
    seed: int,
    *,
    guess: bool = False,
) -> SamplingCoroutine[Painted]:
    """Continue an image on a larger canvas; the image itself stays bit for bit. Arguments as in `inpaint`.

    Windows are as large as the image's shorter side, so that what is painted has the scale of what is there, and go
    on by a quarter of that, because a model that sees little of the image begins another one.

    Raises:
        UsageError: the canvas is not larger than the image, or too large.
    """
    width, height = original.size
    canvas = margins.canvas(original.size)
    corner = (-margins.left, -margins.top)
    whole = original.image.crop((*corner, corner[0] + canvas[0], corner[1] + canvas[1]))
    mask = np.ones((canvas[1], canvas[0]), dtype=np.float32)
    mask[margins.top : margins.top + height, margins.left : margins.left + width] = 0
    size = network.tokenizer.config.image_size
    side = request.window or min(max(min(width, height), size // 2), ZOOM * size)
    extended = replace(original, image=whole)
    return (yield from inpaint(network, extended, mask, replace(request, window=side), seed, guess=guess, step=_STEP))


def edit_whole(
    network: BinaryModel, original: Original, request: Edit, seed: int, *, was: Prompt = None
) -> SamplingCoroutine[Painted]:
    """Sample a share of an image's tokens again under another label, those first that show what it was.

    The model sees the whole image in one window; pixels of tokens that are kept come back bit for bit.

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        request: the new label, the share of the tokens, from 0 (nothing) to 1 (everything), settings.
        seed: of the image.
        was: what the image shows, a class or a text, if that is known. Otherwise it is guessed; where it cannot be,
            those tokens come first that fit the new label least.

    Raises:
        UnfamiliarError: as `look_at`.
    """
    config, (width, height) = network.tokenizer.config, original.size
    view, look = see_whole(network, original, request.window), Look(network)
    window, codes, outside, side = view.window, view.codes, view.outside, view.window.side
    look_at(look, view.shown, codes, request, ~outside)
    fit, usual = _to_replace(network, view, request, seed, was)
    count = round((usual if request.strength is None else request.strength) * int((~outside).sum()))
    if count == 0:
        return Painted(original.image, request.label, familiarity=look.verdict)
    masked = lowest(fit.masked_fill(outside, torch.inf), count)
    wanted = sample_request(codes, masked | outside, request, seed, window)
    sampled = yield [replace(wanted, held=2 * original.stored_bytes)]
    shown = resized(decode_pixels(network, sampled[0]), side, side)
    pixels = original.seen()
    made = pixels.copy()  # beside the changed tokens too as the model has it, for the blending to compare
    made[window.clipped(height, width)] = shown[window.inside(height, width)]
    mask = np.zeros((height, width), dtype=np.float32)
    cells = np.arange(side) * config.grid // side
    changed = masked.view(config.grid, config.grid).cpu().numpy()[cells[:, None], cells]
    mask[window.clipped(height, width)] = changed[window.inside(height, width)]
    painted = joined(original, pixels, Repainted(made), mask, request.blend, opaque=False)
    return Painted(painted, request.label, familiarity=look.verdict)


def _to_replace(network: BinaryModel, view: WholeView, request: Edit, seed: int, was: Prompt) -> tuple[Tensor, float]:
    """Numbers (L,) of an image's tokens, the lower the sooner to be sampled again, and which share usually is.

    Says so where it is not known what the image shows, and more are needed.
    """
    known = was is not None
    ratios = label_ratios(network, view, was, other=request.label) if known else shown_ratios(network, view)
    if ratios is not None:
        return -torch.from_numpy(ratios).flatten().to(view.codes.device), STRENGTH
    if request.strength is None:
        console.say(
            f"what the image shows is not known, so {UNSURE_STRENGTH:.0%} of it is sampled anew; --from-class says it, "
            f"and {STRENGTH:.0%} is enough",
            once=True,
        )
    return seen_fit(network, view.codes, request.label, seed, view.outside), UNSURE_STRENGTH
