"""What a text asks of a model that knows a fixed set of things: read in its own words, or refused with the reason.

A network that was trained on captions makes an image of any text, also of one whose words it has never seen; the image
then shows something else, and nothing says so. Here every word is either one that the captions had, or read as one, or
named.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from bigr_cli.errors import UnknownWordError, UsageError, nearest
from bigr_cli.vocabulary import KINDS, LEADING, Vocabulary, singulars, split, tokens

_NEAR: dict[str, str] = {
    "cat bird": "dog puppy pet animal fox wolf lion tiger bear rabbit hamster squirrel mouse monkey elephant deer",
    "cat": "horse cow pig sheep goat dinosaur dragon unicorn",
    "bird": "eagle owl duck chicken parrot penguin sparrow swan goose butterfly bee pigeon robin",
    "fish": "shark whale dolphin goldfish salmon octopus turtle crab starfish frog",
    "car": "truck bus van bike bicycle motorcycle train taxi tractor vehicle",
    "boat": "canoe submarine ferry raft",
    "rocket": "plane airplane aeroplane aircraft helicopter ufo satellite jet astronaut",
    "balloon": "kite zeppelin airship ball blimp",
    "house": "building castle church tower barn tent palace city village school bridge",
    "tree": "forest bush wood woods pine oak palm fir cactus",
    "tree flower": "plant leaf garden",
    "flower": "rose tulip daisy sunflower lily",
    "cup": "bottle glass bowl plate teapot jar vase coffee tea",
    "umbrella": "hat raincoat rain",
    "snowman": "person man woman boy girl child robot people human king princess santa",
    "heart": "love circle square triangle diamond ring",
    "star": "planet comet galaxy snowflake",
    "sea": "lake river pond pool waterfall",
    "grass": "park hill hills mountain mountains farm",
    "sand": "island",
    "snow": "ice glacier arctic winter",
    "day": "morning sun summer sky clouds",
    "sunset": "sunrise dawn",
    "night": "moon darkness",
}
_OTHER_COLORS = split(
    "black brown grey gray silver turquoise cyan teal beige magenta maroon lime indigo navy khaki olive lavender lilac"
    " bronze rainbow colorful colourful multicolored multicoloured transparent"
)
_SHADES = split("dark light bright pale deep vivid pastel")
_NATURAL = dict(grass="green", sand="yellow", snow="white", sea="blue", sunset="red orange pink", night="blue")
_GLUE = split(
    "a an the of in on at by with to and or some my our your his her their this that these those it its it's there is"
    " are over near next beside picture image drawing illustration something one 1 single lone"
)
_IGNORED = split(
    "beautiful pretty cute nice lovely little small big large tiny huge old new simple 4k 8k hd uhd detailed highly"
    " masterpiece quality best photorealistic realistic photo photograph photography painting sketch render artstation"
    " trending art digital cartoon flat vector minimalist high resolution very really please show me draw paint"
    " generate make create give want i see sitting standing lying floating flying sailing growing parked sits stands"
    " floats flies grows alone lonely picture's aesthetic cinematic ultra super"
)
_NEGATIONS = split("no not without never nothing except minus non isn't don't doesn't nor neither")
_COUNTS = split(
    "two three four five six seven eight nine ten dozen many several few pair couple group bunch both multiple lots"
    " hundreds flock herd"
)
_LONGEST = 40  # characters of a word in a message
_ASCII_SIGNS = frozenset(",.;:!?\"'()[]{}-/&*+_`~|<>=#\u2019\u2018\u201c\u201d\u2026\u2013\u2014")
_SIGNS = ("So", "Sk", "Sc", "Sm")  # emoji and symbols are words


@dataclass(frozen=True)
class Reading:
    """A text in the model's words, `changed` or not; `lost` says what of it the image will not show."""

    text: str
    changed: bool = False
    lost: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A phrase that means something, and the place of its first word and of the one after it."""

    kind: str
    name: str
    wording: str
    start: int
    stop: int


@dataclass
class _Parsed:
    """What was found in a text, in its order."""

    found: list[_Found] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    plural: str = ""


def read(text: str, vocabulary: Vocabulary, name: str) -> Reading:
    """A text as a model called `name` is to read it, which knows captions of one fixed form.

    Raises:
        UnknownWordError: words that it does not know; with the nearest ones.
        UsageError: what no image of it can show: two objects, a number of them, a negation.
    """
    form = " ".join(text.casefold().split())
    if _is_caption(form, vocabulary):
        return Reading(text)
    words = tokens(unicodedata.normalize("NFKC", text).replace("\ufe0f", ""))
    parsed = _parse(words, vocabulary, name)
    if parsed.unknown:
        raise _unknown(parsed.unknown, vocabulary, name)
    meant, lost = _meaning(parsed, vocabulary, name)
    if not meant:
        hint = f"bigr models labels {name} lists what it knows"
        raise UsageError(f"{text[:100]!r}: says nothing that {name} could show", hint=hint)
    if parsed.plural:
        lost.append(f"it paints one object in an image, not {parsed.plural}")
    if parsed.ignored:
        left_out = list(dict.fromkeys(parsed.ignored))
        lost.append(f"{', '.join(left_out)} {'means' if len(left_out) == 1 else 'mean'} nothing to it")
    return Reading(_sentence(meant, vocabulary), True, tuple(lost))


def strangers(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words of a text that captions of no fixed form did not have; numbers and signs are none."""
    words = [word for word in tokens(text) if word[0].isalpha() or unicodedata.category(word[0]) in _SIGNS]
    return [word for word in dict.fromkeys(words) if word not in vocabulary.known]


