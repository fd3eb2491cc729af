"""How things are rendered: house, boat, car, rocket, balloon, cup, umbrella, star, heart."""

from __future__ import annotations

import math

from bigr_cli.data.scenes.shapes import (
    AMBER,
    BLACK,
    BLUSH,
    BROWN,
    CREAM,
    EMBER,
    GLASS,
    GLOW,
    STEEL,
    TYRE,
    WHITE,
    Drawing,
    Ink,
    arc,
    curve,
    mix,
)


def house(d: Drawing, ink: Ink, flying: bool) -> None:
    """Walls in the object's colour, a darker roof, lit windows."""
    frame = ink.tone(WHITE)
    d.box(0.2, 0.6, 0.33, 0.93, ink.dark)
    d.box(0.175, 0.88, 0.355, 0.94, ink.tone(BROWN))
    d.box(-0.38, 0.0, 0.38, 0.56, ink.base)
    d.box(-0.38, 0.0, 0.38, 0.06, ink.dark)
    d.polygon([(-0.475, 0.5), (0.475, 0.5), (0.03, 0.99), (-0.03, 0.99)], ink.dark)
    d.polygon([(-0.475, 0.5), (0.475, 0.5), (0.43, 0.55), (-0.43, 0.55)], ink.light)
    d.ellipse(0.0, 0.7, 0.095, 0.095, frame)
    d.ellipse(0.0, 0.7, 0.065, 0.065, GLOW)
    d.polygon([(-0.1, 0.0), (0.1, 0.0), *arc(0.0, 0.24, 0.1, 0.08, 0, 180, 10)], ink.tone(BROWN))
    d.ellipse(0.055, 0.15, 0.022, 0.022, AMBER)
    for x in (-0.245, 0.245):
        d.box(x - 0.1, 0.2, x + 0.1, 0.42, frame)
        d.box(x - 0.072, 0.225, x + 0.072, 0.395, GLOW)


def boat(d: Drawing, ink: Ink, flying: bool) -> None:
    """A sailing boat: hull and small sail in the object's colour, a cream mainsail."""
    d.box(-0.02, 0.2, 0.025, 0.97, ink.tone(BROWN))
    d.polygon([(0.025, 0.99), (0.025, 0.88), (0.2, 0.935)], ink.dark)
    d.polygon([(0.05, 0.34), *curve((0.05, 0.86), (0.36, 0.7), (0.44, 0.34))], ink.tone(CREAM))
    d.polygon([(0.05, 0.34), (0.05, 0.44), *curve((0.41, 0.44), (0.43, 0.39), (0.44, 0.34), 3)], ink.light)
    d.polygon([(-0.05, 0.34), *curve((-0.05, 0.8), (-0.28, 0.62), (-0.37, 0.34))], ink.base)
    d.polygon(
        [
            (-0.475, 0.28),
            (0.475, 0.28),
            *curve((0.475, 0.28), (0.4, 0.04), (0.28, 0.0), 8),
            *curve((-0.28, 0.0), (-0.42, 0.06), (-0.475, 0.28), 8),
        ],
        ink.base,
    )
    d.polygon([(-0.475, 0.28), (0.475, 0.28), (0.457, 0.21), (-0.462, 0.21)], ink.dark)
    for x in (-0.2, 0.0, 0.2):
        d.ellipse(x, 0.12, 0.045, 0.045, ink.spot)


def car(d: Drawing, ink: Ink, flying: bool) -> None:
    """A small car, driving to the right."""
    d.polygon(
        [*curve((-0.36, 0.32), (-0.27, 0.61), (-0.14, 0.61), 8), *curve((0.06, 0.61), (0.2, 0.6), (0.31, 0.32), 8)],
        ink.base,
    )
    d.polygon([*curve((-0.28, 0.35), (-0.22, 0.55), (-0.13, 0.55), 6), (-0.05, 0.55), (-0.05, 0.35)], GLASS)
    d.polygon([(0.0, 0.35), (0.0, 0.55), *curve((0.06, 0.55), (0.16, 0.54), (0.22, 0.35), 6)], GLASS)
    d.rounded(-0.49, 0.1, 0.49, 0.36, 0.09, ink.base)
    d.rounded(-0.49, 0.1, 0.49, 0.17, 0.03, ink.dark)
    d.box(-0.06, 0.28, 0.02, 0.305, ink.dark)
    d.ellipse(0.43, 0.27, 0.05, 0.05, GLOW)
    d.box(-0.485, 0.24, -0.43, 0.31, (232, 60, 60))
    for x in (-0.27, 0.27):
        d.ellipse(x, 0.135, 0.135, 0.135, TYRE)
        d.ellipse(x, 0.135, 0.065, 0.065, ink.tone((214, 218, 226)))


