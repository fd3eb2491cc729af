"""Tensors in weights files, one at a time: models larger than the memory are read, converted and written.

And which tensors a file should hold: compared with a module, and copied into a larger one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bigr_cli.errors import ModelFormatError
from bigr_cli.files import atomic_write
from bigr_cli.runtime.tensor_headers import FLOATS, TensorInfo, read_header

# How the format names the number formats of weights, in the order in which the safetensors library stores tensors.
_FORMATS = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_ROOM, _SMALL = (
    4,
    10_000_000,
)  # how many times, and by how many numbers, a model may be larger than a file and be laid out


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


def shapes_of(part: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in part.state_dict().items()}


def shape_problems(
    path: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """How tensors, by name and shape, differ from those expected in a file: missing, unknown, wrong-shaped."""
    wrong = [
        f"{name} (expected {list(shape)}, got {list(found[name])})"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    groups = {
        "missing tensors": sorted(expected.keys() - found.keys()),
        "unknown tensors": sorted(found.keys() - expected.keys()),
        "wrong shapes": wrong,
    }
    return [f"{path}: {what}: {_some(names)}" for what, names in groups.items() if names]


def file_problems(path: Path, part: nn.Module) -> list[str]:
    """How the tensors of a .safetensors file differ from a module's, a line each."""
    try:
        header = read_header(path)
    except ModelFormatError as error:
        return [str(error)]
    problems = _type_problems(path, header)
    return problems + shape_problems(path, shapes_of(part), {name: tensor.shape for name, tensor in header.items()})


def size_problems(path: Path, expected: int) -> list[str]:
    """A line if a .safetensors file holds so much less than `expected` numbers that its tensors need not be listed."""
    try:
        held = sum(tensor.count for tensor in read_header(path).values())
    except ModelFormatError as error:
        return [str(error)]
    if expected <= _ROOM * held + _SMALL:
        return []
    return [f"{path}: holds {held:,} numbers, and the sizes in config.yaml ask for {expected:,}"]


def number_problems(path: Path) -> list[str]:
    """A line if tensors of a .safetensors file hold numbers that are not finite, which would make images of noise.

    Raises:
        ModelFormatError: the file cannot be read.
    """
    names = [name for name, tensor in StoredTensors(path).items() if tensor.numel() and not _is_finite(tensor)]
    return [f"{path}: holds NaN or infinite numbers in {_some(names)}"] if names else []


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers are finite; a NaN is both the least and the greatest."""
    least, greatest = torch.aminmax(tensor)
    return bool(least.isfinite() & greatest.isfinite())


def grow_from(path: Path, part: nn.Module, *, replaced: str = "") -> None:
    """Copy the weights of a .safetensors file into a freshly made module of the same sizes or larger ones.

    Where the module has more (bits, channels, layers), it keeps what it was made with, beside the file's numbers.
    Of its submodule `replaced`, the file may have other tensors, which are left out.

    Raises:
        ModelFormatError: the file cannot be read, or has tensors that find no place in the module, or are not finite.
    """
    header, sizes = read_header(path), shapes_of(part)
    left_out = {name for name in header if replaced and name.startswith(f"{replaced}.") and name not in sizes}
    found = {name: tensor.shape for name, tensor in header.items() if name not in left_out}
    fitting = {name: shape for name, shape in found.items() if _fits(shape, sizes.get(name))}
    expected = {name: shape for name, shape in sizes.items() if name in found} | fitting
    problems = _type_problems(path, header) + shape_problems(path, expected, found) or number_problems(path)
    if problems:
        raise ModelFormatError("; ".join(problems))
    state = part.state_dict()
    with torch.no_grad():
        for name, tensor in StoredTensors(path).items():
            if name in left_out:
                continue
            state[name][tuple(slice(side) for side in tensor.shape)].copy_(tensor)


def _type_problems(path: Path, header: Mapping[str, TensorInfo]) -> list[str]:
    odd = [f"{name} ({tensor.dtype})" for name, tensor in header.items() if tensor.dtype not in FLOATS]
    return [f"{path}: expected {', '.join(FLOATS)}, got {_some(odd)}"] if odd else []


def _fits(shape: tuple[int, ...], into: tuple[int, ...] | None) -> bool:
    return into is not None and len(shape) == len(into) and all(a <= b for a, b in zip(shape, into, strict=True))


def _some(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
