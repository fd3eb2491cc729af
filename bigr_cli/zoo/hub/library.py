"""huggingface_hub: what is used of it, and what goes wrong with it as errors that say what to do."""

from __future__ import annotations

import errno
from typing import Any, cast

import huggingface_hub
from huggingface_hub import file_download, utils
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bigr_cli.errors import BigrError, ModelError, RunError

LOGIN_HINT = "log in with hf auth login, or put a token in HF_TOKEN"
_AGAIN_HINT = "run the same command again: it goes on where this one stopped"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quota error

# The base of what httpx raises; requests, in older versions of huggingface_hub, raises kinds of OSError.
TRANSPORT: type[Exception] = cast(Any, HfHubHTTPError).__bases__[0]
FAILURES = (TRANSPORT, OSError, EntryNotFoundError, HFValidationError, OfflineModeIsEnabled)


class MissingFileError(ModelError):
    """The repository is there, but not this file."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of the hub's library carries, if any."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def explained(error: Exception, what: str) -> BigrError:
    """The BigrError for what the hub's library raised while it was busy with `what`."""
    status = status_of(error)
    if isinstance(error, GatedRepoError):
        return ModelError(f"{what}: its owner asks for a login and for agreement to terms", hint=LOGIN_HINT)
    if isinstance(error, RevisionNotFoundError):
        return ModelError(f"{what}: the repository has no such branch or commit")
    if status == 401:
        return ModelError(f"{what}: there is no such repository, or it needs a login", hint=LOGIN_HINT)
    if status == 403:
        return ModelError(f"{what}: the hub does not allow it to this login", hint=LOGIN_HINT)
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(f"{what}: there is no such repository", hint=f"if it is private, {LOGIN_HINT}")
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return MissingFileError(f"{what}: the repository has no such file")
    if isinstance(error, HFValidationError):
        return ModelError(f"{what}: the hub does not take this name: {error}")
    if status is not None:
        return RunError(f"{what}: the hub answered with status {status}", hint=_AGAIN_HINT)
    if isinstance(error, OSError) and error.errno in _FULL:
        return RunError(f"{what}: the disk is full", hint=f"make room, then {_AGAIN_HINT}")
    if isinstance(error, OSError) and error.filename is not None:
        return RunError(f"{error.filename}: {error.strerror or error}")
    cause = error.__cause__ or error if isinstance(error, LocalEntryNotFoundError) else error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return RunError(f"{what}: the hub cannot be reached: {reason}", hint=_AGAIN_HINT)


def private(module: Any, name: str) -> Any:
    """Something by its name in a module of huggingface_hub; RunError if this version of it has none."""
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise RunError(
            f"huggingface_hub {huggingface_hub.__version__} has no {module.__name__}.{name}, which bigr uses",
            hint='pip install "huggingface_hub>=0.26,<3"',
        ) from error


http_get = private(file_download, "http_get")
build_hf_headers = private(utils, "build_hf_headers")
WeakFileLock = private(utils, "WeakFileLock")
