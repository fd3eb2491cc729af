"""Tensors in weights files, one at a time: models larger than the memory are read, converted and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from bigr_cli.errors import ModelFormatError
from bigr_cli.files import atomic_write
from bigr_cli.runtime.tensor_headers import read_header

# How the format names the number formats of weights, in the order in which the safetensors library stores tensors.
_FORMATS = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a .safetensors file by name, each read when it is asked for, in `dtype` if that is given.

    The file is opened anew for each tensor, because what was read of a mapped file counts as memory while it is open.
    """

    def __init__(self, path: Path, dtype: torch.dtype | None = None) -> None:
        """Raises ModelFormatError if the file cannot be read or is none of that kind."""
        self.path, self.dtype = path, dtype
        self._header = read_header(path)

    @property
    def kinds(self) -> set[torch.dtype]:
        """The number formats in the file."""
        return {kind for kind, name in _FORMATS.items() if any(info.dtype == name for info in self._header.values())}

    def mapped(self) -> dict[str, Tensor]:
        """All tensors as they are in the file, which stays open, so that they take memory as they are used."""
        with self._explained():
            return load_file(self.path)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._header:
            raise KeyError(name)
        with self._explained(), safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor if self.dtype is None else tensor.to(self.dtype)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError) as error:
            raise ModelFormatError(f"{self.path}: cannot be read: {' '.join(str(error).split())}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)


class Renamed(Mapping[str, Tensor]):
    """Some tensors of a mapping under other names: `names` has the old name of each by the new one."""

    def __init__(self, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, dict(names)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None, **metadata: str) -> str:
    """Write a .safetensors file, whole or not at all, and return its SHA-256.

    The safetensors library writes the same bytes, but wants all of them in memory at once.

    Args:
        path: the file.
        tensors: of floating-point numbers, by name; each is asked for when it is its turn.
        dtype: what to store them as; None stores them as they are.
        metadata: what the header says besides.

    Raises:
        OSError: it cannot be written.
    """
    kinds = {name: dtype or tensor.dtype for name, tensor in tensors.items()}
    places, header, end = list(_FORMATS), dict[str, object](), 0
    order = sorted(kinds, key=lambda name: (places.index(kinds[name]), name))
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * kinds[name].itemsize
        header[name] = {"dtype": _FORMATS[kinds[name]], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt", **metadata}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        for part in (len(text).to_bytes(8, "little"), text):
            digest.update(part)
            stream.write(part)
        for name in order:
            stored = tensors[name].detach().to("cpu", kinds[name]).contiguous().reshape(-1).view(torch.uint8)
            data = stored.numpy().data
            digest.update(data)
            stream.write(data)
    return digest.hexdigest()
