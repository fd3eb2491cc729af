"""Files of features, written block by block, whole or not at all; and the search in them.

By cosine, or of bit-packed codes by the bits in which they differ.
"""

from __future__ import annotations

import importlib.util
import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.data.array_files import read_arrays
from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.files import atomic_write, writing
from bigr_cli.imaging.files import existing
from bigr_cli.plain_text import short_repr
from bigr_cli.representation.features import FeatureProvenance, Wanted, parse_provenance

KINDS = (".npz", ".npy", ".safetensors", ".jsonl", ".parquet")
SEARCHABLE = (".npz", ".safetensors")
_TYPES = {"float32": "F32", "uint8": "U8"}  # numpy's names → those of safetensors
_ROWS = 16384  # at once, so that no more than a few megabytes are made on the way
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Table:
    """What a file of features says of its rows: where each image is, and its label, or ""."""

    paths: Sequence[str]
    labels: Sequence[str]
    shape: tuple[int, ...]  # of a row
    dtype: np.dtype[Any]
    about: FeatureProvenance


@dataclass(frozen=True)
class Index:
    """A file of features in memory: `features` (N, ...) float32 or uint8."""

    features: NDArray[Any]
    paths: list[str]
    labels: list[str]
    about: FeatureProvenance

    __repr__ = short_repr


def check_kind(path: Path, kinds: Sequence[str] = KINDS) -> str:
    """The suffix of a file of features.

    Raises:
        UsageError: it is none of these, or the library that writes it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in kinds:
        hint = f"for example: {path.with_suffix(kinds[0]).name}" if path.name else None
        raise UsageError(f"{path}: unknown kind of file {suffix!r}; expected {', '.join(kinds)}", hint=hint)
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{path}: writing .parquet needs pyarrow", hint="pip install pyarrow")
    return suffix


def write_table(path: Path, table: Table, blocks: Iterable[NDArray[Any]], *, overwrite: bool = False) -> None:
    """Write features as the suffix says; `blocks` are their rows, in order.

    Raises:
        UsageError: there is something at `path`, and `overwrite` is not set; or as `check_kind`.
        RunError: it cannot be written.
    """
    suffix = check_kind(path)
    write = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors, ".jsonl": _jsonl, ".parquet": _parquet}[suffix]
    with writing(path):
        try:
            with atomic_write(path, replace=overwrite) as temporary, temporary.open("wb") as stream:
                write(stream, table, blocks)
        except FileExistsError as error:
            raise existing(path) from error


def read_index(path: str | PathLike[str]) -> Index:
    """A file of features that `embed` has written as .npz or .safetensors.

    Raises:
        UsageError: it is of another kind, or is not there.
        ModelFormatError: it is damaged, or holds something else.
    """
    path = Path(path).expanduser()
    suffix = check_kind(path, SEARCHABLE)
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", hint="bigr embed IMAGES -o FILE makes one")
    try:
        features, paths, labels, text = (_read_npz if suffix == ".npz" else _read_safetensors)(path)
    except (OSError, ValueError, KeyError, EOFError, TypeError, RecursionError, ArithmeticError, MemoryError) as error:
        raise ModelFormatError(f"{path}: is not a file of bigr embed, or damaged ({_line(error)})") from error
    if not all(isinstance(text, str) for text in (*paths, *labels)):
        raise ModelFormatError(f"{path}: its paths and labels are no texts")
    if features.ndim < 2 or not len(features) == len(paths) == len(labels) or str(features.dtype) not in _TYPES:
        raise ModelFormatError(f"{path}: its features do not fit its paths and labels")
    if not paths:
        raise ModelFormatError(f"{path}: holds the features of no images")
    return Index(features, paths, labels, parse_provenance(text, str(path)))


def _npz(stream: IO[bytes], table: Table, blocks: Iterable[NDArray[Any]]) -> None:
    texts = {
        "paths": np.array(table.paths, dtype=str),
        "labels": np.array(table.labels, dtype=str),
        "about": np.array(table.about.to_json()),
    }
    with zipfile.ZipFile(stream, "w") as archive:
        # A ZipInfo has a fixed date, so that the same features are the same bytes.
        with archive.open(zipfile.ZipInfo("features.npy"), "w", force_zip64=True) as entry:
            _npy(entry, table, blocks)
        for name, array in texts.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _npy(stream: IO[bytes], table: Table, blocks: Iterable[NDArray[Any]]) -> None:
    shape = (len(table.paths), *table.shape)
    header = {"descr": np.lib.format.dtype_to_descr(table.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for block in blocks:
        stream.write(np.ascontiguousarray(block, dtype=table.dtype).tobytes())


def _safetensors(stream: IO[bytes], table: Table, blocks: Iterable[NDArray[Any]]) -> None:
    shape = (len(table.paths), *table.shape)
    size = math.prod(shape) * table.dtype.itemsize
    texts = {"paths": json.dumps(list(table.paths)), "labels": json.dumps(list(table.labels))}
    header = {
        "__metadata__": {**texts, "about": table.about.to_json()},
        "features": {"dtype": _TYPES[str(table.dtype)], "shape": shape, "data_offsets": (0, size)},
    }
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)  # the format wants the tensors aligned
    stream.write(len(raw).to_bytes(8, "little") + raw)
    for block in blocks:
        stream.write(np.ascontiguousarray(block, dtype=table.dtype).tobytes())


def _jsonl(stream: IO[bytes], table: Table, blocks: Iterable[NDArray[Any]]) -> None:
    rows = (row for block in blocks for row in block)
    for path, label, row in zip(table.paths, table.labels, rows, strict=True):
        stream.write(json.dumps({"path": path, "label": label, "features": row.tolist()}).encode() + b"\n")


def _parquet(stream: IO[bytes], table: Table, blocks: Iterable[NDArray[Any]]) -> None:
    """Columns path, label and features; what has more than one axis is laid out in a row, its shape in the metadata."""
    import pyarrow
    import pyarrow.parquet

    width = math.prod(table.shape)
    numbers = pyarrow.list_(pyarrow.from_numpy_dtype(table.dtype), width)
    columns = [("path", pyarrow.string()), ("label", pyarrow.string()), ("features", numbers)]
    metadata = {"about": table.about.to_json(), "shape": json.dumps(table.shape)}
    schema = pyarrow.schema(columns, metadata=metadata)
    start = 0
    with pyarrow.parquet.ParquetWriter(stream, schema) as writer:
        for block in blocks:
            rows = slice(start, start + len(block))
            texts = [[_plain(text) for text in column[rows]] for column in (table.paths, table.labels)]
            flat = pyarrow.array(np.ascontiguousarray(block).reshape(-1))
            arrays = [*map(pyarrow.array, texts), pyarrow.FixedSizeListArray.from_arrays(flat, width)]
            writer.write_table(pyarrow.table(arrays, schema=schema))
            start = rows.stop


def _plain(text: str) -> str:
    """Text that is UTF-8, which names of files need not be."""
    return text.encode("utf-8", "replace").decode()


def _read_npz(path: Path) -> tuple[NDArray[Any], list[str], list[str], str]:
    file = read_arrays(path, ("features", "paths", "labels", "about"))
    return file["features"], file["paths"].tolist(), file["labels"].tolist(), str(file["about"])


def _read_safetensors(path: Path) -> tuple[NDArray[Any], list[str], list[str], str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            features = file.get_tensor("features")
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return features, list(json.loads(texts["paths"])), list(json.loads(texts["labels"])), texts["about"]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def hamming(codes: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of bits in which each row of packed codes (N, W) differs from (W,): (N,).

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if codes.ndim != 2 or query.shape != codes.shape[1:]:
        raise ValueError(f"codes: expected (N, W) and (W,), got {codes.shape} and {query.shape}")
    count = getattr(np, "bitwise_count", None)  # there since numpy 2
    wide = count is not None and codes.shape[1] % 8 == 0 and codes.flags.c_contiguous
    rows = codes.view(np.uint64) if wide else codes
    one = np.ascontiguousarray(query).view(np.uint64) if wide else query
    distances = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), _ROWS):
        differ = rows[start : start + _ROWS] ^ one
        bits = count(differ) if count is not None else _BITS[differ]
        distances[start : start + _ROWS] = bits.sum(axis=1, dtype=np.int64)
    return distances


def cosine(features: NDArray[Any], query: NDArray[Any]) -> NDArray[np.float32]:
    """The cosine between each row of (N, ...) and a vector of a row's shape: (N,); 0 for vectors of length 0.

    All vectors are taken from the rows' mean, if there are two or more: what all images have in common would make
    them all alike.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if features.ndim < 2 or query.shape != features.shape[1:]:
        raise ValueError(f"features: expected (N, ...) and a row of it, got {features.shape} and {query.shape}")
    rows, one = features.reshape(len(features), -1), query.reshape(-1).astype(np.float32)
    found = np.empty(len(rows), dtype=np.float32)
    centre = rows.mean(axis=0, dtype=np.float64).astype(np.float32) if len(rows) > 1 else np.zeros_like(one)
    one = one - centre
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS].astype(np.float32, copy=False) - centre
        lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(one)
        found[start : start + _ROWS] = (some @ one) / np.where(lengths > 0, lengths, 1)
    return found


