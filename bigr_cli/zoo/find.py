"""Where models are: by name, by folder, or by the hashes of their weights. Nothing here imports torch.

Recipes and indexes, which may come from anywhere, name models with hashes. A model in the user's home or the package is
known by its name. A folder that such a file names is taken only if the weights files in it have the hashes, whatever
the folder's config says of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli import home
from bigr_cli.errors import ConfigError, ModelError, UnknownNameError, UsageError
from bigr_cli.files import atomic_write, reading, writing
from bigr_cli.plain_text import short_repr
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.zoo.config import CONFIG_FILE, ModelConfig, check_name, read_config
from bigr_cli.zoo.sizes import stored_parameters

if TYPE_CHECKING:
    from bigr_cli.recipe import Recipe

DEFAULT_MODEL = "scenes-64"
MODEL_VARIABLE = "BIGR_MODEL"
_TRAININGS = ("train.yaml", "training.yaml")  # what folders of trainings have
LIST_HINT = "bigr models list shows the models there are"
_NETWORK = ("\\\\", "//")  # how paths begin that Windows asks other machines for


@dataclass(frozen=True)
class Entry:
    """A model folder that has a name.

    `where` is "home" or "packaged"; `state` is "ready", "tokenizer only", "to be pulled" (a card whose weights
    `bigr models pull` brings), "no weights" (nothing says where they are) or "broken", and then `problem` says why and
    `config` is None. `size` counts the bytes of the weights.
    """

    name: str
    directory: Path
    where: str
    state: str
    size: int
    config: ModelConfig | None = field(default=None, repr=False)
    problem: str = ""

    __repr__ = short_repr

    @property
    def parameters(self) -> int | None:
        """How many the whole model has; None if that is not known."""
        parts = self.part_parameters
        wanted = len(self.config.weight_files) if self.config else 0
        return sum(parts.values()) if parts and len(parts) == wanted else None

    @property
    def part_parameters(self) -> Mapping[str, int]:
        """How many "tokenizer" and "generator" have, as far as that is known."""
        return stored_parameters(self.directory, self.config) if self.config else {}


def home_models() -> Path:
    """The folder of the user's own models; it need not exist yet."""
    return home.data_dir() / "models"


def packaged_models() -> Path:
    """The folder of the models that come with the package: inside it once installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def default_model() -> str:
    """The model that is used if none is named: by BIGR_MODEL, by what `set_default_model` noted, or scenes-64."""
    chosen = os.environ.get(MODEL_VARIABLE)
    if not chosen:
        try:
            chosen = _default_file().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            chosen = ""
    return chosen or DEFAULT_MODEL


def set_default_model(name_or_dir: str) -> str:
    """Note in the user's home which model is used if none is named; gives what was noted.

    Raises:
        ModelError: there is no such model.
        RunError: the note cannot be written.
    """
    folder = find_model(name_or_dir)
    noted = str(folder.resolve()) if folder == Path(name_or_dir).expanduser() else name_or_dir
    file = _default_file()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_text(noted + "\n", encoding="utf-8")
    return noted


def _default_file() -> Path:
    return home.data_dir() / "default-model"


def find_model(name_or_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a model.

    Args:
        name_or_dir: a folder, or the name of a model in the user's home or in the package; None is the default model.

    Raises:
        ModelError: the folder is not a model folder.
        UnknownNameError: there is no model of that name; the message suggests the nearest.
    """
    wanted = default_model() if name_or_dir is None else os.fspath(name_or_dir)
    folder = Path(wanted).expanduser()
    with reading(wanted, ModelError, hint=LIST_HINT):  # a name too long for any file, a folder that is closed
        if wanted and (folder / CONFIG_FILE).is_file():
            return folder
    named = {name: directory for name, directory, _ in _named()}
    if wanted in named:
        return named[wanted]
    if wanted and any((folder / name).is_file() for name in _TRAININGS):
        hint = "the first model comes with the first samples, after 10 steps, or with the first validation"
        raise ModelError(f"{wanted}: is a training that has not written a model yet", hint=hint)
    if wanted and folder.is_dir():
        raise ModelError(f"{wanted}: is not a model folder: it has no {CONFIG_FILE}", hint=LIST_HINT)
    if wanted and folder.is_file():
        raise ModelError(f"{wanted}: is a file, not a model folder", hint=LIST_HINT)
    if wanted.count("/") == 1 and "\\" not in wanted and not folder.parent.is_dir():
        hint = f"{LIST_HINT}; bigr models pull {wanted} fetches it if it is one of a hub"
        raise UnknownNameError("model", wanted, named, hint=hint)
    raise UnknownNameError("model", wanted, named, hint=LIST_HINT)


