"""Pickled checkpoint files, read without running what is in them."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.errors import CheckpointError

_STATES = ("ema", "model")  # in this order of preference
_CODE = re.compile(r"(?:unsupported.{0,20} GLOBAL|unrecognized function <?\w*) ?([\w.]+)", re.IGNORECASE)
_ZIP = b"PK\x03\x04"
_FORMATS = (torch.float32, torch.bfloat16, torch.float16)
_USED_AT_ONCE = 1 << 28  # bytes of a file that may have been used before it is opened anew


class Checkpoint(Mapping[str, Tensor]):
    """The state dict that a file made by `torch.save` holds: its "ema", its "model", or all of it.

    Only tensors and plain data are unpickled (and the argparse.Namespace that training scripts put beside them). The
    tensors stay in the file until they are used; what was used of it is let go of every now and then, so that a file
    larger than the memory can be gone through.
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError: the file cannot be read, is no checkpoint or truncated, or would run code."""
        self.path = path
        self._mapped = _is_zipped(path)  # files of the older form are read as a whole
        self._tensors = _tensors(path, mapped=self._mapped)
        self._used = 0
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        if self._mapped and self._used > _USED_AT_ONCE:
            self._tensors, self._used = _tensors(self.path, mapped=True), 0
            tensor = self._tensors[name]
        self._used += tensor.numel() * tensor.element_size()
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _is_zipped(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_ZIP)) == _ZIP
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error


def _tensors(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    content = _unpickled(path, mapped=mapped)
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _STATES if isinstance(content.get(key), Mapping)), content)
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path}: holds no tensors by name but {type(state).__name__}")
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and _is_plain(value))]
    if odd:
        raise CheckpointError(
            f"{path}: expected dense tensors in float32, bfloat16 or float16; {', '.join(odd[:4])} is not"
        )
    return dict(state)


def _unpickled(path: Path, *, mapped: bool) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other kinds, which are refused below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file makes the reader fail in many ways
        asked = _CODE.search(str(error))
        if asked:
            raise CheckpointError(
                f"{path}: is refused, as reading it would run code: it asks for {asked[1]}",
                hint="only files that hold nothing but tensors and plain data are read",
            ) from error
        raise CheckpointError(f"{path}: is not a checkpoint made by torch.save, or is truncated or damaged") from error


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in _FORMATS
    )
