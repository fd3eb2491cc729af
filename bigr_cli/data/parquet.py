"""Parquet files of Hugging Face datasets: a column of images (a struct of bytes and path), classes, captions.

Row by row such files can only be read from front to back. So they are read once, in bounded memory, and images and
captions copied one behind the other into a file in the cache; from there any of them can be had at any time.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigr_cli.data.captions import opened_table, plain_label
from bigr_cli.data.file_source import Check, TableSource, usable
from bigr_cli.errors import RunError, UsageError
from bigr_cli.file_names import is_pattern, name_hash
from bigr_cli.file_tree import PassedOver, matching_tree
from bigr_cli.files import cache_file
from bigr_cli.home import Cache, intact, save_arrays
from bigr_cli.progress import progress_bar

_CACHE = Cache("tables")  # without which there is no reading: what cannot be written is an error
_VERSION = 1  # of what is kept in the cache
_AT_ONCE = 64  # rows
_CAPTION = re.compile(r"(caption|text|prompt)s?(_?\d+)?")
_IMAGES = ("image", "img", "jpg", "png", "picture", "photo")
_LABELS = ("label", "labels", "class", "fine_label")
_ROW = np.dtype(
    [
        *(("image", "<i8"), ("image_size", "<i8"), ("text", "<i8"), ("text_size", "<i4")),
        *(("target", "<i4"), ("name", "<u8"), ("file", "<i4"), ("row", "<i8")),
    ]
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ParquetSource(TableSource):
    """Images of parquet files, which lie in `copy` where `rows` say."""

    where: str
    paths: tuple[Path, ...]
    copy: Path

    def has_caption(self, index: int) -> bool:
        return bool(self.rows[index]["text_size"])

    def captions_of(self, index: int) -> tuple[str, ...]:
        text = self._read(index, "text")
        return tuple(json.loads(text)) if text else ()

    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return io.BytesIO(self._read(index, "image"))

    def called(self, index: int) -> str:
        return _named(self.paths, self.rows[index])

    def states(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return self.rows["image_size"].astype(np.uint64), np.zeros(len(self), dtype=np.int64)

    def fingerprint(self) -> str:
        return f"parquet:{self._identified(self.copy.name)}"

    def _read(self, index: int, kind: str) -> bytes:
        return self._content(self.copy, self.rows[index], kind)


def find_parquet(where: Path) -> list[Path]:
    """The parquet files that a path means: itself, those that fit a pattern, or those in a folder.

    None of images' metadata. Raises UsageError for a pattern that none fit.
    """
    if where.is_dir():
        found = [path for path in sorted(where.rglob("*.parquet")) if path.is_file()]
    elif where.suffix.lower() != ".parquet":
        return []
    elif where.is_file() or not is_pattern(str(where)):
        return [where] if where.is_file() else []
    else:
        tree = matching_tree(where, suffixes=(".parquet",))
        found = sorted(tree.root / name for name in tree.files)
        if not found:
            raise UsageError(f"{where}: no such files")
    return [path for path in found if path.stem.lower() != "metadata"]


def open_parquet(where: str, paths: Sequence[Path], size: int, *, captions: bool, check: Check | None) -> ParquetSource:
    """The images of parquet files, with captions instead of classes if these are asked for.

    Rows without an image or, where others have one, without a class are left out, which is said.

    Raises:
        UsageError: pyarrow is missing; a file is damaged, or has no column of images.
        RunError: a file cannot be read, or the cache not written.
    """
    copy, rows, labels = _unpacked(paths)
    empty = rows["image_size"] == 0
    classless = (rows["target"] < 0) & ~empty if labels and not captions else np.zeros(len(rows), dtype=np.bool_)
    left_out = PassedOver()
    for reason, lost in (("without an image", empty), ("without a class", classless)):
        for row in rows[lost]:
            left_out.add(reason, partial(_named, paths, row))
    rows = rows[~empty & ~classless]
    source = ParquetSource(
        where=where, paths=tuple(paths), copy=copy, rows=rows, labels=() if captions else labels, size=size
    )
    return usable(source, where, captions=captions, check=check, left_out=left_out)


def _named(paths: Sequence[Path], row: Any) -> str:
    return f"{paths[row['file']]}: row {int(row['row']):,}"


def _unpacked(paths: Sequence[Path]) -> tuple[Path, NDArray[Any], tuple[str, ...]]:
    """The copy, its rows and the names of the classes, made now or before."""
    try:
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        copy = _CACHE.path([_VERSION, states], ".bin")
        kept = intact(_kept, copy)
        if kept is not None:
            return copy, *kept
        copy.parent.mkdir(parents=True, exist_ok=True)
        rows: list[tuple[int, ...]] = []
        with cache_file(copy) as temporary, temporary.open("wb") as stream:
            labels = _copied(paths, stream, rows)
        found = np.array(rows, dtype=_ROW)
        with cache_file(copy.with_suffix(".npz")) as temporary:
            save_arrays(temporary, rows=found, about=np.array(json.dumps(labels)))
    except OSError as error:
        raise RunError(f"{error.filename or paths[0]}: cannot be read or copied: {error.strerror or error}") from error
    return copy, found, tuple(labels)


def _kept(copy: Path) -> tuple[NDArray[Any], tuple[str, ...]] | None:
    with np.load(copy.with_suffix(".npz"), allow_pickle=False) as found:
        rows, labels = found["rows"], tuple(json.loads(str(found["about"])))
    end = int((rows["image"] + rows["image_size"]).max(initial=0)) if rows.dtype == _ROW else -1
    return (rows, labels) if 0 <= end <= copy.stat().st_size else None


def _copied(paths: Sequence[Path], stream: IO[bytes], rows: list[tuple[int, ...]]) -> list[str]:
    """Copy images and captions, and note where they are; returns the names of the classes."""
    labels: dict[str, int] = {}
    with progress_bar(sum(opened_table(path).metadata.num_rows for path in paths), "unpacking parquet files") as bar:
        for number, path in enumerate(paths):
            columns = _columns(path)
            for known in columns.names:
                labels.setdefault(plain_label(known), len(labels))
            for row, values in enumerate(_rows(path, columns)):
                image, captions = _image(values[columns.image], path), _captions(values, columns)
                target = _target(values.get(columns.label) if columns.label else None, columns, labels)
                text = json.dumps(captions).encode() if captions else b""
                start = stream.tell()
                stream.write(image + text)
                name = name_hash(f"{path.name}/{row}")
                rows.append((start, len(image), start + len(image), len(text), target, name, number, row))
                bar.advance()
    return list(labels)


class _Columns(NamedTuple):
    """Which columns are what; `names` are those of the classes where these are numbers."""

    image: str
    label: str | None
    captions: tuple[str, ...]
    names: tuple[str, ...]


def _columns(path: Path) -> _Columns:
    import pyarrow

    schema = opened_table(path).schema_arrow
    features: dict[str, Any] = {}
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    kinds = {name: each.get("_type") for name, each in features.items() if isinstance(each, dict)}

    def holds_images(field: Any) -> bool:
        if kinds.get(field.name) == "Image":
            return True
        fields = {each.name for each in field.type} if pyarrow.types.is_struct(field.type) else set()
        binary = pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type)
        return {"bytes", "path"} <= fields or (binary and field.name.lower() in _IMAGES)

    images = [field.name for field in schema if holds_images(field)]
    if not images:
        hint = "expected a column of images as Hugging Face datasets have them: a struct of bytes and path"
        raise UsageError(f"{path}: has no images among its columns ({', '.join(schema.names)})", hint=hint)
    named = [name for name in schema.names if kinds.get(name) == "ClassLabel"]
    label = next(iter(named or [name for name in schema.names if name.lower() in _LABELS]), None)
    names = features[label].get("names") or () if label in kinds else ()
    captions = tuple(name for name in schema.names if _CAPTION.fullmatch(name.lower()))
    return _Columns(images[0], label, captions, tuple(map(str, names)))


def _rows(path: Path, columns: _Columns) -> Iterator[dict[str, Any]]:
    import pyarrow

    wanted = [columns.image, *([columns.label] if columns.label else []), *columns.captions]
    try:
        for batch in opened_table(path).iter_batches(batch_size=_AT_ONCE, columns=wanted):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: is damaged ({error})") from error


def _image(value: Any, path: Path) -> bytes:
    """The bytes of an image's file: those in the row, or those of the file beside the table that it names."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, dict):
        return b""
    if value.get("bytes"):
        return bytes(value["bytes"])
    beside = path.parent / str(value.get("path") or "")
    inside = beside.resolve().is_relative_to(path.parent.resolve())
    return beside.read_bytes() if value.get("path") and inside and beside.is_file() else b""


def _captions(values: dict[str, Any], columns: _Columns) -> list[str]:
    said: list[str] = []
    for name in columns.captions:
        value = values[name]
        said += [value] if isinstance(value, str) else [each for each in value or () if isinstance(each, str)]
    return list(dict.fromkeys(each.strip() for each in said if each.strip()))


def _target(value: Any, columns: _Columns, labels: dict[str, int]) -> int:
    """The number of a row's class; -1 for none. Names of classes that the schema lacks are added."""
    if value is None or value == "" or isinstance(value, (list, dict)):
        return -1
    if columns.names and isinstance(value, int):
        return labels[plain_label(columns.names[value])] if 0 <= value < len(columns.names) else -1
    return labels.setdefault(plain_label(str(value)), len(labels))
