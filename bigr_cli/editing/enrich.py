"""Detail for images that lack it (reference section 5): groups of tokens are sampled again in turn, pass after pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli.core.config import LARGEST_SEED
from bigr_cli.core.familiarity import Look
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.random import Stream, uniform
from bigr_cli.core.representation import token_scores
from bigr_cli.data.images import pixel_limit
from bigr_cli.editing.batched_sampling import SamplingCoroutine, derived_seed, holding, side_by_side
from bigr_cli.editing.repaint import Painted, likeliest_label, look_at, lowest, sample_request
from bigr_cli.editing.requests import Enrich
from bigr_cli.errors import UsageError
from bigr_cli.imaging.arrays import decode_pixels, encode_pixels
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import Pixels, Window, cut, planes_resized, resized, touched_tokens

_HELD = 3  # times the image's floats that wait with it
_PROJECTIONS = 8
_SHARED = 0.25  # of a window: how much of it its neighbours show too, at least


def enrich(network: BinaryModel, original: Original, request: Enrich, seed: int) -> SamplingCoroutine[Painted]:
    """Sample an image's detail again, in windows that overlap.

    Of each group a share of `strength` is sampled again, those tokens first that the model finds least likely beside
    the others. With `reduce` the image is first reduced by `rate` and enlarged again, so that there is detail to be
    added to an image that has it. `scale` makes it larger; what is made, reduced again, is the image that was given,
    unless `reduce` gives that up. `sharpen_only` keeps the colours, and changes what is finer than the reduced image
    shows.

    Windows that the model reconstructs worse than 99 % of the images that were held out of its training are left as
    they are, and enlarged by Lanczos, unless the request is for every window: what it resamples there fits nothing.

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        request: how much is sampled again, and how; a label if there is one, or whether the likeliest one is guessed.
        seed: of the image.

    Raises:
        UsageError: the larger image would be too large.
        UnfamiliarError: as `look_at`.
    """
    width, height = (request.scale * side for side in original.size)
    if width * height > pixel_limit():
        raise UsageError(f"an image of {width} × {height} pixels is too large; at most {pixel_limit():,} in all")
    before = original.seen()
    plain = _reduced(before, width, height, request.rate if request.reduce else 1)
    size = network.tokenizer.config.image_size
    if request.guess:
        whole = max(width, height)
        seen = Window((width - whole) // 2, (height - whole) // 2, whole)
        codes = encode_pixels(network, cut(plain, seen, size))
        unknown = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        request = replace(request, label=likeliest_label(network, codes, unknown, seed))
    longest = max(width, height)  # a larger window would show nothing but what lies beyond the image
    side = min(request.window or max(min(size, width, height), size // 2), longest)
    windows = [Window(x, y, side) for y in _starts(height, side) for x in _starts(width, side)]
    look = Look(network)
    resampled = [_resample(network, plain, window, request, seed, index, look) for index, window in enumerate(windows)]
    made = yield from holding(side_by_side(resampled), 2 * original.stored_bytes + _HELD * plain.nbytes)
    images = [
        _joined(original, before, [shown[turn] if shown else None for shown in made], windows, (width, height), request)
        for turn in range(request.passes if request.save_passes else 1)
    ]
    left = sum(shown is None for shown in made)
    return Painted(
        images[-1],
        request.label,
        earlier=tuple(images[:-1]),
        familiarity=look.verdict,
        windows=len(windows),
        left=left,
    )


def _joined(
    original: Original,
    before: Pixels,
    made: Sequence[Pixels | None],
    windows: Sequence[Window],
    size: tuple[int, int],
    request: Enrich,
) -> Image.Image:
    """The image of this size (width, height) that windows make together, those that overlap faded into each other.

    Windows of which nothing was made show the image itself.
    """
    width, height = size
    total, weights = np.zeros((height, width, 3)), np.zeros((height, width, 1))
    itself = resized(before, width, height)
    everywhere = np.zeros((height, width), dtype=np.float32)
    for window, shown in zip(windows, made, strict=True):
        place, inside = window.clipped(height, width), window.inside(height, width)
        share = _share(window.side)[inside][..., None]
        total[place] += share * (itself[place] if shown is None else resized(shown, window.side, window.side)[inside])
        weights[place] += share
        if shown is not None:
            everywhere[place] = 1
    enriched: Pixels = (total / weights).astype(np.float32)
    if request.sharpen_only:
        enriched = _sharpened(itself, enriched, request.rate)
    if request.scale > 1 and not request.reduce:
        enriched = _consistent(enriched, before)
    smooth = original.mode in ("L", "LA", "RGB", "RGBA")
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    canvas = replace(original, image=original.image.resize((width, height), method))
    return canvas.changed(enriched, everywhere, opaque=False)


def _resample(
    network: BinaryModel, pixels: Pixels, window: Window, request: Enrich, seed: int, index: int, look: Look
) -> SamplingCoroutine[list[Pixels] | None]:
    """One window after the last pass, or after each: every group of tokens is masked and sampled again in turn.

    None if the window is left as it is.
    """
    shown = cut(pixels, window, network.tokenizer.config.image_size)
    codes = encode_pixels(network, shown, derived_seed(seed, index) if request.sample_codes else None)
    grid, made = network.tokenizer.config.grid, []
    shape = pixels.shape[:2]
    known = touched_tokens(np.ones(shape, dtype=bool), window, grid, beyond=False).reshape(-1)
    seen = look_at(look, shown, codes, request, torch.from_numpy(known).to(codes.device))
    if seen is not None and seen.doubtful and not request.every_window:
        return None
    for turn in range(request.passes):
        first = derived_seed(seed, index * request.passes + turn)
        group = _groups(grid, request, first).to(codes.device)
        for number in range(request.turns):
            masked = _least_likely(network, codes, group == number, request, seed)
            sampled = yield [sample_request(codes, masked, request, (first + number + 1) & LARGEST_SEED, window)]
            codes = sampled[0]
        if request.save_passes or turn + 1 == request.passes:
            made.append(decode_pixels(network, codes))
    return made


def _least_likely(network: BinaryModel, codes: Tensor, group: Tensor, request: Enrich, seed: int) -> Tensor:
    """The share of a group (L,) that the model would rather see otherwise, given all tokens that are not in it."""
    if request.strength == 1:
        return group
    seeds = torch.tensor([seed], device=codes.device)
    fit = token_scores(network.generator, codes[None], network.conditions([request.label]), group[None], seeds)[0]
    return lowest(fit.masked_fill(~group, torch.inf), max(1, round(request.strength * int(group.sum()))))


def _groups(grid: int, request: Enrich, seed: int) -> Tensor:
    """The group of every token (L,): the places in a cell are split at random, the same in every cell."""
    places = request.rate**2
    numbers = uniform(torch.tensor([seed]).expand(places), Stream.ORDER, torch.arange(places), 1)[:, 0]
    group = numbers.argsort().argsort() * request.turns // places
    place = torch.arange(grid) % request.rate
    return group[(place[:, None] * request.rate + place).flatten()]


def _reduced(pixels: Pixels, width: int, height: int, rate: int) -> Pixels:
    """The image at a size, with no more detail than one `rate` times smaller has."""
    small = max(1, round(width / rate)), max(1, round(height / rate))
    if small[0] < pixels.shape[1] or small[1] < pixels.shape[0]:
        pixels = planes_resized(pixels, small, Image.Resampling.BILINEAR)
    return planes_resized(pixels, (width, height), Image.Resampling.BILINEAR)


def _sharpened(base: Pixels, enriched: Pixels, rate: int) -> Pixels:
    """The image with the fine detail of another one."""
    import cv2

    def low(pixels: Pixels) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rate)), dtype=np.float32)

    sharpened: Pixels = np.clip(low(base) + enriched - low(enriched), 0, 1)
    return sharpened


def _consistent(enlarged: Pixels, given: Pixels) -> Pixels:
    """The enlarged image (S·H, S·W, 3), changed so that its means over S × S pixels are the given one's (H, W, 3).

    That is iterative back-projection (Irani and Peleg 1991, "Improving resolution by image registration").
    """
    height, width = enlarged.shape[:2]
    size = (given.shape[1], given.shape[0])
    for _ in range(_PROJECTIONS):
        missing = given - planes_resized(enlarged, size, Image.Resampling.BOX)
        enlarged = enlarged + planes_resized(missing, (width, height), Image.Resampling.BICUBIC)
    consistent: Pixels = np.clip(enlarged, 0, 1)
    return consistent


def _starts(limit: int, side: int) -> list[int]:
    """Where windows begin that cover a side of the image and share a part with their neighbours."""
    if side >= limit:
        return [(limit - side) // 2]
    count = -(-(limit - side) // max(1, int(side * (1 - _SHARED))))
    return [round(index * (limit - side) / count) for index in range(count + 1)]


def _share(side: int) -> NDArray[np.float64]:
    """Weights (side, side) of a window's pixels: 1 in the middle, falling towards its border."""
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.minimum(1, edge / max(1.0, _SHARED * side))
    weights: NDArray[np.float64] = ramp[:, None] * ramp
    return weights
