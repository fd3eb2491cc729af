"""How living things are rendered, and the snowman: tree, fish, bird, cat, flower, mushroom, snowman."""

from __future__ import annotations

import math

from bigr_cli.data.scenes.shapes import BLACK, BLUSH, BROWN, CREAM, EMBER, LEAF, WHITE, Drawing, Ink, arc, curve, mix


def eye(d: Drawing, x: float, y: float, radius: float) -> None:
    """A round eye that looks a little to the right."""
    d.ellipse(x, y, radius, radius, WHITE)
    d.ellipse(x + radius * 0.2, y, radius * 0.62, radius * 0.62, BLACK)
    d.ellipse(x + radius * 0.4, y + radius * 0.25, radius * 0.2, radius * 0.2, WHITE)


def tree(d: Drawing, ink: Ink, flying: bool) -> None:
    """A round tree: the crown has the object's colour."""
    bark = ink.tone(BROWN)
    d.polygon(
        [
            (-0.12, 0.0),
            (0.12, 0.0),
            *curve((0.12, 0.0), (0.06, 0.06), (0.06, 0.5), 6),
            *curve((-0.06, 0.5), (-0.06, 0.06), (-0.12, 0.0), 6),
        ],
        bark,
    )
    d.stroke([(0.0, 0.26), (0.16, 0.42)], 0.06, bark)
    for x, y, radius in ((-0.21, 0.53, 0.21), (0.21, 0.53, 0.21), (0.0, 0.47, 0.19)):
        d.ellipse(x, y, radius, radius, ink.dark)
    for x, y, radius in ((-0.2, 0.59, 0.2), (0.19, 0.6, 0.2), (0.0, 0.72, 0.265), (0.0, 0.56, 0.18)):
        d.ellipse(x, y, radius, radius, ink.base)
    for x, y, radius in ((-0.09, 0.82, 0.09), (-0.24, 0.65, 0.065), (0.16, 0.7, 0.06)):
        d.ellipse(x, y, radius, radius * 0.8, ink.light, 25)


def fish(d: Drawing, ink: Ink, flying: bool) -> None:
    """A fish, swimming to the right."""
    d.polygon(
        [
            (-0.14, 0.32),
            *curve((-0.3, 0.44), (-0.42, 0.6), (-0.49, 0.58), 6),
            *curve((-0.49, 0.58), (-0.38, 0.32), (-0.49, 0.06), 8),
            *curve((-0.49, 0.06), (-0.42, 0.04), (-0.3, 0.2), 6),
        ],
        ink.dark,
    )
    d.polygon([*curve((-0.14, 0.48), (-0.06, 0.68), (0.12, 0.645), 6), (0.26, 0.48)], ink.dark)
    d.polygon([*curve((-0.02, 0.14), (-0.06, 0.02), (0.06, 0.01), 6), (0.2, 0.14)], ink.dark)
    d.ellipse(0.11, 0.32, 0.38, 0.235, ink.base)
    d.polygon(arc(0.11, 0.32, 0.38, 0.235, 205, 335, 20), ink.light)
    d.polygon([*arc(0.02, 0.32, 0.06, 0.2, 90, 270, 8), *arc(0.02, 0.32, 0.005, 0.2, 270, 90, 8)], ink.dark)
    d.polygon([*arc(-0.1, 0.32, 0.06, 0.16, 90, 270, 8), *arc(-0.1, 0.32, 0.005, 0.16, 270, 90, 8)], ink.dark)
    d.polygon([(0.16, 0.3), *curve((0.02, 0.32), (-0.02, 0.18), (0.06, 0.17), 6)], ink.dark)
    eye(d, 0.31, 0.38, 0.075)
    d.stroke(curve((0.37, 0.23), (0.42, 0.25), (0.455, 0.29), 5), 0.03, BLACK if ink.time == "night" else ink.outline)


