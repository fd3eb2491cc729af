"""Models by the hashes of their weights, for recipes and indexes, which may come from anywhere.

A model in the user's home or the package is known by its name. A folder that such a file names is taken only if the
weights files in it have the hashes, whatever the folder's config says of them. Nothing here imports torch.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bigr_cli.errors import UsageError
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.zoo.config import CONFIG_FILE, read_config
from bigr_cli.zoo.find import find_named

_NETWORK = ("\\\\", "//")  # how paths begin that Windows asks other machines for


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
