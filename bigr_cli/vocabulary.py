"""Which words the captions had that a model was trained on, as its config notes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bigr_cli.core.config import require
from bigr_cli.plain_text import short_repr

MOST_WORDS = 2_000
MOST_CAPTIONS = 50_000  # that are read for them
_LONGEST = 40  # characters of a word
_LIMIT = 20_000  # words of a config that somebody else wrote
_TOKEN = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*|[^\w\s]")


def split(text: str) -> frozenset[str]:
    """Words that stand in a text with spaces between them."""
    return frozenset(text.split())


LEADING = split("a an the on in at by over under during")
Wordings = dict[str, tuple[str, ...]]  # of each name, the one that captions prefer first
KINDS = ("objects", "colors", "grounds", "times")

# Other wordings of what scenes call a house, a boat and so on, none of which their captions have.
SYNONYMS: dict[str, dict[str, str]] = {
    "objects": {
        "house": "cabin, hut, bungalow, villa",
        "boat": "yacht, sailing boat, sail boat, sailing ship, dinghy",
        "car": "auto, motorcar, motor car",
        "cat": "kitty, tomcat, pussycat, house cat",
        "flower": "bloom",
        "mushroom": "toad stool",
        "rocket": "rocket ship, rocketship, space ship, spacecraft, space rocket",
        "balloon": "hot air balloon, air balloon",
        "heart": "love heart, heart shape",
        "cup": "teacup, tea cup, coffee cup, coffee mug, tea mug",
        "umbrella": "brolly, sunshade",
        "snowman": "snow man",
    },
    "colors": {"red": "scarlet", "yellow": "gold", "white": "snow-white"},
    "grounds": {
        "grass": "field, grassland, grassy field, grassy",
        "sand": "seaside, seashore, shore, sandy, dunes",
        "snow": "snowy",
        "sea": "waves",
    },
    "times": {
        "day": "daytime, sunny, noon, midday, afternoon",
        "sunset": "sundown, twilight",
        "night": "nighttime, night time, midnight, starry, starry night, starry sky, moonlight, moonlit",
    },
}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words of training captions.

    `words` are all of them, or the most frequent ones and `more` others. Captions of one fixed form ("a red house on
    grass at night") have their wordings by what they mean as well; a text of another form is then read as one of these,
    and one that means something else is refused.
    """

    words: tuple[str, ...] = ()
    more: int = 0
    objects: Wordings = field(default_factory=dict)
    colors: Wordings = field(default_factory=dict)
    grounds: Wordings = field(default_factory=dict)
    times: Wordings = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require(len(self.words) <= _LIMIT, f"words: expected at most {_LIMIT:,}, got {len(self.words):,}")
        require(self.more >= 0, f"more: expected 0 or more, got {self.more}")
        require(all(map(str.strip, self.words)), "words: one of them is empty")
        for kind in KINDS:
            for name, wordings in self.wordings(kind).items():
                require(bool(name.strip()) and all(map(str.strip, wordings)), f"{kind}: one of them is empty")

    @property
    def formal(self) -> bool:
        """Whether captions have one fixed form, and what they mean is known."""
        return bool(self.objects)

    def wordings(self, kind: str) -> Wordings:
        """Those of one of `KINDS`."""
        found: Wordings = getattr(self, kind)
        return found

    @cached_property
    def known(self) -> frozenset[str]:
        """Every word, to look one up."""
        return frozenset(self.words)

    @cached_property
    def phrases(self) -> dict[tuple[str, ...], tuple[str, str]]:
        """What sequences of words mean, as (kind, name): each wording, and what it is without "on", "the" and so on."""
        found: dict[tuple[str, ...], tuple[str, str]] = {}
        things = {word for name, wordings in self.objects.items() for word in (name, *wordings)}
        for kind in KINDS:
            for name, wordings in self.wordings(kind).items():
                for wording in (name, *wordings):
                    parts = tokens(wording)
                    bare = parts
                    while bare and bare[0] in LEADING:
                        bare = bare[1:]
                    found[parts] = (kind, name)
                    if bare and singulars(" ".join(bare)).isdisjoint(things):
                        found.setdefault(bare, (kind, name))
        return found

    @cached_property
    def meanings(self) -> dict[tuple[str, ...], tuple[str, str, bool]]:
        """What sequences of words mean, with synonyms and plurals: (kind, name, whether it is a plural)."""
        found = {words: (kind, name, False) for words, (kind, name) in self.phrases.items()}
        for kind in KINDS:
            for name, wordings in self.synonyms(kind).items():
                for wording in wordings:
                    found.setdefault(tokens(wording), (kind, name, False))
        for words, (kind, name, _) in list(found.items()):
            if kind == "objects":
                found.setdefault((*words[:-1], plural(words[-1])), (kind, name, True))
        return found

    def synonyms(self, kind: str) -> Wordings:
        """Wordings of one of `KINDS` that captions do not have, and that mean the same."""
        mine = self.wordings(kind)
        return {name: tuple(said.split(", ")) for name, said in SYNONYMS[kind].items() if name in mine}


def tokens(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, and every other sign by itself."""
    return tuple(_TOKEN.findall(text.casefold()))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case; signs and numbers are none."""
    return tuple(word for word in tokens(text) if word[0].isalpha() and len(word) <= _LONGEST)


def counted(captions: Iterable[str]) -> Vocabulary:
    """The vocabulary of captions, of which at most `MOST_CAPTIONS` are looked at; without any, an empty one."""
    counts: Counter[str] = Counter()
    for _, caption in zip(range(MOST_CAPTIONS), captions, strict=False):
        counts.update(words_of(caption))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
    return Vocabulary(words=tuple(sorted(frequent)), more=max(0, len(counts) - MOST_WORDS))


def fixed_form(kinds: Mapping[str, Wordings], others: Iterable[str]) -> Vocabulary:
    """The vocabulary of captions that are made of these wordings by `KINDS`, and of the words in `others`."""
    wordings = [word for found in kinds.values() for name, each in found.items() for word in (name, *each)]
    words = {word for text in (*wordings, *others) for word in words_of(text)}
    objects, colors, grounds, times = (dict(kinds[kind]) for kind in KINDS)
    return Vocabulary(words=tuple(sorted(words)), objects=objects, colors=colors, grounds=grounds, times=times)


def plural(noun: str) -> str:
    """The plural of an English noun: "cats", "snowmen", "fishes"."""
    if noun.endswith("man"):
        return f"{noun[:-3]}men"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "sh", "ch", "x", "z")) else f"{noun}s"


def singulars(noun: str) -> set[str]:
    """What an English noun may be the plural of, and itself."""
    found = {noun}
    for ending, single in (("men", "man"), ("ies", "y"), ("es", ""), ("s", "")):
        if noun.endswith(ending) and len(noun) > len(ending) + 1:
            found.add(noun.removesuffix(ending) + single)
    return found
