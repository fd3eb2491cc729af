"""What is used of huggingface_hub that it does not declare as public: this is the one place that may break.

It works with the versions that pyproject.toml names; with any other the first missing name is said, not a traceback.
"""

from __future__ import annotations

from typing import Any, cast

import huggingface_hub
from huggingface_hub import file_download, utils
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from bigr_cli.errors import RunError


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

# The base of what httpx raises; requests, in older versions of huggingface_hub, raises kinds of OSError.
TRANSPORT: type[Exception] = cast(Any, HfHubHTTPError).__bases__[0]
FAILURES = (TRANSPORT, OSError, EntryNotFoundError, HFValidationError, OfflineModeIsEnabled)
