import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.evaluation.reconstruction import BitCounts, bit_usage, boxes, psnr


@given(error=st.floats(0.001, 0.5), batch=st.integers(1, 3), side=st.integers(1, 9))
def test_psnr_of_a_constant_error(error: float, batch: int, side: int) -> None:
    given_ = torch.full((batch, 3, side, side), 0.5)
    values = psnr(given_ + error, given_)
    assert values.shape == (batch,)
    assert values.tolist() == pytest.approx([-20 * math.log10(error)] * batch, abs=1e-2)


def test_psnr_of_the_same_image_is_finite() -> None:
    image = torch.rand(1, 3, 4, 4)
    assert float(psnr(image, image)) == pytest.approx(100)


def test_psnr_clamps_what_was_made() -> None:
    white = torch.ones(1, 3, 2, 2)
    assert float(psnr(white + 5, white)) == pytest.approx(100)


def test_psnr_of_a_part_sees_only_that_part() -> None:
    given_ = torch.zeros(1, 3, 4, 4)
    made = given_.clone()
    made[..., :2, :] = 0.1
    made[..., 2:, :] = 1
    where = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    where[..., :2, :] = True
    assert float(psnr(made, given_, where)) == pytest.approx(20)
    assert float(psnr(made, given_, ~where)) == pytest.approx(0)


@given(
    side=st.integers(3, 12),
    corners=st.tuples(*(st.integers(0, 11) for _ in range(4))),
    value=st.integers(128, 255),
)
def test_boxes_are_those_around_the_object(side: int, corners: tuple[int, int, int, int], value: int) -> None:
    ys, xs = sorted(c % side for c in corners[:2]), sorted(c % side for c in corners[2:])
    foreground = torch.zeros(1, 1, side, side, dtype=torch.uint8)
    foreground[0, 0, ys[0], xs[0]] = value
    foreground[0, 0, ys[1], xs[1]] = value
    expected = torch.zeros(1, 1, side, side, dtype=torch.bool)
    expected[..., ys[0] : ys[1] + 1, xs[0] : xs[1] + 1] = True
    assert torch.equal(boxes(foreground), expected)


def test_faint_coverage_makes_no_box() -> None:
    assert not boxes(torch.full((2, 1, 4, 4), 127, dtype=torch.uint8)).any()


def test_usage_of_good_bits() -> None:
    codes = torch.rand(64, 16, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    usage = bit_usage(codes)
    assert usage["bits_used"] == 1
    assert usage["bits_entropy"] > 0.99
    assert usage["bits_duplicated"] == 0


def test_usage_of_bits_that_are_stuck_or_repeat() -> None:
    codes = torch.rand(64, 16, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    codes[..., 1] = True
    codes[..., 3] = codes[..., 2]
    codes[..., 5] = ~codes[..., 4]
    usage = bit_usage(codes)
    assert usage["bits_used"] == pytest.approx(5 / 6)
    assert usage["bits_entropy"] == pytest.approx(5 / 6, abs=0.01)
    assert usage["bits_duplicated"] == pytest.approx(2 / 6)


def test_bits_are_counted_the_same_in_any_parts() -> None:
    codes = torch.rand(12, 5, 7, generator=torch.Generator().manual_seed(0)) > 0.3
    codes[..., 6] = ~codes[..., 0]
    counts = BitCounts(7)
    for part in codes.split(5):
        counts.add(part)
    assert counts.usage() == pytest.approx(bit_usage(codes))
    wanted = torch.corrcoef(codes.flatten(0, 1).T.double()).abs().tril(-1)
    assert torch.allclose(counts.correlations(), wanted, atol=1e-9)
    assert counts.correlation()["bits_correlation_max"] == pytest.approx(1)
    assert counts.correlation()["bits_correlation_mean"] == pytest.approx(float(wanted.sum()) / 21)
