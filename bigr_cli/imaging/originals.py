"""An image as it was stored, and what is needed to give it back changed in places only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.imaging.modes import (
    GREY,
    STRAIGHT,
    Box,
    Floats,
    Pixels,
    colour_key,
    finite,
    is_key,
    luminance,
    palette,
    span,
    square,
    to_alpha,
    to_levels,
    to_rgb,
)
from bigr_cli.plain_text import WHITE, Background

_STRIP = 1 << 20  # pixels that are copied at once, so that a large image needs little more memory than it has itself
_BLOCK = 1 << 18  # and mixed at once

Mix = Callable[[Pixels, Floats, Floats], Pixels]
"""Pixels of the image (N,) or (N, bands), colours (N, 3), weights (N, 1) → pixels of the same shape and type."""


def mixed(
    image: Image.Image,
    rgb: NDArray[np.floating[Any]],
    weight: NDArray[np.floating[Any]],
    at: tuple[int, int] = (0, 0),
) -> Image.Image:
    """A copy of the image with colours mixed in; where the weight is 0, every byte of every band stays.

    Grey, RGB and the modes with alpha are mixed in their own levels, all others in RGB. What is painted is opaque.

    Args:
        rgb: (h, w, 3) in [0, 1].
        weight: (h, w) in [0, 1]; 1 is nothing but the new colour.
        at: the (x, y) in the image at which their upper left corner lies.

    Raises:
        ValueError: a shape does not fit, or a colour that is needed is not finite.
    """
    left, top = at
    if weight.ndim != 2 or rgb.shape != (*weight.shape, 3):
        raise ValueError(f"colours and weight: expected shapes (h, w, 3) and (h, w), got {rgb.shape}, {weight.shape}")
    height, width = weight.shape
    if left < 0 or top < 0 or left + width > image.width or top + height > image.height:
        raise ValueError(f"weight: {width} × {height} at {at} lies outside {image.width} × {image.height} pixels")
    result, mix = image.copy(), None
    rows = max(1, _STRIP // max(1, width))
    for y in range(0, height, rows):
        if (weight[y : y + rows] > 0).any():
            mix = mix or _mix_for(image)
            strip = image.crop((left, top + y, left + width, top + min(y + rows, height)))
            _mix_strip(strip, rgb[y : y + rows], weight[y : y + rows], mix)
            result.paste(strip, (left, top + y))
    return result


def _mix_strip(strip: Image.Image, rgb: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], mix: Mix) -> None:
    pixels = np.array(strip)
    flat = pixels.reshape(strip.width * strip.height, *pixels.shape[2:])
    places = np.flatnonzero(weight > 0)
    colours, weights = rgb.reshape(-1, 3), weight.reshape(-1, 1)
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        new = colours[block].astype(np.float64)
        if not np.isfinite(new).all():
            raise ValueError("colours: expected finite numbers, got NaN or infinity")
        flat[block] = mix(flat[block], new.clip(0, 1), weights[block].astype(np.float64).clip(0, 1))
    strip.frombytes(np.packbits(pixels, axis=1).tobytes() if strip.mode == "1" else pixels.tobytes())


def _mix_for(image: Image.Image) -> Mix:
    """How to mix into an image's mode, with what holds for the whole image worked out once."""
    if image.mode in GREY:
        return partial(_mix_grey, span(image), colour_key(image))
    if image.mode == "P":
        return partial(_mix_index, *_choices(image))
    if image.mode == "PA":
        return partial(_mix_index_alpha, *_choices(image))
    if image.mode in ("RGB", "RGBX", "RGBA", "LA"):
        return partial(_mix_bands, image.mode, colour_key(image))
    if image.mode in STRAIGHT:
        return partial(_mix_premultiplied, image.mode)
    return partial(_mix_in_rgb, image.mode)


