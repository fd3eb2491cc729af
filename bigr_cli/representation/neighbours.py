"""The nearest of many feature vectors to one: by cosine, or packed codes by the bits in which they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    All vectors are taken from the rows' mean, if there are two or more: what all pictures have in common would make
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
