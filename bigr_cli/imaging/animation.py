"""Animated GIF and WebP."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bigr_cli.imaging.files import ANIMATED, kind_of, write_bytes
from bigr_cli.imaging.metadata import embedding
from bigr_cli.recipe import Recipe


def encode_animation(
    frames: Sequence[Image.Image], durations: Sequence[int], kind: str, recipe: Recipe | None = None
) -> bytes:
    """The bytes of an animation that repeats for ever.

    Args:
        frames: RGB pictures of one size.
        durations: how long each is shown, in milliseconds.
        kind: "GIF" or "WEBP".
        recipe: what to record in the file.

    Raises:
        ValueError: there is no frame, or not one duration for each.
    """
    if not frames or len(frames) != len(durations):
        raise ValueError(f"durations: expected one for each of at least one frame, got {len(durations)}")
    carried = embedding(kind, recipe.to_json()) if recipe else {}
    saving = {"lossless": True} if kind == "WEBP" else {"disposal": 1}
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=list(frames[1:]),
        duration=list(durations),
        loop=0,
        **saving,
        **carried,
    )
    return buffer.getvalue()


def write_animation(
    path: Path,
    frames: Sequence[Image.Image],
    durations: Sequence[int],
    *,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Write an animation as .gif or .webp; errors as `write_bytes`, and UsageError for another suffix."""
    kind = kind_of(path, ANIMATED)
    write_bytes(path, encode_animation(frames, durations, kind, recipe), overwrite=overwrite)
