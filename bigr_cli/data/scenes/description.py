"""What a scene holds, as a pure function of (seed, i), and what people might call it: synonyms, parts left out."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bigr_cli.vocabulary import Vocabulary, fixed_form, plural

OBJECT_WORDS: dict[str, tuple[str, ...]] = {
    "house": ("house", "home", "cottage"),
    "tree": ("tree",),
    "boat": ("boat", "sailboat", "ship"),
    "car": ("car", "automobile"),
    "fish": ("fish",),
    "bird": ("bird",),
    "cat": ("cat", "kitten"),
    "flower": ("flower", "blossom"),
    "mushroom": ("mushroom", "toadstool"),
    "rocket": ("rocket", "spaceship"),
    "balloon": ("balloon", "hot-air balloon"),
    "star": ("star",),
    "heart": ("heart",),
    "cup": ("cup", "mug"),
    "umbrella": ("umbrella", "parasol"),
    "snowman": ("snowman",),
}
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}
PLACES: dict[str, tuple[str, ...]] = {
    "grass": ("on grass", "on the grass", "in a meadow", "on a lawn"),
    "sand": ("on sand", "on the sand", "on the beach", "in the desert"),
    "snow": ("on snow", "in the snow", "on a snowy field"),
    "sea": ("on the sea", "at sea", "on the water", "over the ocean"),
}
MOMENTS: dict[str, tuple[str, ...]] = {
    "day": ("by day", "in daylight", "during the day", "on a sunny day"),
    "sunset": ("at sunset", "at dusk", "in the evening"),
    "night": ("at night", "by night", "in the dark", "under the stars"),
}
LABELS, COLORS = tuple(OBJECT_WORDS), tuple(COLOR_WORDS)
GROUNDS, TIMES = tuple(PLACES), tuple(MOMENTS)

# Width and height of each object's upright box; the longer side is about 1 and becomes `Scene.size`.
PROPORTIONS: dict[str, tuple[float, float]] = {
    "house": (0.96, 1.0),
    "tree": (0.86, 1.0),
    "boat": (0.96, 1.0),
    "car": (1.0, 0.62),
    "fish": (1.0, 0.66),
    "bird": (1.0, 0.88),
    "cat": (0.82, 1.0),
    "flower": (0.68, 1.0),
    "mushroom": (0.96, 0.98),
    "rocket": (0.66, 1.0),
    "balloon": (0.76, 1.0),
    "star": (0.98, 0.94),
    "heart": (1.0, 0.92),
    "cup": (0.98, 0.86),
    "umbrella": (1.0, 1.0),
    "snowman": (0.72, 1.0),
}
FLYING_SHARE = {"bird": 0.5, "rocket": 0.6, "balloon": 0.75, "star": 0.75, "heart": 0.6, "fish": 1.0}

_LIMIT = 2**63
_DRAWS = 96  # more than any scene consumes
_OPENINGS = ("a picture of ", "an illustration of ", "a drawing of ", "there is ")
_ONE = ("one", "a single")
_PLAIN = 0.25  # of the captions are the scene's own
_LEFT_OUT = 0.12  # of each part; if no part is left, the scene's own caption
_WORDS = 0.15  # are words with commas between them
_OPENED = 0.15
_COUNTED = 0.08  # say "one cat", "a single cat" or "cats" instead of "a cat"
_MARGIN = 0.035  # the least gap between the object's box and the image's edge: its outline fits in


class Cloud(NamedTuple):
    """A cloud: centre and width in image units."""

    x: float
    y: float
    width: float


class Hill(NamedTuple):
    """A hill behind the ground: centre, half width and height above the horizon."""

    x: float
    half_width: float
    height: float


class Mark(NamedTuple):
    """A star in the sky, or a wave, tuft or pebble on the ground: centre and extent."""

    x: float
    y: float
    extent: float


@dataclass(frozen=True)
class Scene:
    """Everything needed to render one image, at any size.

    Lengths are in image units: (0, 0) is the upper left corner, (1, 1) the lower right one. `x`, `y` is the centre
    of the object's box, `size` the box's longer side before tilting, `tilt` is in degrees, clockwise.
    """

    seed: int
    index: int
    label: str
    color: str
    ground: str
    time: str
    x: float
    y: float
    size: float
    tilt: float
    flip: bool
    flying: bool
    horizon: float
    swell: float
    light: Mark
    crescent: bool
    clouds: tuple[Cloud, ...]
    stars: tuple[Mark, ...]
    hills: tuple[Hill, ...]
    marks: tuple[Mark, ...]

    @property
    def caption(self) -> str:
        """One English phrase, such as "a red house on grass at night"."""
        return f"{_with_article(f'{self.color} {self.label}')} {PLACES[self.ground][0]} {MOMENTS[self.time][0]}"


class _Stream:
    """Uniform numbers of one scene, consumed in order.

    They are taken from the raw 64-bit words of Philox keyed by (seed, index): NumPy promises that these never change
    from release to release, which it does not promise of its distributions.
    """

    def __init__(self, seed: int, index: int) -> None:
        words = np.random.Philox(key=np.array([seed, index], dtype=np.uint64)).random_raw(_DRAWS)
        self._values = ((words >> np.uint64(11)) * 2.0**-53).tolist()
        self._next = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        value: float = self._values[self._next]
        self._next += 1
        return low + (high - low) * value

    def choice(self, names: tuple[str, ...]) -> str:
        return names[int(self.uniform() * len(names))]

    def count(self, highest: int) -> int:
        return int(self.uniform() * (highest + 1))


def ground_edge(horizon: float, swell: float, x: float) -> float:
    """The y of the ground's upper edge at x: the horizon, tilted to and fro by the swell."""
    return horizon + swell * math.cos(math.pi * x)


