"""Model folders: find, load and save them, and make them out of published checkpoints.

Importing this imports no torch; loading does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli.zoo.find import find_model, list_models

if TYPE_CHECKING:
    from bigr_cli.api import Model

__all__ = ["find_model", "list_models", "load"]


def load(
    name: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offload: bool = False,
    device_map: str | None = None,
    compile: bool = False,
) -> "Model":
    """A model, ready to use, by name or folder; without either, the default model. See `bigr_cli.api.load`."""
    from bigr_cli import api

    return api.load(
        name,
        device=device,
        dtype=dtype,
        threads=threads,
        offload=offload,
        device_map=device_map,
        compile=compile,
    )
