"""The masked part of an image of any size, painted window by window; what inpaint, outpaint and edit share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bigr_cli.core.config import Prompt
from bigr_cli.core.familiarity import Look
from bigr_cli.core.held_out import HELP, Familiarity
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.representation import label_scores, seen_scores
from bigr_cli.editing.batched_sampling import SampleRequest, SamplingCoroutine, derived_seed
from bigr_cli.editing.request import EditRequest
from bigr_cli.errors import UnfamiliarError, UsageError
from bigr_cli.imaging.arrays import decode_pixels, encode_pixels
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.windows import (
    Pixels,
    Where,
    Window,
    cut,
    extent,
    plan_windows,
    resized,
    surroundings,
    touched_tokens,
    window_side,
)

# How an object is painted: the numbers with which most were recognised, and the fewest cut off.
_FILLED, _LEAST_FILLED = 0.6, 0.25  # of a window's side by its region
_REACH = 0.35  # of a token: those so near to the region are sampled too, or the object shrinks
_TRIES, _CUT, _UNLIKE = 3, 0.1, 0.15  # it is cut off where so much of what surrounds it has changed by so much
_OVERLAP = 0.05  # of a window: how far new paint fades into paint that was there before


@dataclass(frozen=True)
class WholeView:
    """An image as the model sees it in one window: pixels (S, S, 3), codes (L, K), tokens `outside` of it (L,)."""

    window: Window
    shown: Pixels
    codes: Tensor
    outside: Tensor


@dataclass(frozen=True)
class Painted:
    """A finished image, what it was painted for (a class's index or a text, None for none), and any score.

    `earlier` are the images after the passes before, if they were asked for. `familiarity` says how the image compares
    with those that the model was trained on, if it can say; `left` of so many `windows` were left as they were,
    because the model cannot reconstruct them.
    """

    image: Image.Image
    label: Prompt = None
    score: float | None = None
    earlier: tuple[Image.Image, ...] = ()
    familiarity: Familiarity | None = None
    windows: int = 0
    left: int = 0


@dataclass(frozen=True)
class Repainted:
    """Pixels (H, W, 3) in [0, 1], and the mean score of the sampled tokens, if that was asked for."""

    pixels: Pixels
    score: float = 0.0


def repaint(
    network: BinaryModel,
    pixels: Pixels,
    region: Where,
    request: EditRequest,
    seed: int,
    *,
    windows: Sequence[Window] | None = None,
    step: float = 0.5,
    whole: bool = False,
    scored: bool = False,
    look: Look | None = None,
) -> SamplingCoroutine[Repainted]:
    """Paint every pixel of a region.

    What the region shows before plays no part, unless the request lets the encoder see it.

    Args:
        network: tokenizer and generator.
        pixels: (H, W, 3) float32 in [0, 1].
        region: (H, W) bool, True = repaint. If nothing is, the image comes back.
        request: labels, windows, settings.
        seed: of the image.
        windows: where to paint, if that was planned before.
        step: in a region that is larger than a window, how much of a window the next one is further on.
        whole: an object is wanted that the region does not cut off: up to three are tried in a window.
        scored: whether to say how likely the model finds what it has sampled.
        look: is told of what the model is shown of the image.

    Returns:
        The image; outside the region with the same numbers, but for the pixels next to it, which are as the model
        has them, for `blend` to compare.

    Raises:
        UnfamiliarError: the request is strict, and the image unlike those that the model was trained on.
    """
    painted, todo, reach = pixels.copy(), region.copy(), _REACH if whole else 0.0
    border, total, count = pixels.copy(), 0.0, 0
    planned = windows_for(network, region, request.window, step) if windows is None else windows
    for index, window in enumerate(planned):
        covered = window.clipped(*region.shape)
        if not todo[covered].any():
            continue
        shown = cut(painted, window, network.tokenizer.config.image_size, None if request.see_masked else todo)
        given, masked = _encode_window(network, shown, todo, window, request, derived_seed(seed, index), reach)
        wanted = sample_request(given, masked, request, derived_seed(seed, index), window)
        codes, made = yield from _sampled(network, wanted, region, window, whole)
        if look is not None:  # now, because what was decoded shows the known part too
            known = ~touched_tokens(region, window, network.tokenizer.config.grid, reach=reach).reshape(-1)
            look_at(look, shown, given, request, torch.from_numpy(known).to(codes.device), made)
        shown = resized(made, window.side, window.side)[window.inside(*region.shape)]
        weight = _fade(todo[covered], region[covered], round(_OVERLAP * window.side))[..., None]
        painted[covered] = np.where(weight < 1, painted[covered] * (1 - weight) + shown * weight, shown)
        beside = _grown(todo[covered]) & ~region[covered]
        border[covered][beside] = shown[beside]
        todo[covered] = False
        if scored:
            total += float(seen_fit(network, codes, request.label, seed)[masked].sum())
            count += int(masked.sum())
    return Repainted(np.where(region[..., None], painted, border), total / max(1, count))


def _sampled(
    network: BinaryModel, wanted: SampleRequest, region: Where, window: Window, whole: bool
) -> SamplingCoroutine[tuple[Tensor, Pixels]]:
    """Codes (L, K) and pixels (S, S, 3) of a window; of tries at a `whole` object the one least cut off."""
    if not whole:
        (codes,) = yield [wanted]
        return codes, decode_pixels(network, codes)
    size, grid = network.tokenizer.config.image_size, network.tokenizer.config.grid
    beside = surroundings(region, window, size, max(1, round(_REACH * size / grid)))
    before = decode_pixels(network, wanted.codes)[beside]
    tries: list[tuple[float, int, Tensor, Pixels]] = []
    while len(tries) < _TRIES and (not tries or tries[-1][0] > _CUT):
        number = len(tries)
        (codes,) = yield [replace(wanted, seed=derived_seed(wanted.seed, number) if number else wanted.seed)]
        made = decode_pixels(network, codes)
        changed = np.abs(made[beside] - before).mean(axis=-1) > _UNLIKE
        tries.append((float(changed.mean()) if len(changed) else 0.0, number, codes, made))
    return min(tries, key=lambda each: each[:2])[2:]


def windows_for(
    network: BinaryModel, region: Where, side: int | None = None, step: float = 0.5, *, close: bool = False
) -> list[Window]:
    """The windows in which a region is painted; `side` None lets region and image decide.

    `close` is for a certain object, which models make clearer where it takes most of what they see.
    """
    config = network.tokenizer.config
    filled = min(_FILLED, max(_LEAST_FILLED, 1 - 2 / config.grid)) if close else None  # known tokens on every side
    chosen = side or window_side(extent(region), region.shape, config.image_size, filled=filled)
    return plan_windows(region, chosen, step)


def look_around(
    look: Look, network: BinaryModel, pixels: Pixels, region: Where, request: EditRequest, windows: Sequence[Window]
) -> None:
    """Let a look have what windows show around a region. Errors as `look_at`."""
    for window in windows:
        shown, codes, unknown = _seen_around(network, pixels, region, window)
        look_at(look, shown, codes, request, ~unknown)


def guess_label(
    network: BinaryModel, pixels: Pixels, region: Where, seed: int, windows: Sequence[Window] | None = None
) -> int | None:
    """The label under which the model finds what it sees around a region likeliest; None if it sees nothing."""
    windows = windows_for(network, region) if windows is None else windows
    if not windows:
        return None
    _, codes, unknown = _seen_around(network, pixels, region, windows[0])
    if bool(unknown.all()):
        return None
    return likeliest_label(network, codes, unknown, seed)


def _seen_around(network: BinaryModel, pixels: Pixels, region: Where, window: Window) -> tuple[Pixels, Tensor, Tensor]:
    """What a window shows of an image but for a region (S, S, 3), its codes (L, K), and unknown tokens (L,)."""
    config = network.tokenizer.config
    shown = cut(pixels, window, config.image_size, region)
    codes = encode_pixels(network, shown)
    return shown, codes, torch.from_numpy(touched_tokens(region, window, config.grid).reshape(-1)).to(codes.device)


def likeliest_label(network: BinaryModel, codes: Tensor, unknown: Tensor, seed: int) -> int:
    """The class under which codes (L, K) are likeliest, without the tokens that are unknown (L,).

    Raises:
        UsageError: the model has no classes.
    """
    if network.generator.config.condition != "class":
        raise UsageError("guessing a label needs a model of classes; this one reads texts")
    return int(label_scores(network.generator, codes, unknown, seed).argmax())


def see_whole(network: BinaryModel, original: Original, side: int | None = None) -> WholeView:
    """The whole image in one window, of `side` pixels if that is given, in its middle."""
    config, (width, height) = network.tokenizer.config, original.size
    side = side or max(height, width)
    window = Window((width - side) // 2, (height - side) // 2, side)
    seen = touched_tokens(np.ones((height, width), dtype=bool), window, config.grid, beyond=False)
    shown = cut(original.seen(), window, config.image_size)
    codes = encode_pixels(network, shown)
    return WholeView(window, shown, codes, torch.from_numpy(~seen.reshape(-1)).to(codes.device))


def seen_fit(network: BinaryModel, codes: Tensor, label: Prompt, seed: int, unknown: Tensor | None = None) -> Tensor:
    """How likely each token (L,) of codes (L, K) is beside the others under a label; 0 where unknown (L,)."""
    if unknown is None:
        unknown = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    seeds = torch.tensor([seed], device=codes.device)
    return seen_scores(network.generator, codes[None], network.conditions([label]), unknown[None], seeds)[0]


def _encode_window(
    network: BinaryModel, shown: Pixels, todo: Where, window: Window, request: EditRequest, seed: int, reach: float
) -> tuple[Tensor, Tensor]:
    """The codes (L, K) of what a window shows, and which tokens have pixels to do, or are as near as `reach` (L,)."""
    codes = encode_pixels(network, shown, seed if request.sample_codes else None)
    masked = torch.from_numpy(touched_tokens(todo, window, network.tokenizer.config.grid, reach=reach).reshape(-1))
    return codes, masked.to(codes.device)


def look_at(
    look: Look,
    shown: Pixels,
    codes: Tensor,
    request: EditRequest,
    known: Tensor | None = None,
    made: Pixels | None = None,
    *,
    name: str = "the image",
) -> Familiarity | None:
    """Let a look have another window (S, S, 3) with its codes (L, K), of which tokens are known (L,): its own verdict.

    `made` (S, S, 3) is what the model made of it, if it has been decoded; `name` is what an error calls the image.

    Raises:
        UnfamiliarError: the request is strict, and what was seen so far is unlike what the model was trained on.
    """
    image, again = torch.from_numpy(shown), None if made is None else torch.from_numpy(made).permute(2, 0, 1)
    with torch.inference_mode():
        found = look.add(image.permute(2, 0, 1), codes, known, again)
    so_far = look.verdict
    if request.strict and so_far is not None and so_far.unfamiliar:
        raise UnfamiliarError(f"{name} is unlike those that the model was trained on: {so_far.reason}", hint=HELP)
    return found


def sample_request(
    codes: Tensor, masked: Tensor, request: EditRequest, seed: int, window: Window | None = None
) -> SampleRequest:
    """The masked tokens (L,) of the codes (L, K) of a window, as the request's labels and settings have them."""
    box = None if window is None else (window.x, window.y, window.side)
    return SampleRequest(
        codes, masked, seed, request.guided_sampling, label=request.label, negative=request.negative, box=box
    )


def lowest(scores: Tensor, count: int) -> Tensor:
    """Where the `count` lowest of scores (L,) are, the first of equal ones: (L,) bool."""
    chosen = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    chosen[scores.argsort(stable=True)[:count]] = True
    return chosen


def _grown(region: Where) -> Where:
    import cv2

    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)), dtype=bool)


def _fade(fresh: Where, region: Where, width: int) -> Pixels:
    """Weights (h, w) of new paint: 1 where there was none, falling to 0 over `width` pixels of earlier paint."""
    import cv2

    away = cv2.distanceTransform((~fresh).astype(np.uint8), cv2.DIST_L2, 3)
    ramp = np.clip(1 - away / (width + 1), 0, 1) * region
    return np.where(fresh, 1, ramp).astype(np.float32)