def _place(
    stream: _Stream, label: str, horizon: float, swell: float, flying: bool
) -> tuple[float, float, float, float]:
    """Centre, size and tilt of an object that lies wholly inside the image, tilted or not."""
    size = stream.uniform(0.37, 0.54)
    tilt = stream.uniform(-12.0, 12.0) * (1.0 if flying else 0.55)
    width, height = PROPORTIONS[label]
    cos, sin = math.cos(math.radians(tilt)), abs(math.sin(math.radians(tilt)))
    half_width = size * (width * cos + height * sin) / 2
    half_height = size * (height * cos + width * sin) / 2
    x = stream.uniform(half_width + _MARGIN, 1 - half_width - _MARGIN)
    if flying:
        highest = half_height + _MARGIN + 0.02
        lowest = max(highest, horizon + 0.02 - half_height)
        # A fish leaps no higher than it can.
        y = stream.uniform((highest + lowest) / 2 if label == "fish" else highest, lowest)
    else:
        edge = ground_edge(horizon, swell, x)
        base = stream.uniform(edge + 0.06, min(edge + 0.2, 1 - _MARGIN))
        y = max(base - half_height, half_height + _MARGIN)
    return x, y, size, tilt


def describe(seed: int, index: int) -> Scene:
    """Image `index` of the endless data set `seed`, as numbers and names.

    Any run of 16 consecutive indices holds each label once. Raises ValueError unless both are in 0..2**63.
    """
    if not (0 <= seed <= _LIMIT and 0 <= index <= _LIMIT):
        raise ValueError(f"seed and index must lie in 0..2**63, got {seed} and {index}")
    stream = _Stream(seed, index)
    label = LABELS[index % len(LABELS)]
    color, ground, time = stream.choice(COLORS), stream.choice(GROUNDS), stream.choice(TIMES)
    horizon = stream.uniform(0.6, 0.74)
    swell = 0.0 if ground == "sea" else stream.uniform(-0.035, 0.035)
    flying = stream.uniform() < FLYING_SHARE.get(label, 0.0)
    flip = stream.uniform() < 0.5
    x, y, size, tilt = _place(stream, label, horizon, swell, flying)
    # Sun and moon keep to the side that the object leaves free, so that they are seldom hidden.
    radius = stream.uniform(0.065, 0.095)
    side = stream.uniform(radius + 0.03, max(0.2, max(x, 1 - x) - 0.3))
    light = Mark(side if x >= 0.5 else 1 - side, stream.uniform(0.12, 0.24), radius)
    crescent = stream.uniform() < 0.5
    clouds = tuple(
        Cloud(stream.uniform(0.05, 0.95), stream.uniform(0.08, 0.36), stream.uniform(0.16, 0.28))
        for _ in range(stream.count(3))
    )
    stars = tuple(
        Mark(stream.uniform(0.03, 0.97), stream.uniform(0.03, horizon - 0.12), stream.uniform(0.009, 0.014))
        for _ in range(6 + stream.count(6) if time == "night" else 0)
    )
    # No star shines through the dark part of the moon.
    stars = tuple(star for star in stars if math.hypot(star.x - light.x, star.y - light.y) > radius + 0.03)
    hills = tuple(
        Hill(stream.uniform(0.0, 1.0), stream.uniform(0.22, 0.42), stream.uniform(0.07, 0.19))
        for _ in range(stream.count(2))
    )
    marks = tuple(
        Mark(stream.uniform(0.06, 0.94), stream.uniform(horizon + 0.06, 0.96), stream.uniform(0.05, 0.1))
        for _ in range(5)
    )
    return Scene(
        seed, index, label, color, ground, time, x, y, size, tilt, flip, flying,
        horizon, swell, light, crescent, clouds, stars, hills, marks,
    )  # fmt: skip


