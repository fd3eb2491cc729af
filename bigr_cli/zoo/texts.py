"""Text encoders by name: what reads the captions of a model."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from bigr_cli.core.condition import Texts
from bigr_cli.core.config import BYTES, TextConfig
from bigr_cli.core.text import byte_texts

TextReader = Callable[[Sequence[str]], Texts]


def text_reader(config: TextConfig | None) -> TextReader | None:
    """What turns texts into conditions of a model; None if it has none for texts."""
    if config is None:
        return None
    if config.encoder == BYTES:
        return lambda texts: byte_texts([plain_text(text).lower() for text in texts], config.tokens)
    raise NotImplementedError


def plain_text(text: str) -> str:
    """The text in composed characters (NFC), with single spaces for all that is blank or controls a terminal."""
    kept = ("\ufffd" if unicodedata.category(letter) == "Cs" else letter for letter in text)
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in kept)
    return " ".join(unicodedata.normalize("NFC", plain).split())