def near_words(word: str, vocabulary: Vocabulary) -> list[str]:
    """Up to three words of the vocabulary that come nearest to another: in meaning, or else in letters."""
    names = {name for kind in KINDS for name in vocabulary.wordings(kind)}
    single = singulars(word)
    for known, others in _NEAR.items():
        if vocabulary.formal and not single.isdisjoint(others.split()) and names.issuperset(known.split()):
            return known.split()
    if unicodedata.category(word[0]) in _SIGNS:  # an emoji says what it is
        said = {part.casefold() for part in unicodedata.name(word[0], "").split()}
        found = [name for name in names if name in said or name in {known for part in said for known in _means(part)}]
        return sorted(found)
    if close := sorted(single & vocabulary.known) if not vocabulary.formal else []:
        return close
    phrases = [said[0] for said, (_, _, several) in vocabulary.meanings.items() if len(said) == 1 and not several]
    return nearest(word, phrases if vocabulary.formal else list(vocabulary.words), cutoff=0.66)


def _means(part: str) -> list[str]:
    return [known for kept, others in _NEAR.items() if part in others.split() for known in kept.split()]


def _parse(words: tuple[str, ...], vocabulary: Vocabulary, name: str) -> _Parsed:
    """Every word as a part of a phrase that is known, or by what else it is."""
    phrases, parsed, place = vocabulary.meanings, _Parsed(), 0
    longest = max(map(len, phrases))
    while place < len(words):
        sizes = range(min(longest, len(words) - place), 0, -1)
        size = next((size for size in sizes if words[place : place + size] in phrases), 0)
        word = words[place]
        if size:
            kind, meant, several = phrases[words[place : place + size]]
            after = phrases.get(words[place + size : place + size + 1], ("",))[0]
            if word in _SHADES and after == "colors":
                parsed.ignored.append(word)  # "dark blue"
            else:
                wording = " ".join(words[place : place + size])
                parsed.found.append(_Found(kind, meant, wording, place, place + size))
                parsed.plural = wording if several else parsed.plural
        elif word in _NEGATIONS or word.endswith("n't"):
            rest = _phrase_after(words[place + 1 :], vocabulary)
            hint = f"--negative {rest or 'TEXT'!r} says what an image shall not show"
            raise UsageError(f"{name} does not understand {word!r}: its captions say what there is", hint=hint)
        elif word in _COUNTS or (word.isdigit() and int(word) != 1):
            hint = "-n makes several images of it, with one object each"
            raise UsageError(f"{name} paints one object in an image, not {word!r}", hint=hint)
        elif word in _SHADES or word in _IGNORED:
            parsed.ignored.append(word)
        elif word not in _GLUE and word not in _ASCII_SIGNS:
            parsed.unknown.append(word)
        place += max(1, size)
    return parsed


def _phrase_after(words: tuple[str, ...], vocabulary: Vocabulary) -> str:
    """The first thing that words name, for a hint."""
    phrases = vocabulary.meanings
    return next((phrases[word,][1] for word in words if (word,) in phrases), "")


def _meaning(parsed: _Parsed, vocabulary: Vocabulary, name: str) -> tuple[dict[str, str], list[str]]:
    """The one object, colour, ground and time that a text asks for, and what of it gets lost."""
    meant: dict[str, str] = {}
    lost: list[str] = []
    titles = {"objects": "one object", "colors": "one colour", "grounds": "one ground", "times": "one time of day"}
    for place, (kind, found, wording, _, stop) in enumerate(parsed.found):
        following = parsed.found[place + 1] if place + 1 < len(parsed.found) else None
        if kind == "colors" and following is not None and _is_attribute_of(following, stop):  # "green grass"
            if found in _NATURAL.get(following.name, "").split():
                continue
            message = f"{name} gives a colour to the object, and {wording!r} is said of the {following.name}"
            raise UsageError(message, hint="grass, sand, snow and sea have their own colours")
        if kind == "objects" and meant.get(kind) == found:
            lost.append("it paints one object in an image")
        if meant.setdefault(kind, found) != found:
            hint = "leave one of them out"
            if kind == "objects":
                hint += "; bigr inpaint --text paints another one into the finished image"
            raise UsageError(
                f"{name} shows {titles[kind]} in an image, and the text has {_both(parsed, kind)}", hint=hint
            )
    return meant, lost


