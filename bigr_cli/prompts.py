"""What a model is to paint, as people say it: a class by name or number, a text, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bigr_cli import console
from bigr_cli.core.config import BYTES, Guide
from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.plain_text import plain_text
from bigr_cli.zoo.config import ModelConfig

NO_LABEL = "none"

Label = str | int | None


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
    found = guide_of(config, label)
    text = config.generator.text if config.generator else None
    if isinstance(found, str) and text is not None and text.encoder == BYTES:
        extra = len(found.encode("utf-8", "replace")) - text.tokens
        if extra > 0:
            console.warn(f"{config.name} reads {text.tokens} bytes of a text; the last {extra} are not seen")
    return found


def reads_text(config: ModelConfig) -> bool:
    """Whether the model is conditioned on texts, not on classes; UsageError if it has no generator."""
    class_count(config)
    return config.generator is not None and config.generator.condition == "text"


def guide_of(config: ModelConfig, label: Label) -> Guide:
    """What a label means for the model: the index of a class, or a text; None is no label.

    Raises:
        UsageError: a number, for a model that reads texts.
        UnknownNameError: the model has no such label.
    """
    if not reads_text(config):
        index = label_index(config, label)
        return None if index == class_count(config) else index
    if label is not None and not isinstance(label, str):
        raise UsageError(f"{config.name} reads texts and has no classes, got the number {label}")
    text = plain_text(label or "")
    return None if text.casefold() in ("", NO_LABEL) else text


def label_index(config: ModelConfig, label: Label) -> int:
    """The class that a label means: a name or a synonym of it, in any case, or the number of a class.

    "none", or None, is no label: the index after the last class.

    Raises:
        UnknownNameError: the model has no such label; suggests the nearest.
    """
    classes = class_count(config)
    if label is None:
        return classes
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label <= classes:
        return label
    text = str(label).strip()
    for find in (_exact, _same, _synonym) if text else ():
        found = find(config.labels, text)
        if found is not None:
            return found
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= classes:
        return int(text)
    if text.casefold() == NO_LABEL:
        return classes
    hint = f"labels of {config.name}: {listing(config)}"
    if len(text.split()) > 2:
        hint = f"{config.name} knows labels, not sentences ({listing(config)}); other models read texts"
    raise UnknownNameError("label", text, config.labels, hint=hint)


def name_of(config: ModelConfig, guide: Guide) -> str:
    """How a class, or a text, is called, so that `guide_of` of it is the same again."""
    if isinstance(guide, str):
        return guide
    classes = class_count(config)
    if guide is None and reads_text(config):
        return NO_LABEL
    class_index = classes if guide is None else guide
    if class_index == classes:
        return str(classes) if _same(config.labels, NO_LABEL) is not None else NO_LABEL
    return config.labels[class_index] if config.labels else str(class_index)


def class_count(config: ModelConfig) -> int:
    """How many classes the model has; UsageError if it has no generator."""
    if config.generator is None:
        raise UsageError(f"{config.name}: is a tokenizer without a generator", hint="bigr train-generator makes one")
    return config.generator.classes


def listing(config: ModelConfig, most: int = 20) -> str:
    """The model's labels in a line, the first of them if there are many."""
    if reads_text(config):
        return "any text"
    classes = class_count(config)
    if not config.labels:
        return f"0 to {classes - 1}"
    more = f" and {classes - most} more" if classes > most else ""
    return ", ".join(config.labels[:most]) + more


def _exact(labels: Sequence[str], text: str) -> int | None:
    return labels.index(text) if text in labels else None


def _same(labels: Sequence[str], text: str) -> int | None:
    return _only(index for index, label in enumerate(labels) if label.casefold() == text.casefold())


def _synonym(labels: Sequence[str], text: str) -> int | None:
    """The label that has the text among its names, such as "tench" in "tench, Tinca tinca"."""
    wanted = text.casefold()
    names = ((index, label.casefold().split(",")) for index, label in enumerate(labels))
    return _only(index for index, parts in names if any(part.strip() == wanted for part in parts))


def _only(found: Iterator[int]) -> int | None:
    """The one index that there is; None if there are several."""
    indices = list(found)
    return indices[0] if len(indices) == 1 else None
