"""Which of the models that are here a recipe means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bigr_cli.errors import UsageError
from bigr_cli.imaging.recipe import Recipe
from bigr_cli.zoo.config import CONFIG_FILE, read_config
from bigr_cli.zoo.find import find_named
from bigr_cli.zoo.weights import sha256_of

_NETWORK = ("\\\\", "//")  # how paths begin that Windows asks other machines for


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
