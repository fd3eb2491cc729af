"""What goes wrong with a model hub, in words; and whether the library that talks to it is one that bigr knows.

Importing this imports no torch.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import huggingface_hub
from huggingface_hub import errors

from bigr_cli.errors import BigrError, ModelError, RunError

LOGIN_HINT = "log in with hf auth login, or put a token in HF_TOKEN"
_PRIVATE_HINT = f"if it is private, {LOGIN_HINT}"
_TERMS = "its owner asks for a login and for agreement to terms"
_AGAIN_HINT = "run the same command again: it goes on where this one stopped"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quota error

# The base of what httpx raises; requests, in older versions of huggingface_hub, raises kinds of OSError.
TRANSPORT: type[Exception] = cast(Any, errors.HfHubHTTPError).__bases__[0]
FAILURES = (TRANSPORT, OSError, errors.EntryNotFoundError, errors.HFValidationError, errors.OfflineModeIsEnabled)


class MissingFileError(ModelError):
    """The repository is there, but not this file."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of the hub's library carries, if any."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def explained(error: Exception, what: str) -> BigrError:
    """The BigrError for what the hub's library raised while it was busy with `what`."""
    status = status_of(error)
    missing = isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError)
    known: tuple[tuple[bool, type[BigrError], str, str | None], ...] = (
        (isinstance(error, errors.GatedRepoError), ModelError, _TERMS, LOGIN_HINT),
        (
            isinstance(error, errors.RevisionNotFoundError),
            ModelError,
            "the repository has no such branch or commit",
            None,
        ),
        (status == 401, ModelError, "there is no such repository, or it needs a login", LOGIN_HINT),
        (status == 403, ModelError, "the hub does not allow it to this login", LOGIN_HINT),
        (isinstance(error, errors.RepositoryNotFoundError), ModelError, "there is no such repository", _PRIVATE_HINT),
        (missing, MissingFileError, "the repository has no such file", None),
        (isinstance(error, errors.HFValidationError), ModelError, f"the hub does not take this name: {error}", None),
        (status is not None, RunError, f"the hub answered with status {status}", _AGAIN_HINT),
    )
    for holds, kind, message, hint in known:
        if holds:
            return kind(f"{what}: {message}", hint=hint)
    if isinstance(error, OSError) and error.errno in _FULL:
        return RunError(f"{what}: the disk is full", hint=f"make room, then {_AGAIN_HINT}")
    if isinstance(error, OSError) and error.filename is not None:
        return RunError(f"{error.filename}: {error.strerror or error}")
    cause = error.__cause__ or error if isinstance(error, errors.LocalEntryNotFoundError) else error
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


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Turns what the hub's library raises into a BigrError about `what`, and silences its own messages."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except FAILURES as error:
        raise explained(error, what) from error
    finally:
        logger.setLevel(level)
