from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.imaging.windows import (
    Window,
    cut,
    extent,
    plan_windows,
    resized,
    surroundings,
    touched_tokens,
    window_side,
)

SIZES = st.integers(1, 300)


@given(height=SIZES, width=SIZES, size=st.sampled_from([16, 64, 256]), share=st.floats(0, 1))
def test_a_window_is_no_larger_than_the_image_unless_that_is_a_strip(
    height: int, width: int, size: int, share: float
) -> None:
    side = window_side(max(1, round(share * max(height, width))), (height, width), size)
    assert 1 <= side <= max(height, width)
    assert side <= 2 * size
    assert side <= min(height, width) or side <= size // 2


def test_an_image_of_the_models_size_is_seen_whole() -> None:
    assert [window_side(extent, (64, 64), 64) for extent in (1, 20, 64)] == [64, 64, 64]


def test_an_object_is_seen_whole_and_no_smaller_than_it_need_be() -> None:
    assert [window_side(extent, (64, 64), 64, filled=0.625) for extent in (1, 20, 25, 40, 64)] == [32, 32, 40, 64, 64]
    found = [window_side(extent, (2000, 1500), 64, filled=0.625) for extent in (5, 40, 60, 130, 500)]
    assert found == [32, 64, 96, 208, 256]


@given(height=SIZES, width=SIZES, size=st.sampled_from([16, 64, 256]), share=st.floats(0, 1))
def test_a_filled_window_is_within_the_image_too(height: int, width: int, size: int, share: float) -> None:
    side = window_side(max(1, round(share * max(height, width))), (height, width), size, filled=0.625)
    assert 1 <= side <= min(4 * size, max(height, width))
    assert side <= min(height, width) or side <= size // 2


def test_a_small_region_of_a_large_image_is_seen_at_full_resolution_and_a_larger_one_with_context() -> None:
    assert [window_side(extent, (2000, 1500), 64) for extent in (5, 40, 60, 500)] == [64, 80, 120, 128]


@given(height=SIZES, width=SIZES, side=st.integers(1, 130), step=st.sampled_from([0.1, 0.25, 0.5, 1]), data=st.data())
def test_windows_cover_every_region(height: int, width: int, side: int, step: float, data: st.DataObject) -> None:
    region = np.zeros((height, width), dtype=bool)
    for _ in range(data.draw(st.integers(0, 3))):
        x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        w, h = data.draw(st.integers(1, min(width, 8 * side))), data.draw(st.integers(1, min(height, 8 * side)))
        region[y : y + h, x : x + w] = True
    covered = np.zeros_like(region)
    for window in plan_windows(region, side, step):
        covered[window.clipped(height, width)] = True
        if side <= min(height, width):
            assert 0 <= window.x <= width - side
            assert 0 <= window.y <= height - side
    assert not (region & ~covered).any()


def test_nothing_to_paint_needs_no_window() -> None:
    region = np.zeros((20, 20), dtype=bool)
    assert plan_windows(region, 16) == []
    assert extent(region) == 0


def test_a_region_with_room_around_it_gets_one_window_with_it_in_the_middle() -> None:
    region = np.zeros((200, 300), dtype=bool)
    region[90:110, 140:160] = True
    assert plan_windows(region, 64) == [Window(118, 68, 64)]


def test_a_large_hole_is_painted_from_what_is_known_inwards() -> None:
    region = np.zeros((400, 400), dtype=bool)
    region[100:300, 100:300] = True
    windows = plan_windows(region, 64)
    middles = [max(abs(w.x + 32 - 200), abs(w.y + 32 - 200)) for w in windows]
    assert middles[0] > 80
    assert middles[-1] < 40


def test_a_wider_canvas_is_painted_away_from_the_image() -> None:
    region = np.ones((64, 192), dtype=bool)
    region[:, :64] = False
    assert [window.x for window in plan_windows(region, 64)] == [32, 64, 96, 128]
    assert [window.x for window in plan_windows(region, 64, 0.25)] == [16, 32, 48, 64, 80, 96, 112, 128]