def bird(d: Drawing, ink: Ink, flying: bool) -> None:
    """A bird facing right, perched or with its wings up."""
    if flying:
        d.polygon(
            [
                (-0.16, 0.44),
                *curve((-0.02, 0.7), (0.02, 0.86), (0.13, 0.87), 6),
                *curve((0.13, 0.87), (0.2, 0.66), (0.16, 0.5), 6),
            ],
            ink.dark,
        )
    else:
        legs = mix(ink.tone(EMBER), BLACK, 0.25) if ink.time != "night" else ink.tone(EMBER)
        for x in (-0.06, 0.09):
            d.stroke([(x, 0.24), (x + 0.015, 0.03)], 0.04, legs)
            d.stroke([(x - 0.02, 0.025), (x + 0.08, 0.025)], 0.04, legs)
    d.polygon(
        [
            (-0.14, 0.46),
            *curve((-0.3, 0.56), (-0.4, 0.62), (-0.5, 0.64), 4),
            (-0.44, 0.54),
            (-0.5, 0.5),
            (-0.42, 0.44),
            (-0.44, 0.38),
            (-0.12, 0.3),
        ],
        ink.dark,
    )
    d.ellipse(0.0, 0.42, 0.29, 0.225, ink.base, 14)
    d.ellipse(0.1, 0.36, 0.17, 0.14, ink.light, 25)
    d.ellipse(0.24, 0.62, 0.18, 0.175, ink.base)
    d.polygon([(0.38, 0.68), *curve((0.44, 0.68), (0.49, 0.62), (0.5, 0.58), 4), (0.385, 0.56)], ink.accent)
    eye(d, 0.28, 0.65, 0.062)
    if flying:
        d.polygon(
            [
                (0.08, 0.42),
                *curve((0.0, 0.6), (-0.22, 0.8), (-0.36, 0.86), 8),
                *curve((-0.36, 0.86), (-0.36, 0.5), (-0.16, 0.38), 8),
            ],
            ink.dark,
        )
        d.polygon(
            [
                (0.02, 0.44),
                *curve((-0.04, 0.58), (-0.18, 0.7), (-0.28, 0.75), 6),
                *curve((-0.28, 0.75), (-0.26, 0.5), (-0.12, 0.42), 6),
            ],
            mix(ink.dark, ink.base, 0.5),
        )
    else:
        d.polygon(
            [
                *curve((0.1, 0.44), (0.04, 0.58), (-0.12, 0.54), 8),
                *curve((-0.12, 0.54), (-0.24, 0.48), (-0.34, 0.34), 8),
                *curve((-0.34, 0.34), (-0.02, 0.24), (0.1, 0.44), 8),
            ],
            ink.dark,
        )


def cat(d: Drawing, ink: Ink, flying: bool) -> None:
    """A sitting cat that looks at you."""
    d.stroke(
        curve((0.14, 0.07), (0.44, 0.02), (0.34, 0.3), 8) + curve((0.34, 0.3), (0.3, 0.4), (0.36, 0.46), 6)[1:],
        0.09,
        ink.dark,
    )
    d.polygon(
        [
            *curve((0.0, 0.6), (0.2, 0.56), (0.27, 0.2), 8),
            *curve((0.27, 0.2), (0.28, 0.0), (0.14, 0.0), 6),
            *curve((-0.14, 0.0), (-0.28, 0.0), (-0.27, 0.2), 6),
            *curve((-0.27, 0.2), (-0.2, 0.56), (0.0, 0.6), 8),
        ],
        ink.base,
    )
    d.ellipse(0.0, 0.25, 0.13, 0.18, ink.light)
    for side in (-1, 1):
        d.ellipse(0.1 * side, 0.045, 0.09, 0.05, mix(ink.base, ink.light, 0.6))
        d.polygon([(0.27 * side, 0.68), (0.25 * side, 0.99), (0.02 * side, 0.85)], ink.base)
        d.polygon([(0.225 * side, 0.76), (0.225 * side, 0.91), (0.09 * side, 0.84)], BLUSH)
    d.ellipse(0.0, 0.67, 0.285, 0.215, ink.base)
    for x in (-0.07, 0.0, 0.07):
        d.stroke([(x, 0.86 - abs(x) * 0.2), (x * 0.8, 0.79)], 0.032, ink.dark)
    d.ellipse(0.0, 0.58, 0.12, 0.085, ink.light)
    for x in (-0.125, 0.125):
        d.ellipse(x, 0.69, 0.07, 0.075, WHITE)
        d.ellipse(x, 0.685, 0.042, 0.06, BLACK)
        d.ellipse(x + 0.018, 0.71, 0.016, 0.02, WHITE)
    d.polygon([(-0.04, 0.62), (0.04, 0.62), (0.0, 0.575)], (226, 92, 116))
    whisker = mix(ink.light, WHITE, 0.5) if ink.time == "night" else ink.outline
    for side in (-1, 1):
        d.stroke([(0.19 * side, 0.6), (0.385 * side, 0.63)], 0.022, whisker)
        d.stroke([(0.19 * side, 0.56), (0.375 * side, 0.53)], 0.022, whisker)


