"""Where bigr keeps things that are not in the package: models pulled or imported, and caches.

Everything lies under BIGR_HOME if that is set, otherwise where the operating system keeps such things. Without a home
directory (no HOME, a user id without an account) there is no such place: nothing is found there, and writing fails
with an error that names BIGR_HOME; caches are then done without.
"""

import os
from collections.abc import Callable
from pathlib import Path

HOME_VARIABLE = "BIGR_HOME"
HINT = f"{HOME_VARIABLE}=DIR names a folder for models and caches"
_NOWHERE = Path(os.devnull) / "no-home-directory"  # neither there nor to be made

_UNWRITABLE = (
    "cannot be written",
    "no permission",
    "Permission denied",
    "Read-only",
    "Not a directory",
    "is a file, so",
)


def data_dir() -> Path:
    """Where models and settings of the user are kept; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return _expanded(home)
    from platformdirs import user_data_path

    return _known(user_data_path)


def cache_dir() -> Path:
    """Where things are kept that can be made again; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return _expanded(home) / "cache"
    from platformdirs import user_cache_path

    return _known(user_cache_path)


def is_known() -> bool:
    """Whether there is a place for what belongs to the user."""
    return data_dir() != _NOWHERE


def hint_for(message: str) -> str | None:
    """What may help if a message is about a file in one of these folders that cannot be written."""
    if not any(sign in message for sign in _UNWRITABLE):
        return None
    return HINT if any(str(folder) in message for folder in (data_dir(), cache_dir(), _NOWHERE.parent)) else None


def shown(folder: Path) -> str:
    """One of these folders as it is told to people."""
    return f"none, as no home directory is known; {HINT}" if folder == _NOWHERE else str(folder)


def _expanded(home: str) -> Path:
    return _NOWHERE if (folder := Path(os.path.expanduser(home))).parts[:1] == ("~",) else folder


def _known(user_path: Callable[..., Path]) -> Path:
    """A folder of platformdirs, unless the home directory in it is not known."""
    try:
        folder = user_path("bigr", appauthor=False)
    except (RuntimeError, KeyError):
        return _NOWHERE
    return _NOWHERE if folder.parts[:1] == ("~",) else folder