def _is_attribute_of(following: _Found, stop: int) -> bool:
    """Whether a word that ends at `stop` belongs to the ground or time after it."""
    if following.kind not in ("grounds", "times") or following.start != stop:
        return False
    return following.wording.split()[0] not in LEADING


def _both(parsed: _Parsed, kind: str) -> str:
    return " and ".join(dict.fromkeys(each.wording for each in parsed.found if each.kind == kind))


def _sentence(meant: dict[str, str], vocabulary: Vocabulary) -> str:
    """The caption of what was meant."""
    color, thing = meant.get("colors", ""), meant.get("objects", "")
    noun = f"{color} {thing}".strip()
    if thing:
        noun = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    elif color:
        noun = f"something {color}"
    where = vocabulary.grounds[meant["grounds"]][0] if "grounds" in meant else ""
    when = vocabulary.times[meant["times"]][0] if "times" in meant else ""
    return " ".join(part for part in (noun, where, when) if part)


def _unknown(words: list[str], vocabulary: Vocabulary, name: str) -> UsageError:
    """The error about words that a model does not know."""
    words = [word[:_LONGEST] for word in dict.fromkeys(words)]
    colors = [word for word in words if word in _OTHER_COLORS]
    hint = f"bigr models labels {name} lists what it knows"
    if colors:
        known = ", ".join(vocabulary.colors)
        message = f"{' and '.join(map(repr, colors))} is not among the colours that {name} knows: {known}"
        others = [word for word in words if word not in colors]
        return UnknownWordError(
            message + (f"; nor does it know {', '.join(others)}" if others else ""), words, hint=hint
        )
    near = list(dict.fromkeys(known for word in words[:3] for known in near_words(word, vocabulary)))[:4]
    some = ", ".join(map(repr, words[:5])) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
    message = f"{some} {'is' if len(words) == 1 else 'are'} not among the words that {name} knows"
    if near:
        message += f"; nearest: {', '.join(near)}"
    else:
        hint = f"it knows {', '.join(vocabulary.objects)}; {hint}"
    if any(not letter.isascii() and letter.isalpha() for word in words for letter in word):
        hint = f"its captions were English; {hint}"
    return UnknownWordError(message, words, near, hint=hint)


def _is_caption(form: str, vocabulary: Vocabulary) -> bool:
    """Whether a text has the form that captions of a fixed form have: see `data.scenes.description.phrase`."""
    wordings = tuple(tuple(_wordings(vocabulary, kind)) for kind in KINDS)
    return bool(_grammar(wordings).fullmatch(form)) or _is_list(form, vocabulary)


def _wordings(vocabulary: Vocabulary, kind: str) -> list[str]:
    return [wording for wordings in vocabulary.wordings(kind).values() for wording in wordings]


@lru_cache(maxsize=4)
def _grammar(wordings: tuple[tuple[str, ...], ...]) -> re.Pattern[str]:
    """Sentences: "at dusk, a crimson cottage in a meadow"."""
    thing, color, place, moment = ("|".join(map(re.escape, kind)) or "(?!)" for kind in wordings)
    noun = f"(?:an? (?:(?:{color}) )?(?:{thing})|something (?:{color}))"
    opened = f"(?:(?:a picture of |an illustration of |a drawing of |there is )?{noun})"
    both = f"(?: (?:{place}))?(?: (?:{moment}))?|(?: (?:{moment}))?(?: (?:{place}))?"
    return re.compile(
        f"(?:{moment}), {noun}(?: (?:{place}))?|(?:{place}), {noun}(?: (?:{moment}))?|{opened}(?:{both})"
        f"|(?:{place})(?: (?:{moment}))?|(?:{moment})(?: (?:{place}))?"
    )


def _is_list(form: str, vocabulary: Vocabulary) -> bool:
    """Whether a text is words with commas between them, one of a kind: "night, red house, grass"."""
    kinds: list[str] = []
    for part in form.split(", "):
        first, _, rest = part.partition(" ")
        if rest and first in _wordings(vocabulary, "colors") and rest in _wordings(vocabulary, "objects"):
            kinds += ["colors", "objects"]
            continue
        names = {"objects": _wordings(vocabulary, "objects"), "colors": _wordings(vocabulary, "colors")}
        names |= {"grounds": list(vocabulary.grounds), "times": list(vocabulary.times)}
        kinds.append(next((kind for kind, known in names.items() if part in known), ""))
    return "" not in kinds and len(set(kinds)) == len(kinds)