def flower(d: Drawing, ink: Ink, flying: bool) -> None:
    """A flower with two wreaths of petals in the object's colour."""
    green = ink.tone(LEAF) if ink.time != "night" else mix(LEAF, (90, 190, 120), 0.4)
    d.stroke(curve((0.02, 0.02), (-0.03, 0.3), (0.0, 0.6), 8), 0.06, green)
    d.polygon(curve((0.0, 0.1), (0.12, 0.34), (0.31, 0.3), 8) + curve((0.31, 0.3), (0.2, 0.08), (0.0, 0.1), 8), green)
    d.polygon(
        curve((0.0, 0.06), (-0.12, 0.26), (-0.29, 0.22), 8) + curve((-0.29, 0.22), (-0.18, 0.02), (0.0, 0.06), 8), green
    )
    for turn, color in ((22.5, ink.dark), (0.0, ink.base)):
        for i in range(8):
            angle = 45 * i + turn
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            d.ellipse(0.2 * cos, 0.66 + 0.2 * sin, 0.13, 0.085, color, angle)
    d.ellipse(0.0, 0.66, 0.125, 0.125, ink.accent)
    d.ellipse(-0.02, 0.68, 0.065, 0.065, mix(ink.accent, WHITE, 0.35))


def mushroom(d: Drawing, ink: Ink, flying: bool) -> None:
    """A toadstool: a spotted cap on a pale stem."""
    stem = ink.tone(CREAM)
    d.polygon(
        [
            *curve((0.13, 0.5), (0.12, 0.2), (0.2, 0.08), 8),
            *curve((0.2, 0.08), (0.2, 0.0), (0.1, 0.0), 5),
            *curve((-0.1, 0.0), (-0.2, 0.0), (-0.2, 0.08), 5),
            *curve((-0.2, 0.08), (-0.12, 0.2), (-0.13, 0.5), 8),
        ],
        stem,
    )
    d.ellipse(0.0, 0.36, 0.2, 0.045, mix(stem, BROWN, 0.25))
    d.polygon(
        [
            *curve((-0.475, 0.5), (-0.42, 0.97), (0.0, 0.97), 12),
            *curve((0.0, 0.97), (0.42, 0.97), (0.475, 0.5), 12),
            *curve((0.475, 0.5), (0.46, 0.4), (0.3, 0.4), 5),
            *curve((-0.3, 0.4), (-0.46, 0.4), (-0.475, 0.5), 5),
        ],
        ink.base,
    )
    d.polygon(
        [
            *curve((0.475, 0.5), (0.46, 0.4), (0.3, 0.4), 5),
            *curve((-0.3, 0.4), (-0.46, 0.4), (-0.475, 0.5), 5),
            *curve((-0.475, 0.5), (0.0, 0.43), (0.475, 0.5), 10),
        ],
        ink.dark,
    )
    for x, y, rx, ry in (
        (0.03, 0.8, 0.115, 0.09),
        (-0.25, 0.65, 0.085, 0.085),
        (0.28, 0.65, 0.08, 0.085),
        (0.02, 0.57, 0.07, 0.05),
    ):
        d.ellipse(x, y, rx, ry, ink.spot)


def snowman(d: Drawing, ink: Ink, flying: bool) -> None:
    """A snowman: hat, scarf, mittens and buttons have the object's colour, the snow a breath of it."""
    snow = mix(ink.tone(WHITE), ink.base, 0.06)
    shade = mix(ink.tone((214, 224, 240)), ink.base, 0.1)
    twig = ink.tone(BROWN) if ink.time != "night" else ink.tone((170, 120, 80))
    for side in (-1, 1):
        d.stroke([(0.2 * side, 0.34), (0.32 * side, 0.46)], 0.045, twig)
        d.ellipse(0.315 * side, 0.46, 0.055, 0.06, ink.base)
    d.ellipse(0.0, 0.235, 0.285, 0.235, shade)
    d.ellipse(-0.02, 0.245, 0.26, 0.215, snow)
    d.ellipse(0.0, 0.57, 0.205, 0.19, shade)
    d.ellipse(-0.015, 0.58, 0.185, 0.175, snow)
    d.polygon([(0.02, 0.42), (0.16, 0.44), (0.19, 0.2), (0.08, 0.19)], ink.dark)
    d.rounded(-0.2, 0.37, 0.2, 0.47, 0.045, ink.base)
    for y in (0.27, 0.15):
        d.ellipse(-0.02, y, 0.035, 0.035, ink.dark)
    for x in (-0.085, 0.065):
        d.ellipse(x, 0.62, 0.034, 0.04, BLACK)
    d.polygon([(-0.02, 0.575), (-0.02, 0.52), (0.17, 0.535)], (246, 132, 40))
    d.box(-0.145, 0.72, 0.145, 0.98, ink.base)
    d.box(-0.145, 0.75, 0.145, 0.82, ink.dark if ink.white else ink.light)
    d.rounded(-0.23, 0.69, 0.23, 0.755, 0.03, ink.dark)
