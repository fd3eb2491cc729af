"""What an evaluation is asked for, checked before torch and torch-fidelity, which take long, are imported."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from bigr_cli import schema
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UnknownNameError, UsageError

CHOICES = (
    "--features scenes (the classifier that comes with the package), --features MODEL (a bigr model's representation),"
    " --weights FILE, or --fetch-weights to let torch-fidelity download its Inception"
)

Point = dict[str, Any]

_KINDS = get_type_hints(SamplingConfig)
_SWEPT = ("preset", *(field.name for field in fields(SamplingConfig) if field.name != "guidance_interval"))


def refuse_weights(weights: Path | None, *, inception: bool) -> None:
    """Raise UsageError for a file of weights that is not there, or where torch-fidelity's Inception has none.

    Args:
        weights: what --weights names.
        inception: whether torch-fidelity's Inception is what looks at the images, and may not be fetched.
    """
    if weights is not None and not weights.expanduser().is_file():
        raise UsageError(f"{weights}: no such file")
    if not inception or weights is not None:
        return
    # Where torch.hub keeps files: https://docs.pytorch.org/docs/stable/hub.html#torch.hub.get_dir
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folder = Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser() / "hub" / "checkpoints"
    if not any(folder.glob("*inception*")):
        raise UsageError("inception-v3-compat: its weights are not here", hint=f"choose {CHOICES}")


def points(words: Sequence[str], given: Sequence[str] = ()) -> list[Point]:
    """All combinations of "guidance=1,1.5" and "steps=10,20", the last one changing fastest; one empty one of none.

    Args:
        words: a setting each, with its values.
        given: settings that have one value already.

    Raises:
        UnknownNameError: there is no such setting.
        UsageError: a setting without values or given twice.
    """
    axes: dict[str, list[Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not equals or not text.strip():
            raise UsageError(
                f"--sweep: expected setting=value,value, got {word!r}", hint="for example guidance=1,1.5,2"
            )
        if name not in _SWEPT:
            raise UnknownNameError("setting", name, _SWEPT, hint=f"--sweep knows {', '.join(_SWEPT)}")
        if name in axes or name in given:
            raise UsageError(f"--sweep: {name} is given twice")
        kind = _KINDS.get(name, str)
        axes[name] = [schema.from_text(kind, part.strip(), source=f"--sweep {name}") for part in text.split(",")]
        if len({str(value) for value in axes[name]}) < len(axes[name]):
            raise UsageError(f"--sweep: {name} has a value twice")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def is_setting(word: str) -> bool:
    """Whether a word is more of a sweep rather than a folder."""
    return word.partition("=")[0].strip().replace("-", "_") in _SWEPT and "=" in word
