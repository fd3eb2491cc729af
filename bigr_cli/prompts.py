"""What a model is to paint, as people say it: a class by name or number, a text, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from bigr_cli import console
from bigr_cli.core.architectures import BYTES
from bigr_cli.core.config import Prompt
from bigr_cli.errors import UnknownNameError, UsageError, nearest
from bigr_cli.plain_text import is_plain, plain_text
from bigr_cli.text_reading import near_words, read, strangers
from bigr_cli.vocabulary import Vocabulary
from bigr_cli.zoo.config import ModelConfig, shortened

NO_LABEL = "none"
ALL = "all"
_READER = "-m scenes-64-text reads texts of scenes"

Label = str | int | None


def prompt_from_options(
    config: ModelConfig,
    *,
    class_label: Label = None,
    text: str | None = None,
    guess: bool = False,
    required: bool = False,
) -> Prompt:
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
        hint = f"--class, of those that bigr models labels {config.name} lists; or {_READER}"
        raise UsageError(f"{config.name} knows classes and reads no --text", hint=hint)
    if class_label is not None and guess:
        raise UsageError("--class and --guess-class exclude each other")
    if required and class_label is None and text is None:
        option = "--text" if textual else "--class"
        raise UsageError(f"no {option[2:]} given", hint="--prompt says what to paint")
    return read_prompt(config, text if textual else class_label)


def read_prompt(config: ModelConfig, label: Label) -> Prompt:
    """What a label or text means for the model; None for none. Warns of a text that is longer than the model reads."""
    found = prompt_of(config, label)
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


def prompt_of(config: ModelConfig, label: Label) -> Prompt:
    """What a label means for the model: the index of a class, or a text in its own words; None is no label.

    Raises:
        UsageError: a number, for a model that reads texts, or what no image of it can show.
        UnknownWordError: a text with words that it does not know.
        UnknownNameError: the model has no such label.
    """
    if not reads_text(config):
        index = label_index(config, label)
        return None if index == class_count(config) else index
    if label is not None and not isinstance(label, str):
        raise UsageError(f"{config.name} reads texts and has no classes, got the number {label}")
    text = plain_text(label or "")
    return None if text.casefold() in ("", NO_LABEL) else _in_own_words(config, text)


def every_label(config: ModelConfig, labels: Sequence[Label], *, named: bool = False) -> Sequence[Label]:
    """Labels, where "all" stands for every one that the model has.

    It does not where one of the labels is called so, unless it is `named` by an option of its own, nor for a model that
    reads texts. UsageError where it stands beside other labels.
    """
    if reads_text(config) or (ALL in config.labels and not named):
        return labels
    others = [label for label in labels if str(label).casefold() != ALL]
    if not others and labels:
        return [label for _ in labels for label in range(class_count(config))]
    if len(others) < len(labels):
        hint = f"bigr generate all, or bigr generate {quote(str(others[0]))}"
        raise UsageError(f"all is every label, {others[0]} among them", hint=hint)
    return labels


def warn_of_contradiction(config: ModelConfig, prompt: Prompt, negative: Prompt) -> None:
    """Warn where guidance leads away from what is asked for."""
    if prompt is not None and prompt == negative:
        name = name_of(config, prompt)
        console.warn(f"{name!r} is asked for, and is the negative prompt too: each takes back the other", once=True)


def _in_own_words(config: ModelConfig, text: str) -> str:
    """A text as the model's captions would say it; words that they did not have are said, or an error.

    Raises:
        UnknownWordError, UsageError: see `text_reading.read`.
    """
    generator, vocabulary = config.generator, config.vocabulary
    if generator is None or generator.text is None or vocabulary is None:
        return text
    own = generator.text.encoder == BYTES  # others were trained on more than these captions
    if own and vocabulary.formal:
        reading = read(text, vocabulary, config.name)
        said = f"{config.name} reads {shortened(text)} as {reading.text!r}"
        if reading.lost:
            console.warn(f"{said}: {'; '.join(reading.lost)}", once=True)
        elif reading.changed:
            console.say(said, once=True)
        return reading.text
    words = strangers(text, vocabulary)
    if words and own:
        console.warn(_of_strangers(config.name, words, vocabulary), once=True)
    elif words:
        console.detail(_of_strangers(config.name, words, vocabulary))
    return text


def _of_strangers(name: str, words: Sequence[str], vocabulary: Vocabulary) -> str:
    known = f"the {len(vocabulary.words):,} {'most frequent ' if vocabulary.more else ''}words of its captions"
    near = list(dict.fromkeys(found for word in words[:3] for found in near_words(word, vocabulary)))[:4]
    some = ", ".join(map(repr, words[:5])) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    return f"{name}: {some} {'is' if len(words) == 1 else 'are'} not among {known}{nearest}"


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
    near = nearest(text, config.labels)
    hint = f"labels of {config.name}: {listing(config)}"
    if len(text.split()) > 1 and not any(len(label.split(",")[0].split()) > 1 for label in near):
        hint = f"{config.name} knows labels, not sentences ({listing(config)}); {_READER}"
    raise UnknownNameError("label", text, config.labels, hint=hint)


def name_of(config: ModelConfig, prompt: Prompt) -> str:
    """How a class, or a text, is called, so that `prompt_of` of it is the same again."""
    if isinstance(prompt, str):
        return prompt
    classes = class_count(config)
    if prompt is None and reads_text(config):
        return NO_LABEL
    class_index = classes if prompt is None else prompt
    if class_index == classes:
        return str(classes) if _same(config.labels, NO_LABEL) is not None else NO_LABEL
    name = config.labels[class_index] if config.labels else str(class_index)
    if not is_plain(name):  # no recipe can have it
        hint = "its config.yaml names the classes"
        raise UsageError(
            f"{config.name}: label {class_index}, {name!r}, has characters that cannot be shown", hint=hint
        )
    return name


def class_count(config: ModelConfig) -> int:
    """How many classes the model has; UsageError if it has no generator."""
    if config.generator is None:
        raise UsageError(f"{config.name}: is a tokenizer without a generator", hint="bigr train-generator makes one")
    return config.generator.classes


def listing(config: ModelConfig, most: int = 20) -> str:
    """The model's labels in a line, the first of them if there are many."""
    if reads_text(config):
        known = config.vocabulary
        return f"texts of {', '.join(known.objects)}" if known is not None and known.formal else "any text"
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
