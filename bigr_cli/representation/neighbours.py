"""The nearest of many feature vectors to one: by cosine, or packed codes by the bits in which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.errors import ModelFormatError, UsageError

if TYPE_CHECKING:
    from bigr_cli.representation.features import Wanted
    from bigr_cli.representation.index_files import Index

_ROWS = 16384  # at once, so that no more than a few megabytes are made on the way
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


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
