"""What a model is to paint, as people say it: a class, a text, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigr_cli import console
from bigr_cli.core.config import BYTES, Guide
from bigr_cli.errors import UsageError

if TYPE_CHECKING:
    from bigr_cli.request import Label
    from bigr_cli.zoo.config import ModelConfig


def prompt(
    config: ModelConfig,
    *,
    class_label: Label = None,
    text: str | None = None,
    guess: bool = False,
    required: bool = False,
) -> Guide:
    """What --class or --text means for the model.

    Raises:
        UsageError: options that exclude each other, that the model has no use for, or none where one is `required`.
        UnknownNameError: the model has no such label.
    """
    from bigr_cli.request import reads_text

    textual = reads_text(config)
    if textual and (class_label is not None or guess):
        option = "--class" if class_label is not None else "--guess-class"
        raise UsageError(f"{config.name} reads texts and has no classes for {option}", hint='--text "a red house"')
    if not textual and text is not None:
        raise UsageError(f"{config.name} knows classes and reads no --text", hint=f"bigr models labels {config.name}")
    if class_label is not None and guess:
        raise UsageError("--class and --guess-class exclude each other")
    if required and class_label is None and text is None:
        option = "--text" if textual else "--class"
        raise UsageError(f"no {option[2:]} given", hint=f"{option} says what to paint")
    return guide(config, text if textual else class_label)


def guide(config: ModelConfig, label: Label) -> Guide:
    """What a label or text means for the model; None for none. Warns of a text that is longer than the model reads."""
    from bigr_cli.request import guide_of

    found = guide_of(config, label)
    text = config.generator.text if config.generator else None
    if isinstance(found, str) and text is not None and text.encoder == BYTES:
        extra = len(found.encode("utf-8", "replace")) - text.tokens
        if extra > 0:
            console.warn(f"{config.name} reads {text.tokens} bytes of a text; the last {extra} are not seen")
    return found
