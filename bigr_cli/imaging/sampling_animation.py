"""An animation of how a picture comes to be: one frame an iteration, what is not settled yet in grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.imaging.grids import grid, square_columns

MOST = 64  # pictures in one animation
_SMALLEST = 256  # pixels: a frame has at least so many along its shorter side
_GREY, _VEIL = 128, 0.8
_FRAME, _LAST = 200, 2000  # milliseconds


class SettlingFilm:
    """Collects the states of pictures, and joins those of one iteration to a frame."""

    def __init__(self, *, columns: int | None = None) -> None:
        self._columns = columns
        self._states: dict[int, dict[int, Image.Image]] = {}  # by iteration, then by picture

    def add(self, iteration: int, index: int, image: Image.Image, masked: NDArray[np.bool_]) -> None:
        """The state of picture `index` after an iteration; `masked` (h, w) says which tokens are not settled."""
        self._states.setdefault(iteration, {})[index] = veiled(image, masked)

    def frames(self) -> tuple[list[Image.Image], list[int]]:
        """The frames, and for how many milliseconds each is shown."""
        sheets = []
        for _, state in sorted(self._states.items()):
            images = [image for _, image in sorted(state.items())]
            sheets.append(_enlarged(grid(images, columns=self._columns or square_columns(len(images)))))
        return sheets, [_FRAME] * (len(sheets) - 1) + [_LAST]


def veiled(image: Image.Image, masked: NDArray[np.bool_]) -> Image.Image:
    """The picture with grey over the tokens (h, w) that are masked."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    cells = Image.fromarray(masked.astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    share = _VEIL * np.asarray(cells, dtype=np.float32)[..., None]
    return Image.fromarray((pixels * (1 - share) + _GREY * share).round().astype(np.uint8))


def _enlarged(sheet: Image.Image) -> Image.Image:
    factor = -(-_SMALLEST // min(sheet.size))
    return (
        sheet if factor <= 1 else sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST)
    )
