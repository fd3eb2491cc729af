"""Files that list the images of a folder: captions.jsonl, and the metadata files of Hugging Face's image folders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bigr_cli.errors import UsageError
from bigr_cli.files import reading
from bigr_cli.text_files import decoded

LISTING = "captions.jsonl"
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")

csv.field_size_limit(2**24)


def listed_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a listing by their numbers, from 1 on; a row that is no JSON is a ValueError in its place.

    Raises:
        UsageError: the file cannot be read.
    """
    if path.suffix == ".parquet":
        yield from enumerate(_parquet_rows(path), 1)
        return
    with reading(path, UsageError):
        try:
            text = decoded(path.read_bytes(), "surrogateescape")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: is neither UTF-8 nor UTF-16 ({error.reason})") from error
    if path.suffix == ".csv":
        yield from _csv_rows(path, text)
        return
    # Not splitlines: a text in JSON may hold other characters that end lines, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, ValueError(str(error))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if key is not None and value}
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: is no CSV ({error})") from error


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from bigr_cli.data.parquet import opened_table

    for batch in opened_table(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()
