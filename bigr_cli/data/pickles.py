"""Pickles, which run what they say when they are read: they are refused, and the way out is named."""

from __future__ import annotations

import re
from pathlib import Path

from bigr_cli.errors import UsageError
from bigr_cli.file_tree import IMAGE_SUFFIXES

_SUFFIXES = (".pkl", ".pickle", ".p", ".pt", ".pth", ".joblib")
_CIFAR = re.compile(r"data_batch_\d|test_batch")
_WAY_OUT = (
    "write its images as PNG files into a folder per class, or as parquet: many such data sets are on the hub, as "
    "hf://datasets/OWNER/NAME (hf://datasets/uoft-cs/cifar10 for CIFAR-10)"
)


def refuse_pickles(path: Path) -> None:
    """Raise UsageError for a pickle, or a folder that has nothing but such and small files of text."""
    if path.is_file():
        if _is_pickle(path):
            raise UsageError(f"{path}: is a pickle, which may run any program when it is read", hint=_WAY_OUT)
        return
    if not path.is_dir():
        return
    found = sorted(each for each in path.iterdir() if each.is_file() and _is_pickle(each))
    others = [each for each in path.iterdir() if each.is_dir() or each.suffix.lower() in IMAGE_SUFFIXES]
    if found and not others:
        raise UsageError(f"{found[0]}: is a pickle, which may run any program when it is read", hint=_WAY_OUT)


def _is_pickle(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or _CIFAR.fullmatch(path.name) is not None
