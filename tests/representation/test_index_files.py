"""Nearest vectors, compared with the plainest way of finding them."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.representation import index_files
from bigr_cli.representation.index_files import cosine, hamming, nearest


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_hamming_counts_bits(rows: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (rows, width), dtype=np.uint8)
    query = rng.integers(0, 256, width, dtype=np.uint8)
    plain = np.unpackbits(codes ^ query, axis=1).sum(axis=1)
    assert np.array_equal(hamming(codes, query), plain)


def test_hamming_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (50, 24), dtype=np.uint8)
    expected = hamming(codes, codes[3])
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert np.array_equal(hamming(codes, codes[3]), expected)


@given(st.integers(2, 30), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_cosine_is_the_angle_seen_from_the_mean(rows: int, shape: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, *shape)).astype(np.float32)
    query = rng.normal(size=shape).astype(np.float32)
    centre = features.mean(axis=0)
    flat, one = (features - centre).reshape(rows, -1), (query - centre).ravel()
    plain = flat @ one / np.linalg.norm(flat, axis=1) / np.linalg.norm(one)
    assert np.allclose(cosine(features, query), plain, atol=1e-3)


def test_a_vector_without_direction_is_like_none() -> None:
    assert cosine(np.zeros((3, 4), dtype=np.float32), np.ones(4, dtype=np.float32)).tolist() == [0, 0, 0]
    assert cosine(np.ones((1, 4), dtype=np.float32), np.ones(4, dtype=np.float32)) == pytest.approx([1])


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    codes, features = rng.integers(0, 256, (10, 8), dtype=np.uint8), rng.normal(size=(10, 4)).astype(np.float32)
    before = hamming(codes, codes[0]), cosine(features, features[0])
    monkeypatch.setattr(index_files, "_ROWS", 3)
    assert np.array_equal(hamming(codes, codes[0]), before[0])
    assert np.allclose(cosine(features, features[0]), before[1], atol=1e-6)


def test_ties_keep_their_order() -> None:
    assert nearest(np.array([2, 1, 2, 1, 0]), 4).tolist() == [4, 1, 3, 0]


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="expected"):
        hamming(np.zeros((2, 3), np.uint8), np.zeros(4, np.uint8))
    with pytest.raises(ValueError, match="expected"):
        cosine(np.zeros((2, 3)), np.zeros(4))


def test_a_hundred_thousand_codes_are_searched_at_once() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (100_000, 192), dtype=np.uint8)
    best = min(_seconds(codes) for _ in range(3))
    assert best < 0.3


def _seconds(codes: np.ndarray) -> float:
    start = time.perf_counter()
    nearest(hamming(codes, codes[5]), 10)
    return time.perf_counter() - start