def rocket(d: Drawing, ink: Ink, flying: bool) -> None:
    """A rocket; its engine burns when it flies."""
    foot = 0.1 if flying else 0.0
    if flying:
        d.polygon(
            [*curve((-0.12, 0.18), (-0.13, 0.08), (0.0, 0.0), 8), *curve((0.0, 0.0), (0.13, 0.08), (0.12, 0.18), 8)],
            EMBER,
        )
        d.polygon([(-0.06, 0.18), (0.0, 0.06), (0.06, 0.18)], GLOW)
    d.box(-0.09, 0.12, 0.09, 0.22, ink.tone(STEEL))
    d.mirrored([*curve((0.13, 0.5), (0.32, 0.36), (0.32, foot)), (0.12, 0.22)], ink.dark)
    side = curve((0.1, 0.18), (0.25, 0.55), (0.13, 0.8)) + curve((0.13, 0.8), (0.08, 0.93), (0.0, 1.0))
    d.polygon(side + [(-x, y) for x, y in reversed(side)], ink.base)
    nose = [(x, y) for x, y in side if y >= 0.79]
    d.polygon(nose + [(-x, y) for x, y in reversed(nose)], ink.dark)
    shine = [(x, y) for x, y in side if y <= 0.78]
    d.polygon([(-x, y) for x, y in shine] + [(-x * 0.6, y) for x, y in reversed(shine)], ink.light)
    d.ellipse(0.0, 0.6, 0.115, 0.115, ink.dark if ink.white else ink.tone((226, 230, 238)))
    d.ellipse(0.0, 0.6, 0.078, 0.078, (110, 190, 236))
    d.ellipse(-0.025, 0.63, 0.025, 0.025, WHITE)
    d.box(-0.022, 0.16, 0.022, 0.4, ink.dark)


def balloon(d: Drawing, ink: Ink, flying: bool) -> None:
    """A hot-air balloon, striped in two shades."""
    rope = ink.tone(BROWN)
    d.mirrored([(0.1, 0.12), (0.125, 0.12), (0.15, 0.32), (0.12, 0.32)], rope)
    for reach, color in ((1.0, ink.base), (0.62, ink.light), (0.24, ink.base)):
        rx = 0.37 * reach
        d.polygon(
            [
                *arc(0.0, 0.63, rx, 0.37, -20, 200, 30),
                *curve((-0.94 * rx, 0.5), (-0.6 * rx, 0.33), (-0.11 * reach, 0.25), 6),
                *curve((0.11 * reach, 0.25), (0.6 * rx, 0.33), (0.94 * rx, 0.5), 6),
            ],
            color,
        )
    d.polygon([(-0.14, 0.3), (0.14, 0.3), (0.11, 0.235), (-0.11, 0.235)], ink.dark)
    d.rounded(-0.125, 0.0, 0.125, 0.17, 0.03, rope)
    d.box(-0.14, 0.13, 0.14, 0.175, ink.tone((168, 116, 70)))


def star(d: Drawing, ink: Ink, flying: bool) -> None:
    """A five-pointed star with a face."""
    tip, dent, y = 0.51, 0.262, 0.415
    points = []
    for i in range(10):
        radius, angle = (dent if i % 2 else tip), math.radians(90 + 36 * i)
        points.append((radius * math.cos(angle), y + radius * math.sin(angle)))
    d.polygon(points, ink.base)
    for i in range(0, 10, 2):
        d.polygon([(0.0, y), points[i], points[i + 1]], ink.light)
    d.ellipse(0.0, y, 0.235, 0.225, mix(ink.base, ink.light, 0.5))
    d.mirrored(arc(0.095, y + 0.05, 0.036, 0.05, steps=16), BLACK)
    d.mirrored(arc(0.16, y - 0.04, 0.035, 0.026, steps=12), BLUSH)
    d.stroke(arc(0.0, y - 0.02, 0.075, 0.07, 200, 340, 8), 0.032, BLACK)


