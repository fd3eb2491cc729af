"""Masks that are found in an image: the registry of mask finders, and the one that asks the model itself.

The model's own likelihood ratio between labels, token by token, says where an object roughly is; the image's colours
say where it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli import console
from bigr_cli.core.config import Prompt
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.representation import seen_scores
from bigr_cli.editing.batched_sampling import SamplingCoroutine
from bigr_cli.editing.repaint import Painted, WholeView, see_whole, windows_for
from bigr_cli.editing.request import partly_read
from bigr_cli.editing.requests import Mask
from bigr_cli.errors import BigrError, ModelError, UnknownNameError
from bigr_cli.imaging.masks import Mask as MaskArray
from bigr_cli.imaging.masks import grown, read_mask
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import CLASS, TEXT, MaskRequest
from bigr_cli.imaging.windows import Window
from bigr_cli.plugins import BUILT_IN, Fault, Origin, named_entry_points

_FAR = 0.15  # of the highest score: below it there is no object for certain
_NEAR = 0.5  # and above it there probably is
_TURNS = 3
_LARGEST = 512  # pixels along a side of what is cut out; larger images are reduced
_FEWEST = 6  # pixels of which colours can be learnt


def working_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which an image is segmented."""
    part = min(1.0, _LARGEST / max(height, width))
    return max(1, round(width * part)), max(1, round(height * part))


def segmented(levels: NDArray[np.uint8], scores: NDArray[np.float32], *, least: float = 0.0) -> NDArray[np.float32]:
    """The mask (H, W), of 0 and 1, of an object in an image (H, W, 3), whose place is known roughly.

    It is GrabCut (Rother and others, 2004), OpenCV's: colours of object and background are learnt where the scores are
    high and low, and the border goes where neighbouring pixels differ.

    Args:
        levels: the image.
        scores: of the image's `working_size`, at most 1: the higher, the surer it is that the object is there.
        least: where a smaller share of the high scores is left, as of an object of its background's colours, these are
            the mask.
    """
    import cv2

    size = scores.shape[1], scores.shape[0]
    seen = cv2.resize(np.ascontiguousarray(levels), size, interpolation=cv2.INTER_AREA)
    labels = np.full(scores.shape, cv2.GC_PR_BGD, np.uint8)
    labels[scores > _NEAR] = cv2.GC_PR_FGD
    labels[scores < _FAR] = cv2.GC_BGD
    probable = labels == cv2.GC_PR_FGD
    if _FEWEST <= probable.sum() <= labels.size - _FEWEST:
        cv2.setRNGSeed(0)  # its clustering begins at random
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(seen, labels, (0, 0, 1, 1), background, foreground, _TURNS, cv2.GC_INIT_WITH_MASK)
    mask = labels == cv2.GC_PR_FGD
    if mask.sum() < least * probable.sum():
        mask = probable
    whole = cv2.resize(mask.astype(np.float32), levels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole >= 0.5, np.float32)


Ratios = NDArray[np.float32]  # (grid, grid), in nats a bit

_SMOOTHING = 0.8  # tokens, the standard deviation
_OTHERS = 5  # labels that one is compared with, at most
_LEAST = 0.06  # nats a bit: where no token is so much likelier under the label, the image does not show it
_CERTAIN = 0.12  # nats a bit: where one is so much likelier, it does, even if the colours do not tell where
_LEFT = 0.2  # of the tokens' pixels that the colours have to leave then
_MOST_GUESSED = 64  # classes of a model that are all tried to tell what an image shows
_SEED = 0  # of the noise: where a label is seen does not depend on what is sampled there


class ClassFinder:
    """The mask finder `class`: the model itself."""

    def find(self, network: BinaryModel, image: Original, wanted: Prompt) -> NDArray[np.float32]:
        return class_mask(network, image, wanted)


def open_class_finder() -> ClassFinder:
    """The finder, which has no weights of its own."""
    return ClassFinder()


