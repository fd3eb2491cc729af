"""The built-in data set: flat illustrations of 16 kinds of objects, rendered on demand, endless and licence-free."""

from __future__ import annotations

from PIL import Image

from bigr_cli.data.scenes.description import COLORS, GROUNDS, LABELS, TIMES, Scene, describe
from bigr_cli.data.scenes.render import box, render, render_with_mask
from bigr_cli.data.scenes.write import write_scenes

__all__ = [
    "COLORS",
    "GROUNDS",
    "LABELS",
    "TIMES",
    "Scene",
    "box",
    "describe",
    "render",
    "render_with_mask",
    "scene",
    "write_scenes",
]


def scene(seed: int, index: int, size: int) -> tuple[Image.Image, Scene]:
    """Image `index` of the data set `seed`: the image (RGB, size × size pixels) and what it shows.

    Raises ValueError for numbers outside `describe`'s and `render`'s ranges.
    """
    described = describe(seed, index)
    return render(described, size), described
