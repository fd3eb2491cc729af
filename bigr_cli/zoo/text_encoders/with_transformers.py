"""What all use of transformers begins with: it is an extra, and it talks while it loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from bigr_cli.errors import ModelError


def require_transformers(what: str) -> None:
    """Raise ModelError, with the command that installs it, unless transformers is here for `what`."""
    if find_spec("transformers") is None:
        hint = 'pipx inject bigr-cli transformers, or pip install "bigr-cli[text]"'
        raise ModelError(f"{what} needs transformers, which is not installed", hint=hint)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing to the terminal while it loads."""
    import transformers

    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
