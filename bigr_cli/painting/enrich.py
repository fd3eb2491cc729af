"""Detail for pictures that lack it (reference section 5): groups of tokens are redrawn in turn, pass after pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli.core.config import LARGEST_SEED, require, require_positive
from bigr_cli.core.likelihood import token_scores
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.random import Stream, uniform
from bigr_cli.data.images import pixel_limit
from bigr_cli.errors import UsageError
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import Pixels, Window, cut, resized
from bigr_cli.painting.asks import Ask, Painter, derived_seed, holding, side_by_side
from bigr_cli.painting.inpaint import Painted
from bigr_cli.painting.repaint import Wish, decode, encode, likeliest_label, lowest

_HELD = 3  # times the image's floats that wait with it
_SHARED = 0.25  # of a window: how much of it its neighbours show too, at least


@dataclass(frozen=True)
class Detail:
    """How much is redrawn: tokens in cells of `rate` × `rate`, split into `groups`, in `passes` rounds.

    The paper's way is `strength` 1 with `reduce`; the defaults keep what the picture shows.

    Of each group a share of `strength` is redrawn, those tokens first that the model finds least likely beside the
    others. With `reduce` the picture is first reduced by `rate` and enlarged again, so that there is detail to be added
    to a picture that has it. `scale` makes it larger; `sharpen_only` keeps the colours, and changes what is
    finer than the reduced picture shows.
    """

    rate: int = 2
    passes: int = 1
    groups: int = 4
    strength: float = 0.25
    reduce: bool = False
    scale: int = 1
    sharpen_only: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "rate", "passes", "groups", "scale")
        require(0 < self.strength <= 1, f"strength: expected more than 0, up to 1, got {self.strength}")
        require(self.groups <= self.rate**2, f"groups: a cell has {self.rate**2} tokens, got {self.groups} groups")


def enrich(
    network: BinaryModel, original: Original, detail: Detail, wish: Wish, *, guess: bool = False
) -> Painter[Painted]:
    """Redraw a picture's detail, in windows that overlap.

    Args:
        network: tokenizer and generator.
        original: a picture of any size and mode.
        detail: how much is redrawn.
        wish: a label if there is one, seed, settings.
        guess: take the label under which the model finds the picture likeliest, instead of the wish's.

    Raises:
        UsageError: the larger picture would be too large.
    """
    width, height = (detail.scale * side for side in original.size)
    if width * height > pixel_limit():
        raise UsageError(f"an image of {width} × {height} pixels is too large; at most {pixel_limit():,} in all")
    before = original.seen()
    plain = _reduced(before, width, height, detail.rate if detail.reduce else 1)
    size = network.tokenizer.config.image_size
    if guess:
        whole = max(width, height)
        seen = Window((width - whole) // 2, (height - whole) // 2, whole)
        codes = encode(network, cut(plain, seen, size))
        unknown = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        wish = replace(wish, label=likeliest_label(network, codes, unknown, wish.seed))
    side = wish.window or max(min(size, width, height), min(size // 2, max(width, height)))
    windows = [Window(x, y, side) for y in _spread(height, side) for x in _spread(width, side)]
    redrawn = [_redraw(network, plain, window, detail, wish, index) for index, window in enumerate(windows)]
    made = yield from holding(side_by_side(redrawn), 2 * original.stored_bytes + _HELD * plain.nbytes)
    total, weights = np.zeros((height, width, 3)), np.zeros((height, width, 1))
    for window, shown in zip(windows, made, strict=True):
        share = _share(side)[window.inside(height, width)][..., None]
        total[window.clipped(height, width)] += resized(shown, side, side)[window.inside(height, width)] * share
        weights[window.clipped(height, width)] += share
    enriched: Pixels = (total / weights).astype(np.float32)
    if detail.sharpen_only:
        enriched = _sharpened(resized(before, width, height), enriched, detail.rate)
    smooth = original.mode in ("L", "LA", "RGB", "RGBA")
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    canvas = replace(original, image=original.image.resize((width, height), method))
    everywhere = np.ones((height, width), dtype=np.float32)
    return Painted(canvas.changed(enriched, everywhere, opaque=False), wish.label)


def _redraw(
    network: BinaryModel, pixels: Pixels, window: Window, detail: Detail, wish: Wish, index: int
) -> Painter[Pixels]:
    """One window: each group of tokens is masked and drawn again, given all the others."""
    codes = encode(network, cut(pixels, window, network.tokenizer.config.image_size))
    grid, box = network.tokenizer.config.grid, (window.x, window.y, window.side)
    for turn in range(detail.passes):
        seed = derived_seed(wish.seed, index * detail.passes + turn)
        group = _groups(grid, detail, seed).to(codes.device)
        for number in range(detail.groups):
            masked = _least_likely(network, codes, group == number, detail.strength, wish)
            own = (seed + number + 1) & LARGEST_SEED
            drawn = yield [Ask(codes, masked, own, wish.sampling, label=wish.label, against=wish.against, box=box)]
            codes = drawn[0]
    return decode(network, codes)


def _least_likely(network: BinaryModel, codes: Tensor, group: Tensor, strength: float, wish: Wish) -> Tensor:
    """The share of a group (L,) that the model would rather see otherwise, given all tokens that are not in it."""
    if strength == 1:
        return group
    seeds = torch.tensor([wish.seed], device=codes.device)
    fit = token_scores(network.generator, codes[None], network.conditions([wish.label]), group[None], seeds)[0]
    return lowest(fit.masked_fill(~group, torch.inf), max(1, round(strength * int(group.sum()))))


def _groups(grid: int, detail: Detail, seed: int) -> Tensor:
    """The group of every token (L,): the places in a cell are split at random, the same in every cell."""
    places = detail.rate**2
    numbers = uniform(torch.tensor([seed]).expand(places), Stream.ORDER, torch.arange(places), 1)[:, 0]
    group = numbers.argsort().argsort() * detail.groups // places
    place = torch.arange(grid) % detail.rate
    return group[(place[:, None] * detail.rate + place).flatten()]


def _reduced(pixels: Pixels, width: int, height: int, rate: int) -> Pixels:
    """The picture at a size, with no more detail than one `rate` times smaller has."""
    across, down = max(1, round(width / rate)), max(1, round(height / rate))
    planes = []
    for plane in np.moveaxis(pixels, -1, 0):
        image = Image.fromarray(np.ascontiguousarray(plane))
        if across < image.width or down < image.height:
            image = image.resize((across, down), Image.Resampling.BILINEAR)
        planes.append(np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(planes, axis=-1)


def _sharpened(base: Pixels, enriched: Pixels, rate: int) -> Pixels:
    """The picture with the fine detail of another one."""
    import cv2

    def low(pixels: Pixels) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rate)), dtype=np.float32)

    sharpened: Pixels = np.clip(low(base) + enriched - low(enriched), 0, 1)
    return sharpened


def _spread(limit: int, side: int) -> list[int]:
    """Where windows begin that cover a side of the picture and share a part with their neighbours."""
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