def class_mask(network: BinaryModel, original: Original, label: Prompt) -> NDArray[np.float32]:
    """Where (H, W) an image shows a label, 1 there and 0 elsewhere; 0 everywhere if the model does not find it.

    The model sees the whole image in one window. Tokens that are likelier under the label than under others say where
    the object is, and the image's own edges where it ends (see `segmented`).

    Args:
        network: tokenizer and generator.
        original: an image of any size and mode.
        label: a class's index, or a text.

    Raises:
        ConfigError: the generator has causal attention, which says nothing about tokens beside others.
    """
    view = see_whole(network, original)
    ratios = label_ratios(network, view, label)
    if ratios.max() < _LEAST:
        return np.zeros(original.size[::-1], np.float32)
    scores = _placed(ratios / ratios.max(), view.window, original.size)
    return segmented(original.levels(), scores, least=_LEFT if ratios.max() > _CERTAIN else 0.0)


def label_ratios(network: BinaryModel, view: WholeView, label: Prompt, *, other: Prompt = None) -> Ratios:
    """How much likelier each token (grid, grid) is under a label than under others, smoothed over its neighbours.

    Compared with is the mean of other labels, and not no label: beside its neighbours a token of the object is likely
    without a label too, but not under those of other objects. A text is compared with the `other` one, or with none.
    """
    others = [other] if isinstance(label, str) else _others(network, label)
    scores = _scores(network, view, [label, *others])
    return _smoothed(scores[0] - scores[1:].mean(dim=0), view)


def shown_ratios(network: BinaryModel, view: WholeView) -> Ratios | None:
    """As `label_ratios`, for the class that is likeliest; None if the model reads texts, or has too many classes."""
    config = network.generator.config
    if config.condition != "class" or not 2 <= config.classes <= _MOST_GUESSED:
        return None
    scores = _scores(network, view, list(range(config.classes)))
    likeliest = int(scores.sum(dim=1).argmax())
    others = [index for index in range(config.classes) if index != likeliest]
    return _smoothed(scores[likeliest] - scores[others].mean(dim=0), view)


def _others(network: BinaryModel, label: Prompt) -> list[Prompt]:
    """What a class is compared with: others, evenly spaced among all, or none if there are none."""
    config = network.generator.config
    if config.classes < 2:
        return [None]
    others = [index for index in range(config.classes) if index != label]
    places = np.linspace(0, len(others) - 1, min(_OTHERS, len(others))).round().astype(int)
    return [others[place] for place in places]


def _scores(network: BinaryModel, view: WholeView, labels: Sequence[Prompt]) -> Tensor:
    """How likely each token is beside the others under each label: (labels, L), 0 outside of the image."""
    count, device = len(labels), view.codes.device
    seeds = torch.full((count,), _SEED, device=device)
    codes, outside = view.codes.expand(count, -1, -1), view.outside.expand(count, -1)
    return seen_scores(network.generator, codes, network.conditions(labels), outside, seeds)


def _smoothed(values: Tensor, view: WholeView) -> Ratios:
    """Values of tokens (L,) as (grid, grid), smoothed; those outside of the image have no say, and the least value."""
    import cv2

    side = math.isqrt(len(values))
    known, given = (np.asarray(one.float().view(side, side).cpu(), np.float32) for one in (~view.outside, values))
    weight, total = (
        cv2.GaussianBlur(one, (0, 0), _SMOOTHING, borderType=cv2.BORDER_REPLICATE) for one in (known, given * known)
    )
    ratios = total / np.maximum(weight, 1e-6)
    return np.asarray(np.where(known > 0, ratios, ratios[known > 0].min()), np.float32)


def _placed(ratios: Ratios, window: Window, size: tuple[int, int]) -> Ratios:
    """The ratios of a window's tokens as an image of the size that `segmented` works at, between them by cubics."""
    import cv2

    across, down = working_size(*size)
    scales = size[0] / across, size[1] / down  # pixels of the image in one of these
    cell = len(ratios) / window.side  # tokens in a pixel of the image
    shifts = [(0.5 * scale - at) * cell - 0.5 for scale, at in zip(scales, (window.x, window.y), strict=True)]
    matrix = np.array([[scales[0] * cell, 0, shifts[0]], [0, scales[1] * cell, shifts[1]]])
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(ratios, matrix, (across, down), flags=how, borderMode=cv2.BORDER_REPLICATE))


