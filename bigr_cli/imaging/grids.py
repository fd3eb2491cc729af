"""Contact sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def grid(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    gap: int = 2,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures side by side, row by row, on white: an RGB picture.

    Args:
        images: pictures; cells are as large as the largest of them.
        columns: how many in a row; without it as many as make a square.
        gap: pixels between them.
        labels: a text for below each of them, cut off where its cell ends.

    Raises:
        ValueError: there is no picture, no column, or not one label for each picture.
    """
    if not images or (columns is not None and columns < 1) or gap < 0:
        raise ValueError(f"grid: expected pictures, columns and a gap, got {len(images)}, {columns} and {gap}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, one for each picture, got {len(labels)}")
    columns = min(len(images), columns or square_columns(len(images)))
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    cells = [image if labels is None else _labelled(image, width, height, labels[index])
             for index, image in enumerate(images)]  # fmt: skip
    height = max(cell.height for cell in cells)
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), _PAPER)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (column * (width + gap), row * (height + gap)))
    return sheet


def square_columns(count: int) -> int:
    """As many columns as make a sheet of `count` pictures about as wide as high."""
    return math.isqrt(max(0, count - 1)) + 1


def _labelled(image: Image.Image, width: int, height: int, label: str) -> Image.Image:
    """The picture above its label, in a cell of its own."""
    size = max(10, width // 12)
    font = ImageFont.load_default(size)
    cell = Image.new("RGB", (width, height + size + size // 2), _PAPER)
    cell.paste(image, (0, 0))
    draw = ImageDraw.Draw(cell)
    left = max(0, (width - draw.textlength(label, font=font)) / 2)
    draw.text((left, height + size // 8), label, fill=_INK, font=font)
    return cell
