"""Masks that are found in the image: the registry of mask finders, built-in ones and those of plugins."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli import console
from bigr_cli.core.config import Guide
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import SamplingCoroutine
from bigr_cli.editing.inpaint import Painted
from bigr_cli.editing.request import partly_read
from bigr_cli.editing.requests import Mask
from bigr_cli.errors import BigrError, ModelError, UnknownNameError
from bigr_cli.imaging.mask_images import Mask as MaskArray
from bigr_cli.imaging.mask_request import CLASS, TEXT, MaskRequest
from bigr_cli.imaging.masks import read_mask
from bigr_cli.imaging.originals import Original
from bigr_cli.plugins import BUILT_IN, Fault, Origin, named_entry_points

FINDER_GROUP = "bigr.masks"

_BUILT_IN = {
    CLASS: "bigr_cli.editing.class_masks:open_finder",
    TEXT: "bigr_cli.zoo.clipseg:open_finder",
}


class MaskFinder(Protocol):
    """Finds what words name in an image."""

    def find(self, network: BinaryModel, image: Original, wanted: Guide) -> NDArray[Any]:
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


def found_mask(network: BinaryModel, request: MaskRequest, image: Original) -> MaskArray:
    """(H, W) in [0, 1], 1 = repaint: all of a request, with what it searches for in the image.

    Raises:
        UnknownNameError: there is no such mask finder.
        ModelError: a finder that does not work, or that makes no mask of the image's size.
        What the finder raises.
    """
    found = []
    for name, wanted in request.searched:
        mask = _found(name, network, image, wanted)
        if not mask.any():
            said = f"label {wanted}" if isinstance(wanted, int) else repr(wanted)
            console.warn(f"{image.name}: the mask finder {name!r} finds no {said} in it")
        found.append(mask)
    return read_mask(request, image, found)


def _found(name: str, network: BinaryModel, image: Original, wanted: Guide) -> MaskArray:
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
