"""Which tensors a file of weights should hold: compared with a module, and copied into a larger one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bigr_cli.errors import ModelFormatError
from bigr_cli.runtime.tensor_file import StoredTensors
from bigr_cli.runtime.tensor_headers import FLOATS, TensorInfo, read_header

_ROOM, _SMALL = (
    4,
    10_000_000,
)  # how many times, and by how many numbers, a model may be larger than a file and be laid out


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