def nearest(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The rows with the `count` smallest scores, smallest first, earlier rows before later ones that equal them."""
    return np.argsort(scores, kind="stable")[:count].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image of an index that is like the query: `rank` 1 is the nearest.

    Features have a `similarity`, their cosine, at most 1; codes have a `distance`, in bits. `label` may be "".
    """

    rank: int
    path: str
    label: str
    similarity: float | None = None
    distance: int | None = None

    def record(self) -> dict[str, Any]:
        """Plain data, without the one of the two scores that there is not."""
        near = {"similarity": round(self.similarity, 6)} if self.similarity is not None else {"distance": self.distance}
        return {"rank": self.rank, **near, "label": self.label, "path": self.path}


def check_features(index: Index, wanted: Wanted, *, source: str, model: str) -> None:
    """Raise ModelFormatError, naming the file, unless an index holds features of the kind that the model gives."""
    if index.features.shape[1:] != wanted.shape or index.features.dtype != wanted.dtype:
        raise ModelFormatError(f"{source}: its features are not of the shape that {model} gives")


def ranked(index: Index, query: NDArray[Any], count: int, *, source: str) -> list[Found]:
    """The `count` images of an index that are nearest to a query's features, the nearest first.

    Raises:
        UsageError: the count is below 1.
        ModelFormatError: the index, whose file is `source`, holds features that are not finite.
    """
    if count < 1:
        raise UsageError(f"count: expected at least 1, got {count}")
    codes = index.about.pool == "codes"
    scores = hamming(index.features, query) if codes else cosine(index.features, query)
    if not np.isfinite(scores).all():
        raise ModelFormatError(f"{source}: holds features that are not finite")
    return [
        Found(
            rank=rank,
            path=index.paths[row],
            label=index.labels[row],
            **({"distance": int(scores[row])} if codes else {"similarity": float(scores[row])}),
        )
        for rank, row in enumerate(nearest(scores if codes else -scores, count).tolist(), start=1)
    ]
