"""Which image modes each kind of file holds, and the least conversion that makes an image fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.imaging.modes import GREY, SIXTEEN, STRAIGHT, has_transparency, span, to_alpha, to_rgb

# Modes that come back from the file with the same colours. JPEG stores YCbCr, and Pillow reads it as RGB.
_HELD = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"),
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16L", "I;16B", "I", "F"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
}
# Modes whose transparency is not in the pixels but in a note beside them, which other kinds have no room for.
_NOTED = {"PNG": ("1", "L", "P", "RGB", "I;16"), "GIF": ("L", "P")}
_SPACES = {b"GRAY": ("1", "L", "LA", "I;16"), b"RGB ": ("RGB", "RGBA")}  # by what a colour profile says it is for


def storable(image: Image.Image, kind: str) -> Image.Image:
    """The image, converted as little as possible so that a file of this kind can hold it; itself if it can.

    Transparency is kept where the kind has it, and lies over white elsewhere; a GIF has only transparent or opaque.
    A colour profile that does not fit the new mode is left out.

    Args:
        kind: "PNG", "JPEG", "WEBP", "TIFF", "GIF" or "BMP".

    Raises:
        ValueError: `kind` is none of these.
    """
    if kind not in _HELD:
        raise ValueError(f"kind: expected one of {', '.join(_HELD)}, got {kind!r}")
    fit = image
    while not holds(kind, fit):
        fit = _simpler(fit, kind)
    if kind == "GIF" and fit.mode == "RGBA":
        fit = _cut_out(fit)
    if fit is not image:
        fit.info = {key: value for key, value in image.info.items() if key != "transparency"}
        profile = image.info.get("icc_profile", b"")
        if profile and fit.mode not in _SPACES.get(profile[16:20], ()):
            del fit.info["icc_profile"]
    return fit


def default_suffix(mode: str) -> str:
    """The suffix of files that hold this mode without loss: ".png" if they can, or else ".tif"."""
    return ".png" if mode in _HELD["PNG"] else ".tif"


def holds(kind: str, image: Image.Image) -> bool:
    """Whether a file of this kind holds the image as it is."""
    if image.mode not in _HELD[kind]:
        return False
    if image.mode not in ("1", "L", "P", "RGB", *SIXTEEN, "I") or not has_transparency(image):
        return True
    if image.mode not in _NOTED.get(kind, ()):
        return False
    return kind == "PNG" or isinstance(image.info.get("transparency"), int)


def _simpler(image: Image.Image, kind: str) -> Image.Image:
    """The image one step nearer to RGB or RGBA, one of which every kind holds."""
    mode, held = image.mode, _HELD[kind]
    if has_transparency(image):
        if "RGBA" not in held:
            return _over_white(image)
        if mode in GREY:
            return _with_alpha(image)
        return image.convert(STRAIGHT.get(mode, "RGBA"))
    if mode in SIXTEEN and "I;16" in held:
        return _sixteen(np.asarray(image))
    if mode == "I" and "I;16" in held and span(image) != (0, 255):
        return _sixteen(_levels(to_rgb(image)[..., 0], 65535))
    if mode in GREY and mode != "L":
        return _grey(to_rgb(image)[..., 0])
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    alpha = to_alpha(image)
    shown = to_rgb(image) if alpha is None else 1 + (to_rgb(image) - 1) * alpha[..., None]
    return _grey(shown[..., 0]) if image.mode in (*GREY, "LA", "La") else Image.fromarray(_bytes(shown))


def _with_alpha(image: Image.Image) -> Image.Image:
    """Grey with a colour that stands for transparency → LA."""
    grey = _grey(to_rgb(image)[..., 0])
    alpha = to_alpha(image)
    if alpha is not None:
        grey.putalpha(_grey(alpha))
    return grey


def _cut_out(image: Image.Image) -> Image.Image:
    """RGBA with alpha 0 or 255 and nothing between."""
    levels = np.asarray(image)
    alpha = np.where(levels[..., 3:] < 128, 0, 255).astype(np.uint8)
    if np.array_equal(alpha, levels[..., 3:]):
        return image
    return Image.fromarray(np.concatenate([levels[..., :3] * (alpha > 0), alpha], axis=2, dtype=np.uint8))


def _grey(values: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(_bytes(values))


def _sixteen(values: NDArray[Any]) -> Image.Image:
    """(H, W) whole numbers below 65536 → I;16, whose bytes are little-endian."""
    height, width = values.shape
    return Image.frombytes("I;16", (width, height), values.astype("<u2").tobytes())


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return _levels(values, 255).astype(np.uint8)


def _levels(values: NDArray[np.float32], top: int) -> NDArray[np.float64]:
    return np.floor(values.astype(np.float64) * top + 0.5)
