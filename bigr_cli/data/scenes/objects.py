"""The sixteen objects by label."""

from __future__ import annotations

from collections.abc import Callable

from bigr_cli.data.scenes import beings, things
from bigr_cli.data.scenes.shapes import Drawing, Ink

_DRAW: dict[str, Callable[[Drawing, Ink, bool], None]] = {
    "house": things.house,
    "tree": beings.tree,
    "boat": things.boat,
    "car": things.car,
    "fish": beings.fish,
    "bird": beings.bird,
    "cat": beings.cat,
    "flower": beings.flower,
    "mushroom": beings.mushroom,
    "rocket": things.rocket,
    "balloon": things.balloon,
    "star": things.star,
    "heart": things.heart,
    "cup": things.cup,
    "umbrella": things.umbrella,
    "snowman": beings.snowman,
}


def draw(label: str, ink: Ink, flying: bool) -> Drawing:
    """The object `label` in the colours of `ink`, in its own coordinates (see `Drawing`)."""
    drawing = Drawing()
    _DRAW[label](drawing, ink, flying)
    return drawing
