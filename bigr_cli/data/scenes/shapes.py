"""A drawing as a list of filled polygons in the object's own coordinates, before it is placed in a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache

from bigr_cli.data.scenes.palette import Color

Point = tuple[float, float]


@cache
def _arc(start: float, end: float, steps: int) -> tuple[Point, ...]:
    """Points of the unit circle from `start` to `end` degrees, counter-clockwise, both ends included."""
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


def arc(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0, steps: int = 36
) -> list[Point]:
    """Points of an ellipse around (x, y) from `start` to `end` degrees."""
    return [(x + rx * cos, y + ry * sin) for cos, sin in _arc(start, end, steps)]


def curve(a: Point, b: Point, c: Point, steps: int = 12) -> list[Point]:
    """The quadratic Bézier curve from a to c with control point b."""
    points = []
    for i in range(steps + 1):
        t = i / steps
        u, v, w = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append((u * a[0] + v * b[0] + w * c[0], u * a[1] + v * b[1] + w * c[1]))
    return points


class Drawing:
    """Filled polygons, later ones over earlier ones. x points right, y up; the base's middle is (0, 0)."""

    def __init__(self) -> None:
        self.polygons: list[tuple[list[Point], Color]] = []

    def polygon(self, points: Iterable[Point], color: Color) -> None:
        """A closed polygon."""
        self.polygons.append((list(points), color))

    def mirrored(self, points: Sequence[Point], color: Color) -> None:
        """A polygon and its mirror image in the vertical axis."""
        self.polygon(points, color)
        self.polygon([(-x, y) for x, y in points], color)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color, tilt: float = 0.0) -> None:
        """An ellipse, turned counter-clockwise by `tilt` degrees."""
        points = arc(x, y, rx, ry)
        if tilt:
            cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
            points = [(x + (a - x) * cos - (b - y) * sin, y + (a - x) * sin + (b - y) * cos) for a, b in points]
        self.polygon(points, color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """An upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def rounded(self, x0: float, y0: float, x1: float, y1: float, radius: float, color: Color) -> None:
        """An upright rectangle with round corners."""
        points: list[Point] = []
        corners = ((x1, y1, 0.0), (x0, y1, 90.0), (x0, y0, 180.0), (x1, y0, 270.0))
        for x, y, start in corners:
            cx = x - radius if x == x1 else x + radius
            cy = y - radius if y == y1 else y + radius
            points += arc(cx, cy, radius, radius, start, start + 90, 6)
        self.polygon(points, color)

    def stroke(self, points: Sequence[Point], width: float, color: Color) -> None:
        """A line of even width with round ends."""
        half = width / 2
        left, right = [], []
        for i, (x, y) in enumerate(points):
            before, after = points[max(i - 1, 0)], points[min(i + 1, len(points) - 1)]
            dx, dy = after[0] - before[0], after[1] - before[1]
            length = math.hypot(dx, dy)
            nx, ny = -dy / length * half, dx / length * half
            left.append((x + nx, y + ny))
            right.append((x - nx, y - ny))
        self.polygon(left + right[::-1], color)
        for x, y in (points[0], points[-1]):
            self.polygon(arc(x, y, half, half, steps=12), color)
