"""Texts from anywhere, made fit to be shown and read."""

import unicodedata

_JOINER = "\u200d"  # of emoji; other invisible characters could turn a terminal's line around


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


def is_plain(text: str) -> bool:
    """Whether the text can be shown on a terminal as it is."""
    return text.replace(_JOINER, "").isprintable()