def heart(d: Drawing, ink: Ink, flying: bool) -> None:
    """A heart with a shine on it."""
    points = []
    for i in range(48):
        t = 2 * math.pi * i / 48
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        if y > -15 or abs(x) > 0.6:  # leaves the curve's needle-thin tip out
            points.append((x / 32.5, (y + 17) / 32.5 - 0.01))
    d.polygon(points, ink.dark)
    d.polygon([(x * 0.9 - 0.025, 0.08 + y * 0.9) for x, y in points], ink.base)
    d.ellipse(-0.25, 0.69, 0.13, 0.075, ink.light, 38)
    d.ellipse(-0.37, 0.54, 0.04, 0.04, ink.light)


def cup(d: Drawing, ink: Ink, flying: bool) -> None:
    """A mug of cocoa."""
    handle = [
        (0.22, 0.6),
        *curve((0.28, 0.62), (0.48, 0.62), (0.435, 0.38), 8),
        *curve((0.435, 0.38), (0.4, 0.16), (0.2, 0.18), 8),
    ]
    d.stroke(handle, 0.1, ink.dark)
    d.polygon(
        [
            (-0.46, 0.74),
            (0.27, 0.74),
            *curve((0.25, 0.12), (0.24, 0.0), (0.14, 0.0), 6),
            *curve((-0.33, 0.0), (-0.43, 0.0), (-0.44, 0.12), 6),
        ],
        ink.base,
    )
    d.polygon([(-0.46, 0.74), (-0.36, 0.74), (-0.35, 0.04), (-0.41, 0.04), (-0.44, 0.12)], ink.light)
    d.polygon(heart_points(-0.08, 0.36, 0.3), ink.spot)
    d.ellipse(-0.095, 0.74, 0.365, 0.105, ink.dark)
    d.ellipse(-0.095, 0.725, 0.3, 0.07, ink.tone((92, 54, 36)))
    d.ellipse(-0.15, 0.735, 0.09, 0.028, ink.tone((150, 100, 70)))


def heart_points(x: float, y: float, width: float) -> list[tuple[float, float]]:
    """The outline of a small heart around (x, y)."""
    half = width / 2
    right = [*curve((0.0, -0.9), (0.75, -0.35), (1.0, 0.2), 5), *arc(0.5, 0.25, 0.5, 0.45, 0, 180, 8)]
    return [(x + half * a, y + half * b) for a, b in right + [(-a, b) for a, b in reversed(right)]]


def umbrella(d: Drawing, ink: Ink, flying: bool) -> None:
    """An open umbrella with panels in two shades."""
    stick = mix(ink.tone(BROWN), WHITE, 0.15) if ink.time == "night" else ink.tone(BROWN)
    d.stroke([(0.0, 0.9), (0.0, 0.97)], 0.05, stick)
    d.stroke([(0.0, 0.6), (0.0, 0.12), *arc(-0.085, 0.12, 0.085, 0.085, -15, -180, 10)], 0.055, stick)
    edges = (-0.49, -0.3, -0.1, 0.1, 0.3, 0.49)
    foot, top = 0.5, 0.43
    for i in range(5):
        left, right = edges[i], edges[i + 1]
        half = (right - left) / 2
        up = [(left * c, foot + top * s) for c, s in arc(0, 0, 1, 1, 0, 90, 12)]
        down = [(right * c, foot + top * s) for c, s in arc(0, 0, 1, 1, 90, 0, 12)]
        scallop = arc(left + half, foot, half, 0.055, 0, 180, 8)
        d.polygon(up + down + scallop, ink.dark if i in (0, 4) else ink.light if i == 2 else ink.base)
