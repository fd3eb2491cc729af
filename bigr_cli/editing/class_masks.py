"""Where an image shows a label, by the model's own likelihood ratio between labels, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.core.config import Guide
from bigr_cli.core.likelihood import seen_scores
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.repaint import WholeView, see_whole
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.segmentation import segmented, working_size
from bigr_cli.imaging.windows import Window

Ratios = NDArray[np.float32]  # (grid, grid), in nats a bit

_SMOOTHING = 0.8  # tokens, the standard deviation
_OTHERS = 5  # labels that one is compared with, at most
_LEAST = 0.06  # nats a bit: where no token is so much likelier under the label, the image does not show it
_MOST_GUESSED = 64  # classes of a model that are all tried to tell what an image shows
_SEED = 0  # of the noise: where a label is seen does not depend on what is sampled there


class ClassFinder:
    """The mask finder `class`: the model itself."""

    def find(self, network: BinaryModel, image: Original, wanted: Guide) -> NDArray[np.float32]:
        return class_mask(network, image, wanted)


def open_finder() -> ClassFinder:
    """The finder, which has no weights of its own."""
    return ClassFinder()


def class_mask(network: BinaryModel, original: Original, label: Guide) -> NDArray[np.float32]:
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
    return segmented(original.levels(), _placed(ratios / ratios.max(), view.window, original.size))


def label_ratios(network: BinaryModel, view: WholeView, label: Guide) -> Ratios:
    """How much likelier each token (grid, grid) is under a label than under others, smoothed over its neighbours.

    Compared with is the mean of other labels, and not no label: beside its neighbours a token of the object is likely
    without a label too, but not under those of other objects. A text is compared with none.
    """
    scores = _scores(network, view, [label, *_others(network, label)])
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


def _others(network: BinaryModel, label: Guide) -> list[Guide]:
    """What a label is compared with: other classes, evenly spaced among all; a text with none."""
    config = network.generator.config
    if config.condition != "class" or config.classes < 2:
        return [None]
    others = [index for index in range(config.classes) if index != label]
    places = np.linspace(0, len(others) - 1, min(_OTHERS, len(others))).round().astype(int)
    return [others[place] for place in places]


def _scores(network: BinaryModel, view: WholeView, labels: Sequence[Guide]) -> Tensor:
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
