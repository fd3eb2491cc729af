"""From a scene to a picture: backdrop, ground, object, all drawn enlarged and then reduced."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from bigr_cli.data.scenes.backdrop import draw_backdrop
from bigr_cli.data.scenes.description import PROPORTIONS, Scene
from bigr_cli.data.scenes.objects import draw as draw_object
from bigr_cli.data.scenes.palette import Color, ink
from bigr_cli.data.scenes.shapes import Drawing, Point

SIZES = range(16, 1025)
_OUTLINE = 0.0115  # its width in picture units: 0.7 of a pixel at 64


def _factor(size: int) -> int:
    """How many times larger than the picture the canvas is."""
    return 8 if size < 48 else 4 if size < 256 else 2


@lru_cache(maxsize=256)
def _drawing(label: str, color: str, time: str, flying: bool) -> Drawing:
    return draw_object(label, ink(color, time), flying)


def _placed(scene: Scene, canvas: int) -> list[tuple[list[Point], Color]]:
    """The object's polygons in canvas pixels."""
    height = PROPORTIONS[scene.label][1]
    angle = math.radians(scene.tilt)
    cos, sin = math.cos(angle) * scene.size * canvas, math.sin(angle) * scene.size * canvas
    x0, y0, sign = scene.x * canvas, scene.y * canvas, -1.0 if scene.flip else 1.0
    placed = []
    for points, color in _drawing(scene.label, scene.color, scene.time, scene.flying).polygons:
        turned = []
        for x, y in points:
            u, v = sign * x, height / 2 - y  # v points down
            turned.append((x0 + cos * u - sin * v, y0 + sin * u + cos * v))
        placed.append((turned, color))
    return placed


@lru_cache(maxsize=8)
def _ring(canvas: int) -> tuple[tuple[int, int], ...]:
    """Offsets, in canvas pixels, whose union with a shape is that shape with its outline."""
    radius = max(_OUTLINE * canvas, 1.0)
    count = 12 if canvas <= 512 else 32
    angles = (2 * math.pi * i / count for i in range(count))
    return tuple({(round(radius * math.cos(a)), round(radius * math.sin(a))) for a in angles})


def _paint_object(image: Image.Image, scene: Scene) -> tuple[Image.Image, tuple[int, int]]:
    """Draws the object with its outline; gives back its silhouette ('L', 0 or 255) and where that lies."""
    canvas = image.width
    polygons = _placed(scene, canvas)
    xs = [x for points, _ in polygons for x, _ in points]
    ys = [y for points, _ in polygons for _, y in points]
    pad = round(_OUTLINE * canvas) + 2
    left, top = int(min(xs)) - pad, int(min(ys)) - pad
    extent = (int(max(xs)) + pad + 1 - left, int(max(ys)) + pad + 1 - top)
    body = Image.new("L", extent)
    pen = ImageDraw.Draw(body)
    for points, _ in polygons:
        pen.polygon([(x - left, y - top) for x, y in points], fill=255)
    silhouette = body.copy()
    for dx, dy in _ring(canvas):
        silhouette = ImageChops.lighter(silhouette, ImageChops.offset(body, dx, dy))
    image.paste(ink(scene.color, scene.time).outline, (left, top), silhouette)
    pen = ImageDraw.Draw(image)
    for points, color in polygons:
        pen.polygon(points, fill=color)
    return silhouette, (left, top)


def _checked(size: int) -> int:
    if size not in SIZES:
        raise ValueError(f"size must lie in {SIZES.start}..{SIZES.stop - 1} pixels, got {size}")
    return _factor(size)


def render(scene: Scene, size: int) -> Image.Image:
    """The picture of a scene: RGB, size × size pixels. Raises ValueError for a size outside 16..1024."""
    factor = _checked(size)
    image = draw_backdrop(scene, size * factor)
    _paint_object(image, scene)
    return image.reduce(factor)


def render_with_mask(scene: Scene, size: int) -> tuple[Image.Image, Image.Image]:
    """The picture (RGB) and the object's coverage ('L', 255 where it fills the pixel), both size × size pixels.

    Raises ValueError for a size outside 16..1024.
    """
    factor = _checked(size)
    image = draw_backdrop(scene, size * factor)
    silhouette, corner = _paint_object(image, scene)
    mask = Image.new("L", image.size)
    mask.paste(silhouette, corner)
    return image.reduce(factor), mask.reduce(factor)


def box(mask: Image.Image) -> tuple[int, int, int, int]:
    """The half-open box (x0, y0, x1, y1), in pixels, around what a mask covers by half or more.

    Where nothing is covered that much, the box around whatever is covered at all. Raises ValueError for an empty mask.
    """
    covered = np.asarray(mask)
    inside = covered >= 128
    if not inside.any():
        inside = covered > 0
    if not inside.any():
        raise ValueError("the mask is empty: it has no box")
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
