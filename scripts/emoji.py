"""Draw the emoji of a font as a data set with their names as captions: python scripts/emoji.py -o emoji

Debian: apt install fonts-noto-color-emoji unicode-data. Without unicode-data, flags, families and couples are left out.

emoji/images/         1f436.png, 64 x 64 on white, and 1f436.txt with its name: what to train on
emoji/held-out/       those of compositions that are kept apart, such as "thumbs up sign: medium skin tone"
emoji/compositions.txt  64 prompts whose parts are among the captions, and which themselves are not

A single character is called by its Unicode name, with a skin tone by that and the tone; other sequences as
emoji-test.txt calls them, or without it by the names of their characters.
"""

import argparse
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
TEST_DATA = Path("/usr/share/unicode/emoji/emoji-test.txt")
STRIKE = 109  # the one size that the font's bitmaps have
SIDE = 64

TONES = {
    chr(0x1F3FB + number): f"{name} skin tone"
    for number, name in enumerate(("light", "medium-light", "medium", "medium-dark", "dark"))
}
JOINER, SELECTOR = "\u200d", "\ufe0f"
GENDERS = ("\u2640", "\u2642")
PEOPLE = ("\U0001f468", "\U0001f469", "\U0001f9d1")
RANGES = (range(0xA9, 0xAF), range(0x203C, 0x329A), range(0x1F000, 0x1FB00))

TONED, FACES = 40, 24
EXPRESSIONS = (
    *("grinning {} face with smiling eyes", "{} face with tears of joy", "smiling {} face with heart-shaped eyes"),
    *("{} face with wry smile", "kissing {} face with closed eyes", "pouting {} face", "crying {} face"),
    "weary {} face",
)
ANIMALS = (
    *("dog", "wolf", "bear", "panda", "fox", "lion", "tiger", "rabbit", "mouse", "hamster", "frog", "monkey", "pig"),
    *("cow", "dragon", "horse", "unicorn"),
)