@given(side=st.integers(1, 100), grid=st.integers(1, 16), data=st.data())
def test_a_token_is_touched_by_each_of_its_pixels(side: int, grid: int, data: st.DataObject) -> None:
    region = np.zeros((side, side), dtype=bool)
    y, x = data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1))
    region[y, x] = True
    tokens = touched_tokens(region, Window(0, 0, side), grid)

    def overlap(pixel: int) -> np.ndarray:
        """Whether [pixel, pixel + 1) and [token · side / grid, (token + 1) · side / grid) share more than a point."""
        starts = [Fraction(token * side, grid) for token in range(grid)]
        return np.array([start < pixel + 1 and start + Fraction(side, grid) > pixel for start in starts])

    assert np.array_equal(tokens, np.outer(overlap(y), overlap(x)))


def test_what_lies_beyond_the_image_is_unknown() -> None:
    nothing = np.zeros((8, 4), dtype=bool)
    tokens = touched_tokens(nothing, Window(-2, 0, 8), 4)
    assert tokens.tolist() == [[True, False, False, True]] * 4


def test_tokens_near_a_region_count_within_reach_but_for_those_at_the_windows_border() -> None:
    region = np.zeros((16, 14), dtype=bool)
    region[6:8, 4:6] = True
    window = Window(0, 0, 16)  # 2 pixels a token; its last column is beyond the image
    for reach, rows, columns in (
        (0, [3], [2]),
        (0.25, [2, 3, 4], [1, 2, 3]),
        (1.25, [1, 2, 3, 4, 5], [1, 2, 3, 4]),
        (9, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
    ):
        tokens = touched_tokens(region, window, 8, reach=reach)
        assert tokens[:, 7].all()
        assert np.argwhere(tokens[:, :7]).tolist() == [[row, column] for row in rows for column in columns]
    region[0, 0] = True
    assert touched_tokens(region, window, 8, reach=9)[0].tolist() == [True, *[False] * 6, True]


@given(x=st.integers(0, 12), y=st.integers(0, 12), width=st.integers(1, 4), zoom=st.sampled_from([1, 2, 4]))
def test_a_region_is_surrounded_within_the_image(x: int, y: int, width: int, zoom: int) -> None:
    region = np.zeros((13 * zoom, 13 * zoom), dtype=bool)
    region[y * zoom : (y + 1) * zoom, x * zoom : (x + 1) * zoom] = True
    found = surroundings(region, Window(0, 0, 16 * zoom), 16, width)
    expected = np.zeros((16, 16), dtype=bool)
    expected[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1] = True
    expected[y, x] = False
    expected[13:] = expected[:, 13:] = False
    assert np.array_equal(found, expected)


def test_a_window_of_the_models_size_shows_the_pixels_themselves() -> None:
    pixels = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    assert np.array_equal(cut(pixels, Window(3, 4, 16), 16), pixels[4:20, 3:19])
    beyond = cut(pixels, Window(-4, 0, 16), 16)
    assert np.array_equal(beyond[:, :4], np.repeat(pixels[:16, :1], 4, axis=1))


@given(size=st.integers(1, 12), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_hidden_pixels_look_like_the_nearest_that_are_seen(size: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.random((size, size, 3), dtype=np.float32)
    hidden = rng.random((size, size)) < share
    shown = cut(pixels, Window(0, 0, size), size, hidden)
    assert np.array_equal(shown[~hidden], pixels[~hidden])
    seen = np.argwhere(~hidden)
    for place in np.argwhere(hidden):
        if len(seen) == 0:
            assert (shown[tuple(place)] == 0.5).all()
            continue
        away = np.linalg.norm(seen - place, axis=1)
        near = seen[away <= 1.05 * away.min()]  # OpenCV's distances are approximate
        assert (shown[tuple(place)] == pixels[tuple(near.T)]).all(axis=-1).any()


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_resizing_keeps_constants_and_bounds(shape: tuple[int, ...]) -> None:
    constant = np.full(shape, 0.25, dtype=np.float32)
    assert resized(constant, 20, 30).shape == (30, 20, *shape[2:])
    assert np.allclose(resized(constant, 20, 30), 0.25, atol=1e-6)
    steep = np.zeros(shape, dtype=np.float32)
    steep[2:] = 1
    assert 0 <= resized(steep, 40, 40).min() <= resized(steep, 40, 40).max() <= 1


def test_the_largest_part_counts() -> None:
    region = np.zeros((50, 50), dtype=bool)
    region[0:3, 0:10] = region[20:45, 30:33] = True
    assert extent(region) == 25
