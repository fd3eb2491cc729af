"""Where bigr keeps things that are not in the package: models pulled or imported, and caches.

Everything lies under BIGR_HOME if that is set, otherwise where the operating system keeps such things.
"""

import os
from pathlib import Path

HOME_VARIABLE = "BIGR_HOME"


def data_dir() -> Path:
    """Where models and settings of the user are kept; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home).expanduser()
    from platformdirs import user_data_path

    return user_data_path("bigr", appauthor=False)


def cache_dir() -> Path:
    """Where things are kept that can be made again; it need not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home).expanduser() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("bigr", appauthor=False)