def _mix_grey(ends: tuple[float, float], key: tuple[int, ...] | None, pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    low, high = ends
    wanted = finite(pixels) * (1 - w[:, 0]) + (low + luminance(rgb) * (high - low)) * w[:, 0]
    if pixels.dtype == np.bool_:
        new: Pixels = np.asarray(wanted >= 0.5)
    else:
        new = (wanted if pixels.dtype.kind == "f" else np.floor(wanted + 0.5)).astype(pixels.dtype)
    if key is not None:
        new[is_key(new, key)] = _beside(key[0])
    return new


def _mix_bands(mode: str, key: tuple[int, ...] | None, pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    """RGB, RGBX, whose last band is no colour and stays, and the modes with alpha."""
    new: Pixels = np.array(pixels)
    target = luminance(rgb)[:, None] if mode == "LA" else rgb
    bands = target.shape[1]
    new[:, :bands] = _levels(pixels[:, :bands] / 255 * (1 - w) + target * w)
    if mode.endswith("A"):
        new[:, -1:] = _opaquer(pixels[:, -1:], w)
    if key is not None:  # the blue band is the one in which a step is seen least
        new[is_key(new, key), 2] = _beside(key[2])
    return new


def _mix_premultiplied(mode: str, pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    straight = STRAIGHT[mode]
    new = _mix_bands(straight, None, _converted(pixels, mode, straight), rgb, w)
    return _converted(new, straight, mode)


def _mix_in_rgb(mode: str, pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    """Modes in which a mean of two pixels is no mean of two colours, such as HSV."""
    return _converted(_mix_bands("RGB", None, _converted(pixels, mode, "RGB"), rgb, w), "RGB", mode)


def _mix_index(colours: Floats, choices: NDArray[np.uint8], pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    wanted = colours[pixels] * (1 - w) + rgb * w
    new = np.empty_like(pixels)
    for start in range(0, len(pixels), 1 << 14):
        block = wanted[start : start + (1 << 14)]
        # |a - b|² without |a|², which is the same for all choices
        distances = (colours[choices] ** 2).sum(axis=1) - 2 * block @ colours[choices].T  # (block, choices)
        new[start : start + (1 << 14)] = choices[distances.argmin(axis=1)]
    return new


def _mix_index_alpha(colours: Floats, choices: NDArray[np.uint8], pixels: Pixels, rgb: Floats, w: Floats) -> Pixels:
    return np.column_stack([_mix_index(colours, choices, pixels[:, 0], rgb, w), _opaquer(pixels[:, 1:], w)])


def _choices(image: Image.Image) -> tuple[Floats, NDArray[np.uint8]]:
    """The colours of a palette, (256, 3), and the entries that may be painted with: those that are opaque.

    If none is opaque, the ones nearest to it. Entries that are neither in the file nor used do not count: written
    to a file, they would be lost.
    """
    rgba = palette(image)
    pixels = np.asarray(image)
    there = np.arange(256) < len(image.getpalette("RGB") or ()) // 3
    there[np.unique(pixels if image.mode == "P" else pixels[..., 0])] = True
    opaque = rgba[:, 3] == rgba[there, 3].max()
    return rgba[:, :3] / 255, np.flatnonzero(there & opaque).astype(np.uint8)


def _converted(pixels: Pixels, source: str, target: str) -> NDArray[np.uint8]:
    """(N, bands) of one mode → (N, bands) of another, by Pillow."""
    strip = Image.frombytes(source, (len(pixels), 1), pixels.tobytes()).convert(target)
    return np.asarray(strip, dtype=np.uint8).reshape(len(pixels), -1)


def _levels(values: Floats) -> NDArray[np.uint8]:
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def _opaquer(alpha: Pixels, w: Floats) -> NDArray[np.uint8]:
    return _levels(alpha / 255 + w * (1 - alpha / 255))


def _beside(level: int) -> int:
    return level - 1 if level else 1


@dataclass(frozen=True)
class Original:
    """An image as it was stored.

    Attributes:
        image: upright, in its stored mode; its info holds `icc_profile`, `transparency` and `dpi`, as far as there.
        kind: Pillow's name of the file's format, such as "PNG"; "" if it comes from no file.
        name: what messages call it.
        background: what a model sees where the image is transparent.
        frames: how many images the file holds, of which this is the first.
    """

    image: Image.Image
    kind: str = ""
    name: str = "image"
    background: Background = WHITE
    frames: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.size

    @property
    def mode(self) -> str:
        return self.image.mode

    @property
    def stored_bytes(self) -> int:
        """About how much memory the image takes."""
        return self.image.width * self.image.height * 4

    def rgb(self) -> NDArray[np.float32]:
        """(H, W, 3) in [0, 1]: the stored colours, whatever the transparency; a model sees `seen`."""
        return to_rgb(self.image)

    def levels(self, box: Box | None = None) -> NDArray[np.uint8]:
        """(H, W, 3): what a model sees, composited on the background; of the part `box`, or of all."""
        return to_levels(self.image, self.background, box=box)

    def seen(self, box: Box | None = None) -> NDArray[np.float32]:
        """`levels` in [0, 1]."""
        return np.asarray(self.levels(box) / np.float32(255), np.float32)

    def square(self, side: int) -> Image.Image:
        """The square in the middle, RGB, scaled to `side` pixels."""
        return Image.fromarray(square(self.image, side, background=self.background))

    def alpha(self) -> NDArray[np.float32] | None:
        """(H, W) in [0, 1], 1 = opaque; None if the image has no transparency."""
        return to_alpha(self.image)

    def changed(
        self,
        rgb: NDArray[np.floating[Any]],
        weight: NDArray[np.floating[Any]],
        *,
        opaque: bool = True,
        at: tuple[int, int] = (0, 0),
    ) -> Image.Image:
        """The image with the colours `rgb` (h, w, 3) mixed in at (x, y) by `weight` (h, w), both in [0, 1].

        Mode, size, palette, profile and info are the same, and so is every byte of every band where the weight is 0.
        Elsewhere old · (1 - weight) + rgb · weight, and alpha + weight · (1 - alpha), since paint is opaque; in a
        palette the nearest entry that is not transparent. Without `opaque` the transparency stays as it is, `rgb` is
        what shall be seen on the background, and what is wholly transparent is left alone.

        Raises:
            ValueError: a shape does not fit the image, or a colour that is needed is not finite.
        """
        alpha = None if opaque else self.alpha()
        if alpha is None:
            return mixed(self.image, rgb, weight, at)
        alpha = alpha[at[1] : at[1] + weight.shape[0], at[0] : at[0] + weight.shape[1]]
        straight = self.image.convert(STRAIGHT.get(self.mode, self.mode))
        result = mixed(straight, self._uncomposited(rgb, alpha), weight * (alpha > 0), at)
        if straight.mode in ("LA", "PA", "RGBA"):
            result.putalpha(straight.getchannel("A"))
        return result.convert(self.mode)

    def _uncomposited(self, rgb: NDArray[np.floating[Any]], alpha: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """The colours (h, w, 3) that show as `rgb` on the background at this alpha (h, w), as far as there are any."""
        ground, part = np.asarray(self.background, np.float32) / 255, alpha[..., None]
        return np.where((part > 0) & (part < 1), ground + (rgb - ground) / np.maximum(part, 1 / 255), rgb).clip(0, 1)