class Emoji:
    """The emoji that a font draws as one glyph."""

    def __init__(self, font: Path) -> None:
        self._font = ImageFont.truetype(str(font), STRIKE)
        self._advance = self._font.getlength("\U0001f600")
        self.sequences = features.check("raqm")  # without it, Pillow draws the characters of a sequence one by one

    def has(self, text: str) -> bool:
        """Whether the font has one glyph for all of the text."""
        if len(text.replace(SELECTOR, "")) > 1 and not self.sequences:
            return False
        mask = self._font.getlength(text) == self._advance and self._font.getmask(text, mode="RGBA").getbbox()
        return bool(mask)

    def draw(self, text: str) -> Image.Image:
        """The glyph in the middle of a white square, scaled to 64 pixels."""
        left, top, right, bottom = map(int, self._font.getbbox(text))
        glyph = Image.new("RGBA", (right - left, bottom - top))
        ImageDraw.Draw(glyph).text((-left, -top), text, font=self._font, embedded_color=True)
        side = max(glyph.size)
        square = Image.new("RGBA", (side, side), "white")
        square.alpha_composite(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
        return square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def character_name(character: str) -> str:
    """The Unicode name in small letters; "" if this Python's Unicode has none."""
    return TONES.get(character) or unicodedata.name(character, "").lower()


def listed(path: Path) -> dict[str, str]:
    """The sequences of emoji-test.txt, fully qualified, and their names."""
    line = re.compile(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E[\d.]+ (.+)")
    found = (line.fullmatch(text) for text in path.read_text(encoding="utf-8").splitlines())
    return {"".join(chr(int(code, 16)) for code in each[1].split()): each[2].lower() for each in found if each}


def possible(emoji: Emoji) -> Iterator[str]:
    """What may be an emoji: characters, with skin tones, genders, and people with a thing that says what they do."""
    codes = (chr(code) for each in RANGES for code in each)
    singles = [each for each in codes if unicodedata.category(each) in ("So", "Sm", "Po") and emoji.has(each)]
    yield from singles
    people = [single for single in singles if emoji.has(single + min(TONES))]
    yield from ("".join(pair) for pair in product(people, TONES))
    for each, tone, gender in product(people, ("", *TONES), GENDERS):
        yield f"{each}{tone}{JOINER}{gender}{SELECTOR}"
    things = [each for each in singles if emoji.has(f"{PEOPLE[0]}{JOINER}{each}")]
    for person, tone, thing in product(PEOPLE, ("", *TONES), things):
        yield f"{person}{tone}{JOINER}{thing}"


def caption(text: str, names: dict[str, str]) -> str:
    """What an emoji is called; "" if a part of it has no name."""
    plain = text.replace(SELECTOR, "")
    if len(plain) == 1:
        return character_name(plain)
    if len(plain) == 2 and plain[1] in TONES:
        base = character_name(plain[0])
        return base and f"{base}: {TONES[plain[1]]}"
    if text in names:
        return names[text]
    parts = [character_name(each) for each in plain if each != JOINER]
    return ", ".join(parts) if all(parts) else ""


def drawable(emoji: Emoji, names: dict[str, str]) -> tuple[dict[str, str], Counter[str]]:
    """Emoji by caption, in the order of their codes; and how many are left out, by the reason."""
    found: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for text in sorted(names or possible(emoji), key=lambda text: [ord(each) for each in text]):
        if not emoji.has(text):
            if names:
                several = len(text.replace(SELECTOR, "")) > 1 and not emoji.sequences
                left_out["sequences, which Pillow draws with libraqm only" if several else "not in the font"] += 1
        elif not (said := caption(text, names)):
            left_out[f"without a name in Unicode {unicodedata.unidata_version}, which this Python has"] += 1
        elif said in found:
            left_out["called as another one"] += 1
        else:
            found[said] = text
    return found, left_out


def held_out(captions: list[str]) -> list[str]:
    """Emoji with a skin tone, each of another kind; the same kind with two other tones stays among the captions."""
    tones = set(TONES.values())
    bases: dict[str, list[str]] = {}
    for each in captions:
        base, colon, tone = each.partition(": ")
        if colon and tone in tones:
            bases.setdefault(base, []).append(each)
    whole = [base for base, each in bases.items() if len(each) == len(TONES)]
    chosen = sorted(whole, key=lambda base: hashlib.sha256(base.encode()).digest())[:TONED]
    return [bases[base][number % len(TONES)] for number, base in enumerate(chosen)]


def unseen_faces(captions: set[str]) -> list[str]:
    """Animals with the expressions that only cats have, if both are among the captions and they together are not."""
    expressions = [each for each in EXPRESSIONS if each.format("cat") in captions]
    animals = [each for each in ANIMALS if f"{each} face" in captions]
    pairs = [
        (expression, animals[(3 * number + more) % len(animals)])
        for number, expression in enumerate(expressions)
        for more in range(min(3, len(animals)))
    ]
    made = [expression.format(animal) for expression, animal in pairs]
    return [each for each in dict.fromkeys(made) if each not in captions][:FACES]


def write(emoji: Emoji, text: str, said: str, folder: Path) -> None:
    """An image and its caption."""
    name = "-".join(f"{ord(each):x}" for each in text)
    emoji.draw(text).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text(f"{said}\n", encoding="utf-8")


def main() -> None:
    """Draw all, and say how many there are and what is left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("emoji"), metavar="DIR", help="a folder, new or empty"
    )
    parser.add_argument("--font", type=Path, default=FONT, help=f"a font with bitmaps of {STRIKE} pixels")
    parser.add_argument("--names", type=Path, default=TEST_DATA, help="Unicode's emoji-test.txt, used if it is there")
    chosen = parser.parse_args()
    if not chosen.font.is_file():
        parser.error(f"{chosen.font}: no such font; on Debian: apt install fonts-noto-color-emoji")
    if chosen.output.exists() and (not chosen.output.is_dir() or any(chosen.output.iterdir())):
        parser.error(f"{chosen.output}: is there already; -o names another folder")
    emoji = Emoji(chosen.font)
    names = listed(chosen.names) if chosen.names.is_file() else {}
    found, left_out = drawable(emoji, names)
    apart = set(held_out(list(found)))
    training = [said for said in found if said not in apart]
    compositions = [*sorted(apart), *unseen_faces(set(found))]
    images, kept = chosen.output / "images", chosen.output / "held-out"
    for folder in (images, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for said, text in found.items():
        write(emoji, text, said, kept if said in apart else images)
    (chosen.output / "compositions.txt").write_text("".join(f"{each}\n" for each in compositions), encoding="utf-8")
    print(f"{images}: {len(training):,} emoji with their names")
    print(f"{kept}: {len(apart)} emoji that are not trained on")
    print(f"{chosen.output / 'compositions.txt'}: {len(compositions)} compositions that are in no caption")
    for reason, count in left_out.most_common():
        print(f"left out: {count:,} {reason}")
    if not names:
        print(f"left out: flags, families and couples, as there is no {chosen.names}")


if __name__ == "__main__":
    main()
