"""Weights files, without torch: what tensors they hold, and whether they are as they were made."""

import hashlib
import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigr_cli.errors import ModelFormatError
from bigr_cli.files import reading

FLOATS = ("F32", "BF16", "F16")
_LONGEST_HEADER = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True)
class TensorInfo:
    """The type (as safetensors names it) and shape of a stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a .safetensors file by name, from its header alone.

    Raises:
        ModelFormatError: the file cannot be read, is not of that format, or is shorter or longer than it says.
    """
    with reading(path, ModelFormatError):
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise ModelFormatError(f"{path}: is not a safetensors file, or is truncated")
            text = stream.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {
            name: TensorInfo(str(entry["dtype"]), tuple(map(_size, entry["shape"]))) for name, entry in header.items()
        }
        end = 8 + length + max((_size(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelFormatError(f"{path}: is not a safetensors file: its header cannot be read") from error
    if end != size:
        raise ModelFormatError(f"{path}: is truncated or damaged: it has {size:,} bytes, its header says {end:,}")
    return tensors


def _size(value: object) -> int:
    """A side of a shape or an offset; ValueError for what the format does not allow, such as Infinity or 2.5."""
    if type(value) is int and 0 <= value < 2**63:
        return value
    raise ValueError(f"expected a whole number of at least 0, got {reprlib.repr(value)}")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_problems(directory: Path, hashes: Mapping[str, str], files: Iterable[str]) -> list[str]:
    """What is wrong with the SHA-256 of weights files, a line each; nothing if all are as `hashes` say."""
    problems = []
    for name in files:
        path, expected = directory / name, hashes.get(name)
        if not path.is_file():
            problems.append(f"{path}: is missing")
        elif expected is None:
            problems.append(f"{path}: config.yaml has no sha256.{name} to compare with")
        elif (found := sha256_of(path)) != expected:
            problems.append(f"{path}: has SHA-256 {found[:12]}…, config.yaml says {expected[:12]}…")
    return problems
