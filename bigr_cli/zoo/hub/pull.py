"""Models from a hub into the user's home, whole or not at all, and model folders to a hub."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import HfApi, utils

from bigr_cli import console
from bigr_cli.errors import BigrError, ModelError, ModelFormatError, UsageError
from bigr_cli.runtime.tensor_file import StoredTensors
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.version import __version__
from bigr_cli.zoo import find
from bigr_cli.zoo.config import (
    CARD_FILE,
    CONFIG_FILE,
    GENERATOR_FILE,
    TOKENIZER_FILE,
    ModelConfig,
    check_name,
    read_config,
)
from bigr_cli.zoo.folder import check_destination, check_model, save_model
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.hub.client import is_offline
from bigr_cli.zoo.hub.failures import FAILURES, MissingFileError, explained, private
from bigr_cli.zoo.published.convert import convert_published
from bigr_cli.zoo.sizes import parameters
from bigr_cli.zoo.source import is_repository, readable_size

StoredDtype = Literal["float16", "bfloat16", "float32"]
STORED = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_LARGEST_TEXT = 10_000_000  # bytes of a config or card

_bars_disabled = private(utils, "are_progress_bars_disabled")
_disable_bars, _enable_bars = private(utils, "disable_progress_bars"), private(utils, "enable_progress_bars")


def pull_model(
    model: str,
    *,
    name: str | None = None,
    dtype: StoredDtype | None = None,
    overwrite: bool = False,
    offline: bool = False,
) -> Path:
    """Bring a model to the user's home, as `bigr models pull` does; returns its folder, for `load`.

    Args:
        model: a name of `list_models`, or owner/repository of a hub that holds a model folder.
        name: what to call it; None takes the card's name or the repository's.
        dtype: what to store the weights as; None stores them as they are published.
        overwrite: replace a model of that name in the home.
        offline: use only what the hub's own cache has.

    Raises:
        ModelError: there is no such model, a login is needed, the files are not what they should be.
        UsageError: there is a model of that name already.
        RunError: the connection broke or the disk is full.
    """
    if dtype is not None and dtype not in STORED:
        raise UsageError(f"dtype: expected {', '.join(STORED)}, got {dtype!r}")
    kind = None if dtype is None else STORED[dtype]
    if "/" in model or "\\" in model:
        if not is_repository(model):
            raise UsageError(f"{model!r}: expected the name of a model, or owner/repository of a hub")
        return _pull_folder(model, name or model.partition("/")[2], kind, overwrite, offline)
    return _pull_card(find.find_card(model), name or model, kind, overwrite, offline)


def _pull_card(card: ModelConfig, name: str, dtype: torch.dtype | None, overwrite: bool, offline: bool) -> Path:
    source = card.source
    if source is None:
        raise ModelError(f"{card.name}: its card does not say where the weights are")
    output = _destination(name, overwrite, shadows=name != card.name)
    files = [
        hub.look_up(source.repository, file, revision=source.revision, offline=offline)
        for file in (source.tokenizer, source.generator)
    ]
    _announce(card, source.repository, files)
    _require_space(output, card, files, dtype)
    tokenizer, generator = (hub.fetch(file) for file in files)
    with _using(files):
        hashes = {file.name: _checked(file, source.sha256.get(file.name)) for file in files}
        found = replace(
            source, revision=files[0].commit, sha256=hashes, parameters={}
        )  # which the files say themselves
        pinned = replace(card, name=name, source=found)
        convert_published(tokenizer, generator, pinned, output=output, dtype=dtype, overwrite=overwrite)
    return output


def _pull_folder(repository: str, name: str, dtype: torch.dtype | None, overwrite: bool, offline: bool) -> Path:
    output = _destination(name, overwrite, shadows=True)
    try:
        described = hub.look_up(repository, CONFIG_FILE, offline=offline)
    except MissingFileError as error:
        raise ModelError(
            f"{repository}: holds no model folder: it has no {CONFIG_FILE}",
            hint="published checkpoints have names of their own: bigr models list",
        ) from error
    try:
        config = replace(_read_config(described), name=name)
    finally:
        hub.forget(described)
    unknown = [file for file in config.weight_files if file not in config.sha256]
    if unknown:
        raise ModelFormatError(f"{described}: sha256.{unknown[0]}: is missing")
    files = [hub.look_up(repository, file, revision=described.commit, offline=offline) for file in config.weight_files]
    _announce(config, repository, files)
    _require_space(output, config, files, dtype)
    card = _read_card(repository, described.commit, offline)
    for file in files:
        hub.fetch(file)
    with _using(files):
        weights = {file.name: _read_weights(file, config.sha256[file.name]) for file in files}
        tokenizer, generator = weights[TOKENIZER_FILE], weights.get(GENERATOR_FILE)
        save_model(output, config, tokenizer, generator, dtype=dtype, card=card, overwrite=overwrite)
    return output


@contextmanager
def _using(files: Sequence[hub.HubFile]) -> Iterator[None]:
    """Removes files that were fetched after the block, which uses them; if it fails they are kept for the next try."""
    try:
        yield
    except BigrError as error:
        if kept := hub.kept(files):
            error.hint = f"{error.hint}; {kept}" if error.hint else kept
        raise
    for file in files:
        hub.forget(file)


def _checked(file: hub.HubFile, expected: str | None) -> str:
    """The hash of a file; ModelFormatError if another one is expected."""
    found = sha256_of(file.path)
    if expected not in (None, found):
        raise ModelFormatError(f"{file}: has SHA-256 {found[:12]}…, its config says {str(expected)[:12]}…")
    return found


def _destination(name: str, overwrite: bool, *, shadows: bool) -> Path:
    """The folder of a new model in the user's home.

    A packaged model is hidden by one of the same name at home, which only its own card may do.
    """
    output = find.home_models() / check_name(name)
    if shadows and (find.packaged_models() / name).exists():
        raise UsageError(f"{name}: is the name of a model that comes with bigr", hint="--name gives it another one")
    if output.is_symlink():
        raise UsageError(f"{output}: is a link; it is not followed")
    check_destination(output, overwrite=overwrite)
    return output


def _read_config(file: hub.HubFile) -> ModelConfig:
    if file.size is None or file.size > _LARGEST_TEXT:
        raise ModelFormatError(f"{file}: is too long for a config")
    with tempfile.TemporaryDirectory() as folder:  # a config must be in a folder of its own to be read
        (Path(folder) / CONFIG_FILE).write_bytes(hub.fetch(file).read_bytes())
        return read_config(Path(folder), called=file.repository)


def _read_card(repository: str, commit: str, offline: bool) -> str | None:
    """README.md; None if there is none that one would want."""
    try:
        file = hub.look_up(repository, CARD_FILE, revision=commit, offline=offline)
    except ModelError:
        return None
    if file.size is None or file.size > _LARGEST_TEXT:
        return None
    text = hub.fetch(file).read_bytes().decode("utf-8", errors="replace")
    hub.forget(file)
    return text


def _read_weights(file: hub.HubFile, expected: str) -> StoredTensors:
    _checked(file, expected)
    return StoredTensors(file.path)


def _announce(config: ModelConfig, repository: str, files: Sequence[hub.HubFile]) -> None:
    licence = config.licence or "not stated"
    data = f", trained on {config.provenance.data}" if config.provenance.data else ""
    size, missing = sum(file.size or 0 for file in files), sum(file.missing for file in files)
    console.say(f"{config.name}: licence {licence}{data}")
    some = f", {readable_size(missing) or 'nothing'} of it still to come" if missing < size else ""
    console.say(f"{readable_size(size)} from {repository}{some}")


def _require_space(output: Path, config: ModelConfig, files: Sequence[hub.HubFile], dtype: torch.dtype | None) -> None:
    """The files that are still to come, and the model that is made of them."""
    width = (dtype or torch.float32).itemsize
    made = sum(parameters(config).values()) * width
    hub.require_space(output, made + sum(file.missing for file in files))


def push_model(directory: Path, repository: str, *, private: bool = False, quiet: bool = False) -> str:
    """Upload a model's own files, and no others, to owner/name, which is made if it is not there; returns its address.

    Raises:
        UsageError: the name is none, or one of the files is a link.
        ModelFormatError: the folder is damaged.
        ModelError: the weights are not there, offline, or a login is needed.
        RunError: the hub cannot be reached.
    """
    if not is_repository(repository):
        raise UsageError(f"{repository!r}: expected owner/name of a repository")
    if is_offline(False):
        raise ModelError("models push needs the network, and HF_HUB_OFFLINE is set")
    config = read_config(directory)
    files = [CONFIG_FILE, *config.weight_files]
    if (directory / CARD_FILE).is_file():
        files.append(CARD_FILE)
    links = [file for file in files if (directory / file).is_symlink()]
    if links:
        raise UsageError(f"{directory / links[0]}: is a link; it is not followed")
    problems = check_model(directory)
    if problems:
        raise ModelFormatError("; ".join(problems))
    silent = (quiet or not sys.stderr.isatty()) and not _bars_disabled()
    if silent:
        _disable_bars()
    api = HfApi(library_name="bigr-cli", library_version=__version__)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=directory,
            allow_patterns=files,
            commit_message=f"Upload {config.name} with bigr",
        )
    except FAILURES as error:
        raise explained(error, repository) from error
    except ValueError as error:  # such as a card that the hub refuses
        raise ModelError(f"{repository}: {' '.join(str(error).split())}") from error
    finally:
        if silent:
            _enable_bars()
    return str(address)
