"""The masked part of a picture of any size, painted window by window; what inpaint, outpaint and edit share."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bigr_cli.core.config import Guide, SamplingConfig
from bigr_cli.core.likelihood import label_scores, seen_scores
from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import UsageError
from bigr_cli.imaging.arrays import to_pixels
from bigr_cli.imaging.windows import (
    Pixels,
    Where,
    Window,
    cut,
    extent,
    plan_windows,
    resized,
    touched_tokens,
    window_side,
)
from bigr_cli.painting.asks import Ask, Painter, derived_seed

_OVERLAP = 0.05  # of a window: how far new paint fades into paint that was there before


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be painted: a label for guidance, one to be led away from, a seed, and how to sample.

    A label is a class's index, or a text; None is none. `window` is the side of the windows in pixels; None lets the
    region and the picture decide. In a region that is larger, `step` is how much of a window the next one is further
    on.
    `scored` asks how likely the model finds what it has drawn.
    """

    settings: SamplingConfig
    seed: int
    label: Guide = None
    against: Guide = None
    window: int | None = None
    step: float = 0.5
    scored: bool = False

    @property
    def sampling(self) -> SamplingConfig:
        """The settings, without guidance where there is no label that it could lead to."""
        unguided = self.label is None and self.against is None
        return replace(self.settings, guidance=0.0) if unguided else self.settings


@dataclass(frozen=True)
class Repainted:
    """Pixels (H, W, 3) in [0, 1], and the mean score of the tokens drawn, if that was wished for."""

    pixels: Pixels
    score: float = 0.0


def repaint(
    network: BinaryModel, pixels: Pixels, region: Where, wish: Wish, *, windows: Sequence[Window] | None = None
) -> Painter[Repainted]:
    """Paint every pixel of a region.

    What the region shows before plays no part.

    Args:
        network: tokenizer and generator.
        pixels: (H, W, 3) float32 in [0, 1].
        region: (H, W) bool, True = repaint. If nothing is, the picture comes back.
        wish: label, seed, settings.
        windows: where to paint, if that was planned before.

    Returns:
        The picture; outside the region with the same numbers, but for the pixels next to it, which are as the model
        has them, for `blend` to compare.
    """
    painted, todo = pixels.copy(), region.copy()
    border, total, count = pixels.copy(), 0.0, 0
    planned = windows_for(network, region, wish.window, wish.step) if windows is None else windows
    for index, window in enumerate(planned):
        covered = window.clipped(*region.shape)
        if not todo[covered].any():
            continue
        drawn, masked = yield from _draw_window(network, painted, todo, window, wish, index)
        shown = resized(decode(network, drawn), window.side, window.side)[window.inside(*region.shape)]
        weight = _fade(todo[covered], region[covered], round(_OVERLAP * window.side))[..., None]
        painted[covered] = np.where(weight < 1, painted[covered] * (1 - weight) + shown * weight, shown)
        beside = _grown(todo[covered]) & ~region[covered]
        border[covered][beside] = shown[beside]
        todo[covered] = False
        if wish.scored:
            total += _score(network, drawn, masked, wish)
            count += int(masked.sum())
    return Repainted(np.where(region[..., None], painted, border), total / max(1, count))


def windows_for(network: BinaryModel, region: Where, side: int | None = None, step: float = 0.5) -> list[Window]:
    """The windows in which a region is painted; `side` None lets region and picture decide."""
    chosen = side or window_side(extent(region), region.shape, network.tokenizer.config.image_size)
    return plan_windows(region, chosen, step)


def guess_label(
    network: BinaryModel, pixels: Pixels, region: Where, seed: int, windows: Sequence[Window] | None = None
) -> int | None:
    """The label under which the model finds what it sees around a region likeliest; None if it sees nothing."""
    windows = windows_for(network, region) if windows is None else windows
    if not windows:
        return None
    config = network.tokenizer.config
    codes = encode(network, cut(pixels, windows[0], config.image_size, region))
    unknown = torch.from_numpy(touched_tokens(region, windows[0], config.grid).reshape(-1)).to(codes.device)
    if bool(unknown.all()):
        return None
    return likeliest_label(network, codes, unknown, seed)


def likeliest_label(network: BinaryModel, codes: Tensor, unknown: Tensor, seed: int) -> int:
    """The class under which codes (L, K) are likeliest, without the tokens that are unknown (L,).

    Raises:
        UsageError: the model has no classes.
    """
    if network.generator.config.condition != "class":
        raise UsageError("guessing a label needs a model of classes; this one reads texts")
    return int(label_scores(network.generator, codes, unknown, seed).argmax())


def encode(network: BinaryModel, pixels: Pixels) -> Tensor:
    """(S, S, 3) pixels in [0, 1] → (L, K) bool codes."""
    weight = network.tokenizer.embed
    with torch.inference_mode():
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        codes = network.tokenizer.encode(image.to(weight.device, weight.dtype))[0]
    return codes.clone()


def decode(network: BinaryModel, codes: Tensor) -> Pixels:
    """(L, K) codes → (S, S, 3) pixels in [0, 1]."""
    with torch.inference_mode():
        # One at a time, because a convolution may round differently in a larger batch.
        return to_pixels(network.tokenizer.decode(codes[None].to(network.tokenizer.embed.device)))[0]


def seen_fit(network: BinaryModel, codes: Tensor, label: Guide, seed: int, unknown: Tensor | None = None) -> Tensor:
    """How likely each token (L,) of codes (L, K) is beside the others under a label; 0 where unknown (L,)."""
    if unknown is None:
        unknown = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    seeds = torch.tensor([seed], device=codes.device)
    return seen_scores(network.generator, codes[None], network.conditions([label]), unknown[None], seeds)[0]


def _draw_window(
    network: BinaryModel, pixels: Pixels, todo: Where, window: Window, wish: Wish, index: int
) -> Generator[Sequence[Ask], Tensor, tuple[Tensor, Tensor]]:
    """Draw the tokens of a window that have pixels to do: codes (L, K), and which were drawn (L,)."""
    config = network.tokenizer.config
    codes = encode(network, cut(pixels, window, config.image_size, todo))
    masked = torch.from_numpy(touched_tokens(todo, window, config.grid).reshape(-1)).to(codes.device)
    seed = derived_seed(wish.seed, index)
    box = (window.x, window.y, window.side)
    drawn = yield [Ask(codes, masked, seed, wish.sampling, label=wish.label, against=wish.against, box=box)]
    return drawn[0], masked


def lowest(scores: Tensor, count: int) -> Tensor:
    """Where the `count` lowest of scores (L,) are, the first of equal ones: (L,) bool."""
    chosen = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    chosen[scores.argsort(stable=True)[:count]] = True
    return chosen


def _score(network: BinaryModel, codes: Tensor, masked: Tensor, wish: Wish) -> float:
    """The sum of the scores of the tokens that were drawn."""
    return float(seen_fit(network, codes, wish.label, wish.seed)[masked].sum())


def _grown(region: Where) -> Where:
    """The region and the pixels next to it."""
    import cv2

    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)), dtype=bool)


def _fade(fresh: Where, region: Where, width: int) -> Pixels:
    """Weights (h, w) of new paint: 1 where there was none, falling to 0 over `width` pixels of earlier paint."""
    import cv2

    away = cv2.distanceTransform((~fresh).astype(np.uint8), cv2.DIST_L2, 3)
    ramp = np.clip(1 - away / (width + 1), 0, 1) * region
    return np.where(fresh, 1, ramp).astype(np.float32)
