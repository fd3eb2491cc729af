"""An image as it was stored, and what is needed to give it back changed in places only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.colours import WHITE, Background
from bigr_cli.imaging.compositing import mixed
from bigr_cli.imaging.formats import default_suffix, storable
from bigr_cli.imaging.modes import STRAIGHT, Box, to_alpha, to_levels, to_rgb
from bigr_cli.imaging.squares import square

__all__ = ["Original", "default_suffix", "read_original", "storable"]


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


def read_original(source: Path | bytes, name: str | None = None) -> Original:
    """The image of a file or its bytes: `bigr_cli.data.images.read_image`, which see."""
    from bigr_cli.data.images import read_image

    return read_image(source, name)
