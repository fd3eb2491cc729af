"""What is asked of a model, checked against its config before anything heavy is loaded."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bigr_cli import schema
from bigr_cli.core.config import LARGEST_SEED, Guide, SamplingConfig, taken_by
from bigr_cli.errors import ConfigError, UnknownNameError, UsageError
from bigr_cli.imaging.recipe import MOST, Recipe
from bigr_cli.plain_text import plain_text
from bigr_cli.zoo.config import CONFIG_FILE, ModelConfig, read_config
from bigr_cli.zoo.find import find_named
from bigr_cli.zoo.presets import preset
from bigr_cli.zoo.weights import sha256_of

NO_LABEL = "none"
_NETWORK = ("\\\\", "//")  # how paths begin that Windows asks other machines for

Label = str | int | None


@dataclass(frozen=True)
class Job:
    """One picture to be made: `guide` is its label or text for the model, `index` its place in the request.

    `against` is what guidance leads away from; None is no label.
    """

    label: str
    guide: Guide
    seed: int
    index: int
    against: Guide = None


def plan(
    config: ModelConfig,
    labels: Sequence[Label],
    *,
    count: int = 1,
    seed: int | None = None,
    negative: Label = None,
) -> list[Job]:
    """The pictures of a request: `count` of each label or text, picture i with seed + i; one is drawn if there is none.

    Guidance leads away from `negative`.

    Raises:
        UnknownNameError: a label that the model has not; suggests the nearest.
        UsageError: no label, too many pictures, or seeds that do not lie within 0 to 2^63 - 1.
    """
    if not labels or count < 1:
        raise UsageError(f"expected at least one label and a count of at least 1, got {len(labels)} and {count}")
    total = len(labels) * count
    if total > MOST:
        raise UsageError(f"{total:,} pictures are too many at once; the limit is {MOST:,}")
    first = secrets.randbelow(2**32) if seed is None else seed
    if not 0 <= first <= LARGEST_SEED - (total - 1):
        last = f"; {total} pictures use the seeds from it on" if total > 1 else ""
        raise UsageError(f"seed: expected whole numbers from 0 to 2^63 - 1, got {first}{last}")
    wanted = [(name_of(config, guide), guide) for guide in (guide_of(config, label) for label in labels)]
    against = guide_of(config, negative)
    return [
        Job(name, guide, first + place * count + number, place * count + number, against)
        for place, (name, guide) in enumerate(wanted)
        for number in range(count)
    ]


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


def settings(config: ModelConfig, *layers: Mapping[str, object], painting: bool = False) -> SamplingConfig:
    """The model's sampling defaults, with those of each layer that are not None in their place; the last one wins.

    Where `painting`, the defaults are those for parts of a picture that is given. A layer's `preset` stands for several
    settings, which its others go before.

    Raises:
        ConfigError: an unknown setting, a value of the wrong type or out of range, or more than the model can do.
    """
    merged = schema.to_mapping((painting and config.painting) or config.sampling)
    for layer in layers:
        given = {name: value for name, value in layer.items() if value is not None}
        chosen_preset = given.pop("preset", None)
        merged |= ({} if chosen_preset is None else preset(config, chosen_preset, painting=painting)) | given
    chosen = schema.from_mapping(SamplingConfig, merged, source="sampling")
    if config.generator is not None:
        for name, most, why in _limits(config):
            value = getattr(chosen, name)
            if value > most:
                raise ConfigError(f"{name}: expected 1 to {most}, {why} of {config.name}, got {value}")
        return taken_by(config.generator, chosen)
    return chosen


def model_of(recipe: Recipe) -> tuple[str, bool]:
    """The model that a recipe asks for, as --model takes it, and whether its weights are those of the recipe.

    A recipe may come from anywhere, so of a folder that it names the weights files themselves are compared, whatever
    the folder's config says of them. Where they are others, the folder is not to be used unless somebody asks for it;
    `named_model` is what can be used instead.
    """
    for folder in (recipe.folder, recipe.model):
        if folder is not None and _holds(folder, recipe.weights):
            return folder, True
    named = find_named(recipe.model)
    if named is not None and _claims(named, recipe.weights):
        return named_model(recipe) or recipe.model, True
    return recipe.folder or recipe.model, False


def named_model(recipe: Recipe) -> str | None:
    """The model in the user's home or the package that has the name in a recipe, as --model takes it; None if none has.

    It is the model's folder where another one here has the same name, because --model would take that.
    """
    named = find_named(recipe.model)
    if named is None:
        return None
    here = Path(recipe.model)
    return str(named) if _is_model(here) and here.resolve() != named.resolve() else recipe.model


def _claims(directory: Path, weights: Mapping[str, str]) -> bool:
    try:
        return read_config(directory).sha256 == weights
    except UsageError:
        return False


def _holds(folder: str, weights: Mapping[str, str]) -> bool:
    """Whether there is a model folder whose weights files have these hashes."""
    directory = Path(folder).expanduser()
    if folder.startswith(_NETWORK) or not weights or not _is_model(directory):
        return False
    try:
        if not _claims(directory, weights):  # then there is no need to look at large files
            return False
        files = [directory / name for name in read_config(directory).weight_files]
        return {file.name: _digest(file, *_version(file)) for file in files} == weights
    except (UsageError, OSError):
        return False


def _is_model(folder: Path) -> bool:
    try:
        return (folder / CONFIG_FILE).is_file()
    except OSError:  # a name that no folder can have
        return False


def _version(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """The hash of a file of this size and time, computed once however many recipes ask for it."""
    return sha256_of(file)


def _limits(config: ModelConfig) -> Iterator[tuple[str, int, str]]:
    if config.generator is not None:
        yield "steps", max(config.generator.tokens, config.sampling.steps), "one for each token"
        for name in ("timesteps", "rank_timesteps", "last_timesteps"):
            yield name, config.generator.diffusion_timesteps, "as many as in the training"


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