def phrase(scene: Scene) -> str:
    """One of many captions of a scene, the same one every time: "at dusk, a crimson cottage in a meadow"."""
    rng = random.Random(f"{scene.seed} {scene.index}")
    if rng.random() < _PLAIN:
        return scene.caption
    thing, color = (rng.choice(OBJECT_WORDS[scene.label]), rng.choice(COLOR_WORDS[scene.color]))
    place, moment = rng.choice(PLACES[scene.ground]), rng.choice(MOMENTS[scene.time])
    thing, color, place, moment = ("" if rng.random() < _LEFT_OUT else part for part in (thing, color, place, moment))
    if rng.random() < _WORDS:
        words = [part for part in (f"{color} {thing}".strip(), _bare(place, scene.ground), _bare(moment, scene.time))]
        rng.shuffle(words)
        return ", ".join(word for word in words if word) or scene.caption
    noun = _with_article(f"{color} {thing}") if thing else (f"something {color}" if color else "")
    order = rng.randrange(4)
    if order == 0 and noun and moment:
        said = f"{moment}, {noun} {place}".strip()
    elif order == 1 and noun and place:
        said = f"{place}, {noun} {moment}".strip()
    elif order == 2:
        said = " ".join(part for part in (noun, moment, place) if part)
    else:
        said = " ".join(part for part in (noun, place, moment) if part)
    if noun and said.startswith(noun) and rng.random() < _OPENED:
        said = rng.choice(_OPENINGS) + said
    if noun and thing and rng.random() < _COUNTED:
        said = said.replace(noun, _counted(noun, rng), 1)
    return said or scene.caption


def vocabulary() -> Vocabulary:
    """The words of all captions, and what they mean."""
    kinds = {"objects": OBJECT_WORDS, "colors": COLOR_WORDS, "grounds": PLACES, "times": MOMENTS}
    return fixed_form(kinds, (*_OPENINGS, "a something", *_ONE, *map(plural, itertools.chain(*OBJECT_WORDS.values()))))


def _counted(noun: str, rng: random.Random) -> str:
    """A noun with its article as one of its kind by number, or as several: every image has one."""
    _, _, bare = noun.partition(" ")
    chosen = rng.choice((*_ONE, ""))
    return f"{chosen} {bare}" if chosen else plural(bare)


def _bare(part: str, name: str) -> str:
    """A name for what a part says in several words, if it was not left out."""
    return name if part else ""


def _with_article(noun: str) -> str:
    noun = noun.strip()
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
