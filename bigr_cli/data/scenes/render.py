"""Scenes as pixels: sky, ground and all that is behind the object, the object itself, and its mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from bigr_cli.data.scenes import beings, things
from bigr_cli.data.scenes.description import PROPORTIONS, Scene, ground_edge
from bigr_cli.data.scenes.shapes import (
    CLOUD_COLORS,
    GROUND_COLORS,
    LIGHT_COLORS,
    SKIES,
    STAR_COLOR,
    Color,
    Drawing,
    Ink,
    Point,
    arc,
    ink,
    mix,
)

SIZES = range(16, 1025)
_DRAW: dict[str, Callable[[Drawing, Ink, bool], None]] = {
    function.__name__: function
    for function in (
        *(beings.tree, beings.fish, beings.bird, beings.cat, beings.flower, beings.mushroom, beings.snowman),
        *(things.house, things.boat, things.car, things.rocket, things.balloon, things.cup, things.umbrella),
        *(things.star, things.heart),
    )
}
_OUTLINE = 0.0115  # its width in image units: 0.7 of a pixel at 64


@lru_cache(maxsize=6)
def _sky(time: str, canvas: int) -> Image.Image:
    """A vertical gradient that reaches its lowest colour at three quarters of the height."""
    top, middle, bottom = (np.array(color, dtype=np.float64) for color in SKIES[time])
    height = np.clip(np.arange(canvas) / (0.75 * canvas), 0, 1)[:, None]
    upper, lower = np.clip(2 * height, 0, 1), np.clip(2 * height - 1, 0, 1)
    column = top + (middle - top) * upper + (bottom - middle) * lower
    pixels = np.broadcast_to(column[:, None].round().astype(np.uint8), (canvas, canvas, 3))
    return Image.fromarray(np.ascontiguousarray(pixels))


class _Pen:
    """Draws on a canvas in image units."""

    def __init__(self, image: Image.Image) -> None:
        self.canvas = image.width
        self.draw = ImageDraw.Draw(image)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """An upright ellipse around (x, y)."""
        n = self.canvas
        self.draw.ellipse(((x - rx) * n, (y - ry) * n, (x + rx) * n, (y + ry) * n), fill=color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """A rectangle."""
        n = self.canvas
        self.draw.rectangle((x0 * n, y0 * n, x1 * n, y1 * n), fill=color)

    def polygon(self, points: list[Point], color: Color) -> None:
        """A closed polygon."""
        n = self.canvas
        self.draw.polygon([(x * n, y * n) for x, y in points], fill=color)


def _render_light(pen: _Pen, scene: Scene) -> None:
    x, y, radius = scene.light
    color, second = LIGHT_COLORS[scene.time]
    if scene.time == "night":
        if scene.crescent:
            # Two arcs between the same horns, turned by 30°.
            outer = arc(0.0, 0.0, 1.0, 1.0, -100, 100, 24)
            inner = arc(-0.62, 0.0, 1.02, 0.985, 75, -75, 20)
            turn = math.radians(-30 if x < 0.5 else 210)
            cos, sin = math.cos(turn) * radius, math.sin(turn) * radius
            pen.polygon([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in outer + inner], color)
        else:
            pen.ellipse(x, y, radius, radius, color)
            for dx, dy, extent in ((-0.35, -0.25, 0.26), (0.3, 0.3, 0.2), (0.35, -0.4, 0.14)):
                pen.ellipse(x + dx * radius, y + dy * radius, extent * radius, extent * radius, second)
        return
    glow = mix(SKIES[scene.time][0], second, 0.5)
    pen.ellipse(x, y, radius * 1.35, radius * 1.35, glow)
    pen.ellipse(x, y, radius, radius, color)


def _render_cloud(pen: _Pen, x: float, y: float, width: float, time: str) -> None:
    color, shade = CLOUD_COLORS[time]
    pen.ellipse(x, y + 0.1 * width, 0.5 * width, 0.13 * width, shade)
    pen.ellipse(x, y + 0.05 * width, 0.5 * width, 0.13 * width, color)
    pen.ellipse(x - 0.12 * width, y - 0.04 * width, 0.22 * width, 0.17 * width, color)
    pen.ellipse(x + 0.17 * width, y - 0.01 * width, 0.17 * width, 0.13 * width, color)


def _render_hills(pen: _Pen, scene: Scene) -> None:
    near, far, _ = GROUND_COLORS[scene.time][scene.ground]
    sky = SKIES[scene.time][2 if scene.time != "night" else 1]
    for i, hill in enumerate(scene.hills):
        color = mix(far, sky, 0.3 - 0.3 * i)
        if scene.ground == "snow":
            # A mountain with a white top; its foot lies below the ground's edge.
            top, foot = scene.horizon - hill.height * 1.25, scene.horizon + 0.06
            half = hill.half_width * 0.9
            pen.polygon([(hill.x - half, foot), (hill.x, top), (hill.x + half, foot)], color)
            drop = (foot - top) * 0.33
            side = half * 0.33
            jag = [
                (hill.x + side * a, top + drop * b) for a, b in ((1, 1), (0.5, 0.75), (0.1, 1.1), (-0.4, 0.75), (-1, 1))
            ]
            pen.polygon([(hill.x, top), *jag], mix(near, (255, 255, 255), 0.3))
        else:
            pen.polygon(arc(hill.x, scene.horizon + 0.05, hill.half_width, -hill.height - 0.05, 0, 180, 24), color)


def _render_ground(pen: _Pen, scene: Scene) -> None:
    near, _, detail = GROUND_COLORS[scene.time][scene.ground]
    if scene.ground == "sea":
        pen.box(0, scene.horizon, 1, 1, near)
        pen.box(0, scene.horizon, 1, scene.horizon + 0.022, mix(near, detail, 0.45))
        pen.box(0, 0.5 + scene.horizon / 2, 1, 1, mix(near, (10, 30, 90), 0.14))
        for x, y, extent in scene.marks:
            pen.box(x - extent, y - 0.009, x + extent, y + 0.009, detail)
        return
    edge = [(x / 16, ground_edge(scene.horizon, scene.swell, x / 16)) for x in range(17)]
    pen.polygon([*edge, (1.0, 1.01), (0.0, 1.01)], near)
    front = [(x, y + (1 - y) * (0.62 - 0.25 * x * (1 if scene.swell > 0 else -1) + 0.1)) for x, y in edge]
    pen.polygon([*front, (1.0, 1.01), (0.0, 1.01)], mix(near, detail, 0.28))
    for x, y, extent in scene.marks:
        y = max(y, ground_edge(scene.horizon, scene.swell, x) + 0.05)
        if scene.ground == "grass":
            pen.polygon(
                [
                    (x - 0.022, y - 0.035),
                    (x, y - 0.012),
                    (x + 0.004, y - 0.05),
                    (x + 0.014, y - 0.012),
                    (x + 0.034, y - 0.035),
                    (x + 0.018, y + 0.006),
                    (x - 0.006, y + 0.006),
                ],
                detail,
            )
        elif scene.ground == "sand":
            pen.ellipse(x, y, 0.22 * extent + 0.004, 0.14 * extent + 0.004, detail)
        else:
            pen.ellipse(x, y, extent * 0.8, 0.012, detail)


def _render_footing(pen: _Pen, scene: Scene) -> None:
    """A shadow, a pond under a leaping fish, foam around a boat, an islet under whatever cannot swim."""
    near, _, detail = GROUND_COLORS[scene.time][scene.ground]
    width, height = (side * scene.size for side in PROPORTIONS[scene.label])
    base = scene.y + height / 2
    x, half = scene.x, width / 2
    if scene.label == "fish":
        y = min(max(base + 0.1, scene.horizon + 0.1), 0.95)
        water, rim = (near, detail) if scene.ground == "sea" else GROUND_COLORS[scene.time]["sea"][::2]
        pen.ellipse(x, y, half * 0.85, 0.042, rim)
        pen.ellipse(x, y + 0.006, half * 0.85 - 0.02, 0.03, mix(water, (10, 30, 90), 0.1))
        if scene.ground == "sea":
            pen.ellipse(x, y + 0.004, half * 0.4, 0.014, rim)
        return
    if scene.flying:
        return
    if scene.ground != "sea":
        pen.ellipse(x, base, half * 0.92, 0.032, mix(near, (10, 14, 50), 0.32))
    elif scene.label == "boat":
        pen.ellipse(x, base, half * 0.95, 0.034, detail)
        pen.ellipse(x, base + 0.026, half * 1.05, 0.026, near)
    else:
        sand = GROUND_COLORS[scene.time]["sand"][0]
        pen.ellipse(x, base + 0.012, half * 0.9 + 0.07, 0.058, detail)
        pen.ellipse(x, base + 0.004, half * 0.9 + 0.05, 0.047, sand)
        pen.ellipse(x, base, half * 0.8, 0.024, mix(sand, (10, 14, 50), 0.25))


def render_backdrop(scene: Scene, canvas: int) -> Image.Image:
    """All of a scene but its object: RGB, canvas × canvas pixels, not yet reduced."""
    image = _sky(scene.time, canvas).copy()
    pen = _Pen(image)
    for x, y, extent in scene.stars:
        pen.ellipse(x, y, extent, extent, STAR_COLOR)
    _render_light(pen, scene)
    for cloud in scene.clouds:
        _render_cloud(pen, *cloud, scene.time)
    _render_hills(pen, scene)
    _render_ground(pen, scene)
    _render_footing(pen, scene)
    return image


@lru_cache(maxsize=256)
def drawing(label: str, color: str, time: str, flying: bool) -> Drawing:
    """The object `label` in its own coordinates (see `Drawing`)."""
    drawn = Drawing()
    _DRAW[label](drawn, ink(color, time), flying)
    return drawn


def _placed(scene: Scene, canvas: int) -> list[tuple[list[Point], Color]]:
    height = PROPORTIONS[scene.label][1]
    angle = math.radians(scene.tilt)
    cos, sin = math.cos(angle) * scene.size * canvas, math.sin(angle) * scene.size * canvas
    x0, y0, sign = scene.x * canvas, scene.y * canvas, -1.0 if scene.flip else 1.0
    placed = []
    for points, color in drawing(scene.label, scene.color, scene.time, scene.flying).polygons:
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
    """Renders the object with its outline; returns its silhouette ('L', 0 or 255) and where that lies."""
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


def _painted(scene: Scene, size: int) -> tuple[Image.Image, int, Image.Image, tuple[int, int]]:
    """The image, so many times larger than it will be, and the object's silhouette with its upper left corner."""
    if size not in SIZES:
        raise ValueError(f"size must lie in {SIZES.start}..{SIZES.stop - 1} pixels, got {size}")
    factor = 8 if size < 48 else 4 if size < 256 else 2
    image = render_backdrop(scene, size * factor)
    return image, factor, *_paint_object(image, scene)


def render(scene: Scene, size: int) -> Image.Image:
    """The image of a scene: RGB, size × size pixels. Raises ValueError for a size outside 16..1024."""
    image, factor, *_ = _painted(scene, size)
    return image.reduce(factor)


def render_with_mask(scene: Scene, size: int) -> tuple[Image.Image, Image.Image]:
    """The image (RGB) and the object's coverage ('L', 255 where it fills the pixel), both size × size pixels.

    Raises ValueError for a size outside 16..1024.
    """
    image, factor, silhouette, corner = _painted(scene, size)
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
