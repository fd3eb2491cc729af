"""The flip loss of the generator's training."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.loss import flip_loss, masked_mean


def test_by_hand() -> None:
    """One of four bits flipped: f = 1/4, weight 3/4 + 1/4 on it and 1/4 + 1/4 on the others; logits 0 cost ln 2."""
    flipped = torch.tensor([[True, False, False, False]])
    expected = torch.tensor([[1.0, 0.5, 0.5, 0.5]]) * math.log(2)
    torch.testing.assert_close(flip_loss(torch.zeros(1, 4), flipped), expected)


def test_every_token_has_a_balance_of_its_own() -> None:
    logits, flipped = torch.randn(3, 5), torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
    together = flip_loss(logits, flipped)
    for row in range(3):
        torch.testing.assert_close(flip_loss(logits[row : row + 1], flipped[row : row + 1])[0], together[row])


def test_no_flips_at_all_still_teach_something() -> None:
    """With f = 0 only 1/K is left of the weight, not nothing."""
    loss = flip_loss(torch.full((1, 8), 2.0), torch.zeros(1, 8).bool())
    torch.testing.assert_close(loss, torch.full((1, 8), math.log1p(math.exp(2.0)) / 8))


@given(st.integers(1, 6), st.integers(1, 33), st.integers(0, 2**31), st.floats(0.1, 50))
def test_flipped_and_kept_bits_weigh_the_same(rows: int, bits: int, seed: int, scale: float) -> None:
    """Besides the 1/K, both kinds of bits sum to the same weight; the loss is finite and not negative."""
    chance = torch.Generator().manual_seed(seed)
    flipped = torch.rand(rows, bits, generator=chance) < 0.4
    weight = flip_loss(torch.zeros(rows, bits), flipped) / math.log(2) - 1 / bits
    torch.testing.assert_close((weight * flipped).sum(1), (weight * ~flipped).sum(1), atol=1e-4, rtol=1e-4)
    loss = flip_loss(scale * torch.randn(rows, bits, generator=chance), flipped)
    assert torch.isfinite(loss).all() and (loss >= 0).all()


def test_right_predictions_cost_less() -> None:
    flipped = torch.tensor([[True, False, True, False]])
    right = torch.where(flipped, 3.0, -3.0)
    assert float(flip_loss(right, flipped).sum()) < float(flip_loss(-right, flipped).sum()) / 10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_is_computed_in_float32(dtype: torch.dtype) -> None:
    assert flip_loss(torch.zeros(2, 3, dtype=dtype), torch.zeros(2, 3).bool()).dtype == torch.float32


def test_masked_mean_counts_masked_tokens_only() -> None:
    per_bit = torch.tensor([[1.0, 3.0], [100.0, 100.0], [4.0, 6.0]])
    assert float(masked_mean(per_bit, torch.tensor([True, False, True]))) == pytest.approx((1 + 3 + 4 + 6) / 4)


def test_masked_mean_of_nothing_is_zero() -> None:
    per_bit = torch.ones(3, 2, requires_grad=True)
    loss = masked_mean(per_bit, torch.zeros(3).bool())
    loss.backward()
    assert loss.item() == 0 and torch.equal(per_bit.grad, torch.zeros(3, 2))


def test_gradients_reach_masked_tokens_only() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    flipped = torch.tensor([[1, 0, 0, 1], [1, 0, 1, 0]]).bool()
    masked_mean(flip_loss(logits, flipped), torch.tensor([True, False])).backward()
    assert (logits.grad[0] != 0).all() and (logits.grad[1] == 0).all()
