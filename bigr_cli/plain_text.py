"""Texts from anywhere: decoded, made fit to be shown and read; and durations and colours as people write them."""

from __future__ import annotations

import codecs
import re
import reprlib
import unicodedata
from dataclasses import fields
from typing import Any

from bigr_cli.errors import ConfigError, UsageError

Background = tuple[int, int, int]
"""Red, green and blue, 0 to 255, of what transparent pixels are composited on."""
WHITE: Background = (255, 255, 255)

_JOINER = "\u200d"  # of emoji; other invisible characters could turn a terminal's line around
_JOINERS = f"\u200c{_JOINER}"  # Persian and other scripts are not written right without the former
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, invisible formatting, half surrogate pairs, line separators
_TAG, _ENTITY = re.compile(r"<(?=[A-Za-z/!?])"), re.compile(r"&(?=#?[A-Za-z0-9]+;)")  # as CommonMark has them
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_NUMBER = r"(\d{1,6}(?:\.\d{1,6})?)"
_TIME = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)  # seconds
_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 4096  # bytes


def plain_text(text: str) -> str:
    """The text in composed characters (NFC), without control characters, with single spaces for all that is blank.

    Bytes that were no UTF-8, which Python reads as halves of surrogate pairs, become U+FFFD.
    """
    kept = []
    for letter in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(letter)
        if kind == "Cs":
            kept.append("\ufffd")
        elif kind in ("Cc", "Zs", "Zl", "Zp"):
            kept.append(" ")
        elif letter.isprintable() or letter == _JOINER:
            kept.append(letter)
    return " ".join("".join(kept).split())


class _Shortened(reprlib.Repr):
    """Sequences by their first three entries, texts by their ends, arrays by their type and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = 3
        self.maxlevel = 2
        self.maxstring, self.maxother = 80, 120

    def repr_instance(self, x: Any, level: int) -> str:
        if hasattr(x, "shape") and hasattr(x, "dtype"):
            return f"<{x.dtype} of {'×'.join(map(str, x.shape)) or 1}>"
        return super().repr_instance(x, level)


def short_repr(value: Any) -> str:
    """The `repr` of a dataclass, with what is long in its fields shortened."""
    shown = (f"{field.name}={_SHORTENED.repr(getattr(value, field.name))}" for field in fields(value) if field.repr)
    return f"{type(value).__qualname__}({', '.join(shown)})"


_SHORTENED = _Shortened()


def is_plain(text: str) -> bool:
    """Whether the text can be shown on a terminal as it is."""
    return text.replace(_JOINER, "").isprintable()


def escaped(text: str, *, keep: str = "") -> str:
    """The text with every character that a terminal acts on, or that hides or reorders others, as a visible escape.

    ESC is shown as ``\\x1b``, a right-to-left override as ``\\u202e``; letters, marks and emoji stay as they are,
    and so do the characters in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or not _unshown(letter) else _escape(letter) for letter in text)


def _unshown(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWN and letter not in _JOINERS


def _escape(letter: str) -> str:
    code = ord(letter)
    numbered = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _NAMED.get(letter, numbered)


def in_markdown(text: str) -> str:
    """The text on one line of Markdown, where nothing in it is HTML, a link, an image or the border of a cell."""
    line = escaped(" ".join(text.split())).replace("|", "\\|").replace("](", "]\\(")
    return _TAG.sub("&lt;", _ENTITY.sub("&amp;", line))


def seconds_of(text: str) -> float:
    """Seconds, of "90s", "30m", "2h", "1h30m", "1d" or, without a letter, seconds. Raises UsageError for others."""
    found = _TIME.fullmatch(text.strip().lower())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, _UNITS, strict=False))
    if seconds <= 0:
        raise UsageError(f"{text[:40]!r} is no time such as 45m, 2h or 1h30m")
    return seconds


def decoded(data: bytes, errors: str = "strict") -> str:
    """The text that bytes are, by their byte order mark; without one UTF-8, or UTF-16 where every other byte is zero.

    Args:
        data: what a file holds.
        errors: what becomes of bytes that are none of it, as in `bytes.decode`.

    Raises:
        UnicodeDecodeError: such bytes, with "strict".
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors if encoding == "utf-8-sig" or errors != "surrogateescape" else "strict")
    start = data[:_LOOKED_AT]
    if data and len(data) % 2 == 0 and b"\0" in start:
        for encoding, zeros, letters in (
            ("utf-16-le", start[1::2], start[::2]),
            ("utf-16-be", start[::2], start[1::2]),
        ):
            if zeros.count(0) > 0.7 * len(zeros) and letters.count(0) < 0.1 * len(letters):
                return data.decode(encoding, errors if errors != "surrogateescape" else "strict")
    return data.decode("utf-8", errors)


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
