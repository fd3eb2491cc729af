"""A drawing as a list of filled polygons in the object's own coordinates, and the colours of scenes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

Point = tuple[float, float]

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)
BLACK: Color = (24, 24, 32)
BROWN: Color = (122, 78, 46)
CREAM: Color = (250, 240, 218)
GLASS: Color = (190, 226, 246)
GLOW: Color = (255, 222, 110)
LEAF: Color = (44, 132, 62)
AMBER: Color = (255, 190, 48)
EMBER: Color = (226, 92, 30)
STEEL: Color = (104, 110, 122)
TYRE: Color = (44, 46, 56)
BLUSH: Color = (250, 140, 150)
# name: (base, dark, light)
_OBJECT: dict[str, tuple[Color, Color, Color]] = {
    "red": ((222, 44, 50), (158, 24, 40), (246, 104, 98)),
    "orange": ((250, 136, 26), (204, 92, 10), (255, 178, 92)),
    "yellow": ((255, 214, 34), (222, 164, 8), (255, 236, 132)),
    "green": ((28, 146, 72), (14, 100, 52), (84, 190, 114)),
    "blue": ((42, 92, 222), (24, 58, 160), (104, 150, 248)),
    "purple": ((136, 66, 200), (92, 38, 148), (178, 120, 232)),
    "pink": ((255, 128, 186), (222, 78, 144), (255, 182, 216)),
    "white": ((252, 252, 254), (168, 180, 202), (228, 234, 245)),
}
_OUTLINE: dict[str, Color] = {
    "red": (104, 14, 28), "orange": (140, 58, 6), "yellow": (150, 100, 6), "green": (8, 66, 36),
    "blue": (14, 34, 106), "purple": (58, 22, 98), "pink": (156, 42, 98), "white": (96, 108, 136),
}  # fmt: skip
# time: (top, middle, bottom) of the sky
SKIES: dict[str, tuple[Color, Color, Color]] = {
    "day": ((92, 172, 240), (150, 206, 248), (222, 240, 252)),
    "sunset": ((222, 122, 146), (250, 170, 126), (255, 228, 172)),
    "night": ((10, 14, 44), (26, 32, 78), (54, 58, 112)),
}
# time: ground: (near, far: the hills, detail: tufts, pebbles, waves)
GROUND_COLORS: dict[str, dict[str, tuple[Color, Color, Color]]] = {
    "day": {
        "grass": ((136, 198, 92), (98, 168, 84), (84, 154, 66)),
        "sand": ((236, 214, 162), (214, 182, 124), (204, 172, 114)),
        "snow": ((238, 244, 252), (156, 182, 216), (204, 218, 238)),
        "sea": ((54, 158, 200), (94, 150, 132), (150, 214, 236)),
    },
    "sunset": {
        "grass": ((138, 160, 78), (116, 124, 76), (98, 118, 56)),
        "sand": ((226, 178, 124), (188, 134, 104), (194, 142, 98)),
        "snow": ((244, 222, 222), (210, 172, 190), (218, 184, 196)),
        "sea": ((96, 112, 164), (132, 96, 120), (240, 176, 140)),
    },
    "night": {
        "grass": ((30, 72, 54), (22, 50, 50), (50, 100, 72)),
        "sand": ((104, 94, 92), (68, 62, 76), (80, 72, 76)),
        "snow": ((132, 146, 184), (82, 94, 138), (162, 176, 208)),
        "sea": ((18, 50, 98), (24, 34, 66), (62, 104, 156)),
    },
}
CLOUD_COLORS: dict[str, tuple[Color, Color]] = {
    "day": ((255, 255, 255), (224, 236, 248)),
    "sunset": ((255, 226, 206), (250, 196, 176)),
    "night": ((74, 80, 128), (58, 64, 110)),
}
LIGHT_COLORS: dict[str, tuple[Color, Color]] = {
    "day": ((255, 226, 92), (255, 240, 160)),
    "sunset": ((255, 240, 170), (255, 206, 132)),
    "night": ((246, 240, 214), (218, 210, 184)),
}
STAR_COLOR: Color = (244, 240, 214)


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


def mix(a: Color, b: Color, share: float) -> Color:
    """The colour `share` of the way from `a` to `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


class Ink(NamedTuple):
    """The colours that one object is drawn in: its own, and those that every object of its kind has.

    `spot` is white, or, where that is the object's colour (`white`), a grey that stands out from it.
    """

    time: str
    base: Color
    dark: Color
    light: Color
    outline: Color
    accent: Color
    spot: Color
    white: bool

    def tone(self, color: Color) -> Color:
        """A fixed colour, such as wood or tyre, in the light of this time. Lamps, windows and eyes stay as they are."""
        return in_light(color, self.time)


def in_light(color: Color, time: str) -> Color:
    """An object's colour by day, at sunset (a little warmer) or at night (a little bluer and darker)."""
    if time == "sunset":
        return mix(color, (250, 130, 90), 0.08)
    if time == "night":
        return mix(color, (56, 62, 128), 0.14)
    return color


@cache
def ink(color: str, time: str) -> Ink:
    """The colours of an object named `color` at `time`."""
    base, dark, light = (in_light(shade, time) for shade in _OBJECT[color])
    outline = _OUTLINE[color]
    if time == "night":
        # Moonlight on the rim keeps dark colours apart from a dark ground.
        if color in ("blue", "purple", "green", "red"):
            base, dark = mix(base, light, 0.22), mix(dark, base, 0.3)
        outline = mix(light, (206, 212, 246), 0.45)
    accent = EMBER if color in ("yellow", "orange") else AMBER
    white = color == "white"
    spot = (176, 188, 210) if white else WHITE
    return Ink(time, base, dark, light, outline, accent, in_light(spot, time), white)
