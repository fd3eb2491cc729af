"""What a model is to paint, as the command line says it: a class, a text, or nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import Guiding

if TYPE_CHECKING:
    from bigr_cli.core.config import Guide
    from bigr_cli.zoo.config import ModelConfig

GUIDE_OPTIONS = ("class_label", "text", "negative", "guess_class")


@dataclass(frozen=True)
class Guided:
    """What to paint, how that is called ("none" for nothing), and what guidance leads away from."""

    label: "Guide" = None
    name: str = "none"
    against: "Guide" = None


def guided(config: "ModelConfig", guiding: Guiding) -> Guided:
    """What --class, --text and --negative mean for the model.

    Raises:
        UsageError: options that exclude each other, or that the model has no use for.
        UnknownNameError: the model has no such label.
    """
    from bigr_cli.request import name_of, reads_text

    textual = reads_text(config)
    if textual and (guiding.class_label is not None or guiding.guess_class):
        option = "--class" if guiding.class_label is not None else "--guess-class"
        raise UsageError(f"{config.name} reads texts and has no classes for {option}", hint='--text "a red house"')
    if not textual and guiding.text is not None:
        raise UsageError(f"{config.name} knows classes and reads no --text", hint=f"bigr models labels {config.name}")
    if guiding.class_label is not None and guiding.guess_class:
        raise UsageError("--class and --guess-class exclude each other")
    label = guide(config, guiding.text if textual else guiding.class_label)
    return Guided(label, "none" if label is None else name_of(config, label), guide(config, guiding.negative))


def guide(config: "ModelConfig", word: str | None) -> "Guide":
    """What a word or text means for the model; None for none. Warns of a text that is longer than the model reads."""
    from bigr_cli.core.config import BYTES
    from bigr_cli.request import guide_of

    found = guide_of(config, word)
    text = config.generator.text if config.generator else None
    if isinstance(found, str) and text is not None and text.encoder == BYTES:
        extra = len(found.encode("utf-8", "replace")) - text.tokens
        if extra > 0:
            console.warn(f"{config.name} reads {text.tokens} bytes of a text; the last {extra} are not seen")
    return found