def find_named(name: str) -> Path | None:
    """The folder of a model in the user's home or the package, by its name alone; None if there is none."""
    return {known: directory for known, directory, _ in _named()}.get(name)


def list_models() -> list[Entry]:
    """All models that have a name: those in the user's home, then those in the package that none of these hides."""
    return [_entry(name, directory, where) for name, directory, where in _named()]


def find_card(name: str) -> ModelConfig:
    """The config of a packaged model that can be pulled, whatever the user's home has.

    Raises:
        UnknownNameError: there is no such model; the message suggests the nearest.
        ModelError: there is, but it has its weights already.
    """
    root = packaged_models()
    cards = {folder.name: folder for folder in _folders(root) if (folder / CONFIG_FILE).is_file()}
    if name not in cards:
        raise UnknownNameError(
            "model", name, cards, hint="bigr models list shows them; one of a hub is named owner/repository"
        )
    config = read_config(cards[name])
    if config.source is None:
        raise ModelError(f"{name}: comes with its weights; there is nothing to pull")
    return config


def describe_model(directory: Path) -> Entry:
    """What `list_models` says about a model, for the folder of any model."""
    where = next((where for _, found, where in _named() if found == directory), "folder")
    return _entry(directory.resolve().name, directory, where)


def _named() -> Iterator[tuple[str, Path, str]]:
    seen = set()
    for root, where in ((home_models(), "home"), (packaged_models(), "packaged")):
        for directory in _folders(root):
            name = directory.name
            if name not in seen and _is_name(name) and _has_config(directory):
                seen.add(name)
                yield name, directory, where


def _folders(root: Path) -> list[Path]:
    with reading(root, hint=f"see {home.HOME_VARIABLE}"):
        return sorted(root.iterdir()) if root.is_dir() else []


def _has_config(directory: Path) -> bool:
    """Whether a folder has a config; one that cannot be looked into counts as one, which is broken."""
    try:
        return (directory / CONFIG_FILE).is_file()
    except OSError:
        return True


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ConfigError:
        return False
    return True


def _entry(name: str, directory: Path, where: str) -> Entry:
    """What is known of a model; whatever is wrong with its folder, the others are listed as usual."""
    try:
        config = read_config(directory)
        files = [directory / file for file in config.weight_files]
        size = sum(file.stat().st_size for file in files if file.is_file())
        whole = all(file.is_file() for file in files)
    except ModelError as error:
        return Entry(name, directory, where, "broken", 0, problem=str(error))
    except OSError as error:
        reason = f"{directory}: cannot be read: {error.strerror or error}"
        return Entry(name, directory, where, "broken", 0, problem=reason)
    if not whole:
        state = "to be pulled" if config.source else "no weights"
    else:
        state = "ready" if config.generator else "tokenizer only"
    return Entry(name, directory, where, state, size, config)


def model_of(recipe: Recipe) -> tuple[str, bool]:
    """The model that a recipe asks for, as --model takes it, and whether its weights are those of the recipe.

    Where they are others, a folder that the recipe names is not to be used unless somebody asks for it.
    """
    found = model_with_weights(recipe.model, recipe.folder, recipe.weights)
    return (recipe.folder or recipe.model, False) if found is None else (found, True)


def model_with_weights(name: str, folder: str | None, weights: Mapping[str, str]) -> str | None:
    """The model of this name or in this folder that has these weights, as --model takes it; None if neither has.

    Where name and folder lead to different models, the one with the weights is meant.
    """
    for place in (folder, name):
        if place is not None and _holds(place, weights):
            return place
    named = find_named(name)
    return named_model(name) if named is not None and claims_weights(named, weights) else None


def named_model(name: str) -> str | None:
    """The model of this name in the user's home or the package, as --model takes it; None if there is none.

    It is the model's folder where another one here has the same name, because --model would take that.
    """
    named = find_named(name)
    if named is None:
        return None
    here = Path(name)
    return str(named) if _is_model(here) and here.resolve() != named.resolve() else name


def claims_weights(directory: Path, weights: Mapping[str, str]) -> bool:
    """Whether the config of a model folder names these hashes."""
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
        if not claims_weights(directory, weights):  # then there is no need to look at large files
            return False
        files = [directory / name for name in read_config(directory).weight_files]
        return {file.name: _digest(file.resolve(), *_version(file)) for file in files} == weights
    except (UsageError, OSError):
        return False


def _is_model(folder: Path) -> bool:
    try:
        return (folder / CONFIG_FILE).is_file()
    except (OSError, ValueError):  # a name that no folder can have
        return False


def _version(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """The hash of a file of this size and time, computed once however often it is asked for."""
    return sha256_of(file)
