"""Colours that options and configs name."""

from __future__ import annotations

from bigr_cli.errors import ConfigError

Background = tuple[int, int, int]
"""Red, green and blue, 0 to 255, of what transparent pixels are composited on."""

WHITE: Background = (255, 255, 255)


def parse_colour(text: str, name: str = "colour") -> Background:
    """A colour as CSS writes it: a name, "#rrggbb", "rgb(1, 2, 3)". Raises ConfigError for anything else."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text.strip())[:3]
    except ValueError as error:
        raise ConfigError(f"{name}: expected a colour such as white or '#808080', got {text[:40]!r}") from error
    return red, green, blue


def beside_white(background: Background) -> str:
    """What is added to a text that identifies images composited on a background; nothing if it is white."""
    return "" if background == WHITE else f":{background}"
