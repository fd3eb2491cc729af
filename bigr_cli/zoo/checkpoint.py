"""Pickled checkpoint files, read without running what is in them."""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.errors import CheckpointError
from bigr_cli.files import reading

_STATES = ("ema", "model")  # in this order of preference
_CODE = re.compile(r"(?:unsupported.{0,20} GLOBAL|unrecognized function <?\w*) ?([\w.]+)", re.IGNORECASE)
_ZIP = b"PK\x03\x04"
_FORMATS = (torch.float32, torch.bfloat16, torch.float16)
_USED_AT_ONCE = 1 << 28  # bytes of a file that may have been used before it is opened anew


class _Leftover:
    """Stands for an object beside the weights that is not needed, such as a NumPy number in the optimizer's state."""

    def __init__(self, *_: object) -> None:
        """Takes the arguments of any class."""

    def __setstate__(self, _: object) -> None:
        """Takes any state."""


class _Nameless:
    """Stands for what a state dict holds under a key that is no text."""


# What training scripts save beside the weights. None of it is made: a stand-in that keeps nothing takes its place.
_LEFTOVERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    *(
        (_Leftover, name)
        for name in (
            *(f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")),
            *("numpy.dtype", "numpy.ndarray"),
            *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
            *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
            *(f"pathlib._local.{kind}" for kind in ("PosixPath", "WindowsPath")),
        )
    ),
]


class Checkpoint(Mapping[str, Tensor]):
    """The weights in the state dict that a file made by `torch.save` holds: its "ema", its "model", or all of it.

    Weights are dense tensors in float32, bfloat16 or float16. `others` says by name what else the state dict holds,
    such as "int64"; whoever needs one of these must refuse it. Only tensors and plain data are unpickled. The tensors
    stay in the file until they are used; what was used of it is let go of every now and then, so that a file larger
    than the memory can be gone through.
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError: the file cannot be read, is no checkpoint or truncated, or would run code."""
        self.path = path
        self._mapped = _is_zipped(path)  # files of the older form are read as a whole
        self._tensors = _state(path, mapped=self._mapped)
        self._used = 0
        self.others = {name: kind for name, value in self._tensors.items() if (kind := _odd(value))}
        self.shapes = {name: tuple(value.shape) for name, value in self._tensors.items() if name not in self.others}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        if self._mapped and self._used > _USED_AT_ONCE:
            self._tensors, self._used = _state(self.path, mapped=True), 0
        tensor: Tensor = self._tensors[name]
        self._used += tensor.numel() * tensor.element_size()
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def is_inflated(path: Path) -> bool:
    """Whether a zip archive claims to hold more bytes than the file has; torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist()) > path.stat().st_size
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # for torch to say what it is


def _is_zipped(path: Path) -> bool:
    with reading(path, CheckpointError), path.open("rb") as stream:
        return stream.read(len(_ZIP)) == _ZIP


def _state(path: Path, *, mapped: bool) -> dict[str, Any]:
    """What stands in the state dict by name; not all of it need be tensors."""
    content = _unpickled(path, mapped=mapped)
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _STATES if isinstance(content.get(key), Mapping)), content)
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        found = f" but {type(state).__name__}" if not isinstance(state, Mapping) else ""
        raise CheckpointError(f"{path}: holds no tensors by name{found}")
    return {str(name): value if isinstance(name, str) else _Nameless() for name, value in state.items()}


def _unpickled(path: Path, *, mapped: bool) -> Any:
    if is_inflated(path):
        raise CheckpointError(f"{path}: is a compressed archive, not a checkpoint made by torch.save")
    try:
        with torch.serialization.safe_globals(_LEFTOVERS), warnings.catch_warnings():
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


def _odd(value: Any) -> str:
    """What something in a state dict is, if it is no weight; empty if it is one."""
    if isinstance(value, _Nameless):
        return "under a key that is no text"
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.layout != torch.strided:
        return str(value.layout).removeprefix("torch.")
    if value.device.type != "cpu":
        return f"on device {value.device.type}"
    return "" if value.dtype in _FORMATS else str(value.dtype).removeprefix("torch.")
