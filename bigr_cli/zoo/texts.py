"""Text encoders by name: what reads the captions of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bigr_cli.core.condition import Texts
from bigr_cli.core.config import BYTES, TextConfig
from bigr_cli.core.text import byte_texts
from bigr_cli.plain_text import plain_text

TextReader = Callable[[Sequence[str]], Texts]


def text_reader(config: TextConfig | None) -> TextReader | None:
    """What turns texts into conditions of a model; None if it has none for texts."""
    if config is None:
        return None
    if config.encoder == BYTES:
        return lambda texts: byte_texts([plain_text(text).lower() for text in texts], config.tokens)
    raise NotImplementedError