FINDER_GROUP = "bigr.masks"

_BUILT_IN = {
    CLASS: "bigr_cli.editing.mask_finders:open_class_finder",
    TEXT: "bigr_cli.zoo.clipseg:open_finder",
}


class MaskFinder(Protocol):
    """Finds what words name in an image."""

    def find(self, network: BinaryModel, image: Original, wanted: Prompt) -> NDArray[Any]:
        """Where (H, W) in [0, 1] the image shows it, 1 = it does; 0 everywhere if it does not.

        `wanted` is what was asked for: a label of the model, as --mask-class has it, or words.
        """
        ...


def finder_entry_points() -> dict[str, tuple[EntryPoint, Origin]]:
    """Every mask finder by its name; warns of a name that is taken."""
    return named_entry_points(FINDER_GROUP, _BUILT_IN, "mask finder")


def mask_image(network: BinaryModel, image: Original, request: Mask) -> SamplingCoroutine[Painted]:
    """The mask of an image as an image of its size, of mode L: white is what a mask repaints. Nothing is sampled.

    Raises:
        What `found_mask` raises.
    """
    mask = partly_read(request.mask, image)
    weights = found_mask(network, mask, image) if mask.searched else mask.weights
    yield from ()
    return Painted(Image.fromarray((weights * 255).round().astype(np.uint8)))


def found_mask(network: BinaryModel, request: MaskRequest, image: Original, *, painted: bool = False) -> MaskArray:
    """(H, W) in [0, 1], 1 = repaint: all of a request, with what it searches for in the image.

    If it is to be `painted`, and the request does not say otherwise, what is found is widened by half a token, as large
    as tokens are in the window that it is painted in: or the old object's rim would stay.

    Raises:
        UnknownNameError: there is no such mask finder.
        ModelError: a finder that does not work, or that makes no mask of the image's size.
        What the finder raises.
    """
    found = []
    for name, wanted in request.searched:
        mask = _found(name, network, image, wanted)
        if not mask.any():
            words = request.label_name if isinstance(wanted, int) else wanted
            said = repr(words) if words else f"label {wanted}"
            console.warn(f"{image.name}: the mask finder {name!r} finds no {said} in it")
        elif painted and request.grow is None and not request.invert:
            window = windows_for(network, mask > 0, close=True)[0]
            mask = grown(mask, math.ceil(window.side / (2 * network.tokenizer.config.grid)))
        found.append(mask)
    return read_mask(request, image, found)


def _found(name: str, network: BinaryModel, image: Original, wanted: Prompt) -> MaskArray:
    width, height = image.size
    finder, origin = _opened(name)
    made = _called_safely(name, origin, lambda: finder.find(network, image, wanted))
    mask = np.asarray(made)
    if mask.shape != (height, width) or mask.dtype.kind not in "buif":
        raise ModelError(f"mask finder {name!r}: expected a mask ({height}, {width}), got {mask.shape} {mask.dtype}")
    values = mask.astype(np.float32)
    if not (np.isfinite(values).all() and 0 <= values.min() and values.max() <= 1):
        raise ModelError(f"mask finder {name!r}: expected a mask from 0 to 1, got others")
    return values


@cache
def _opened(name: str) -> tuple[MaskFinder, Origin]:
    known = finder_entry_points()
    if name not in known:
        hint = f"known are {', '.join(known)}; a plugin may bring others"
        raise UnknownNameError("mask finder", name, list(known), hint=hint)
    entry_point, origin = known[name]
    return _called_safely(name, origin, lambda: entry_point.load()()), origin


def _called_safely(name: str, origin: Origin, call: Callable[[], Any]) -> Any:
    """What a finder's own code gives; what a plugin raises becomes a ModelError that names it."""
    try:
        return call()
    except BigrError:
        raise
    except Exception as error:  # plugins raise what they like
        if origin == BUILT_IN:
            raise
        raise ModelError(str(Fault(name, origin, error))) from error
