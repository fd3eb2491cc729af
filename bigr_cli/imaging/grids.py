"""Contact sheets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def grid(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    gap: int = 2,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Images side by side, row by row, on white: an RGB image.

    Args:
        images: images; a row is as high as the highest in it, a column as wide as the widest.
        columns: how many in a row; without it about as many as make a square and leave no cell empty.
        gap: pixels between them.
        labels: a text for below each of them, in as many lines as it needs.

    Raises:
        ValueError: there is no image, no column, or not one label for each image.
    """
    if not images or (columns is not None and columns < 1) or gap < 0:
        raise ValueError(f"grid: expected images, columns and a gap, got {len(images)}, {columns} and {gap}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, one for each image, got {len(labels)}")
    columns = min(len(images), columns or square_columns(len(images)))
    widths = [max(image.width for image in images[column::columns]) for column in range(columns)]
    cells = [image if labels is None else _labelled(image, widths[index % columns], labels[index])
             for index, image in enumerate(images)]  # fmt: skip
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (sum(widths) + gap * (columns - 1), sum(heights) + gap * (len(rows) - 1)), _PAPER)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for cell, width in zip(row, widths, strict=False):
            sheet.paste(cell, (left + (width - cell.width) // 2, top))
            left += width + gap
        top += height + gap
    return sheet


def square_columns(count: int) -> int:
    """The columns of a sheet of `count` images: at most three times as many as rows, with the fewest empty cells."""
    side = math.isqrt(max(0, count - 1)) + 1
    return min(range(side, max(side, math.isqrt(3 * count)) + 1), key=lambda columns: (-count % columns, columns))


def _labelled(image: Image.Image, width: int, label: str) -> Image.Image:
    """The image above its label, in a cell of its own."""
    size = min(48, max(10, width // 12))
    font = ImageFont.load_default(size)
    lines = _wrapped(label, lambda text: font.getlength(text) <= width)
    cell = Image.new("RGB", (width, image.height + size // 2 + len(lines) * (size + size // 4)), _PAPER)
    cell.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(cell)
    for number, line in enumerate(lines):
        left = max(0, (width - font.getlength(line)) / 2)
        draw.text((left, image.height + size // 8 + number * (size + size // 4)), line, fill=_INK, font=font)
    return cell


def _wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The lines of a text, broken between words, and inside those that are too long for any line."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if fits(joined):
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    return lines
