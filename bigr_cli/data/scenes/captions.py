"""What people might call a scene: synonyms, other orders of the words, and parts left out."""

from __future__ import annotations

import itertools
import random

from bigr_cli.data.scenes.description import Scene
from bigr_cli.vocabulary import Vocabulary, fixed_form, plural

OBJECTS: dict[str, tuple[str, ...]] = {
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
COLORS: dict[str, tuple[str, ...]] = {
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
_OPENINGS = ("a picture of ", "an illustration of ", "a drawing of ", "there is ")
_ONE = ("one", "a single")
_PLAIN = 0.25  # of the captions are the scene's own
_LEFT_OUT = 0.12  # of each part; if no part is left, the scene's own caption
_WORDS = 0.15  # are words with commas between them
_OPENED = 0.15
_COUNTED = 0.08  # say "one cat", "a single cat" or "cats" instead of "a cat"


def phrase(scene: Scene) -> str:
    """One of many captions of a scene, the same one every time: "at dusk, a crimson cottage in a meadow"."""
    chance = random.Random(f"{scene.seed} {scene.index}")
    if chance.random() < _PLAIN:
        return scene.caption
    thing, color = (chance.choice(OBJECTS[scene.label]), chance.choice(COLORS[scene.color]))
    place, moment = chance.choice(PLACES[scene.ground]), chance.choice(MOMENTS[scene.time])
    thing, color, place, moment = (
        "" if chance.random() < _LEFT_OUT else part for part in (thing, color, place, moment)
    )
    if chance.random() < _WORDS:
        words = [part for part in (f"{color} {thing}".strip(), _bare(place, scene.ground), _bare(moment, scene.time))]
        chance.shuffle(words)
        return ", ".join(word for word in words if word) or scene.caption
    noun = _with_article(f"{color} {thing}") if thing else (f"something {color}" if color else "")
    order = chance.randrange(4)
    if order == 0 and noun and moment:
        said = f"{moment}, {noun} {place}".strip()
    elif order == 1 and noun and place:
        said = f"{place}, {noun} {moment}".strip()
    elif order == 2:
        said = " ".join(part for part in (noun, moment, place) if part)
    else:
        said = " ".join(part for part in (noun, place, moment) if part)
    if noun and said.startswith(noun) and chance.random() < _OPENED:
        said = chance.choice(_OPENINGS) + said
    if noun and thing and chance.random() < _COUNTED:
        said = said.replace(noun, _counted(noun, chance), 1)
    return said or scene.caption


def vocabulary() -> Vocabulary:
    """The words of all captions, and what they mean."""
    kinds = {"objects": OBJECTS, "colors": COLORS, "grounds": PLACES, "times": MOMENTS}
    return fixed_form(kinds, (*_OPENINGS, "a something", *_ONE, *map(plural, itertools.chain(*OBJECTS.values()))))


def _counted(noun: str, chance: random.Random) -> str:
    """A noun with its article as one of its kind by number, or as several: every image has one."""
    _, _, bare = noun.partition(" ")
    chosen = chance.choice((*_ONE, ""))
    return f"{chosen} {bare}" if chosen else plural(bare)


def _bare(part: str, name: str) -> str:
    """A name for what a part says in several words, if it was not left out."""
    return name if part else ""


def _with_article(noun: str) -> str:
    noun = noun.strip()
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
