"""A model folder from here to a hub."""

from __future__ import annotations

import sys
from pathlib import Path

from huggingface_hub import HfApi, utils

from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.version import __version__
from bigr_cli.zoo.config import CARD_FILE, CONFIG_FILE, read_config
from bigr_cli.zoo.folder import check_model
from bigr_cli.zoo.hub.client import is_offline
from bigr_cli.zoo.hub.errors import explained
from bigr_cli.zoo.hub.library import FAILURES, private
from bigr_cli.zoo.source import is_repository

_bars_disabled = private(utils, "are_progress_bars_disabled")
_disable_bars, _enable_bars = private(utils, "disable_progress_bars"), private(utils, "enable_progress_bars")


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
