"""Noise, masking, guidance and Gumbel schedules."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.config import GUIDANCE_SCHEDULES, GUMBEL_SCHEDULES, MASK_SCHEDULES, MaskSchedule
from bigr_cli.core.schedule import (
    BernoulliSchedule,
    denoising_timesteps,
    guidance_at,
    gumbel_at,
    masked_count,
    timesteps_at,
)

T = 256
EVERYWHERE = (0.0, 1.0)


@pytest.fixture(scope="module")
def noise() -> BernoulliSchedule:
    return BernoulliSchedule(T)


@given(st.integers(0, 4096), st.integers(1, 4096))
def test_the_masking_schedule_falls_to_zero(unknown: int, steps: int) -> None:
    counts = [unknown, *(masked_count(unknown, i, steps) for i in range(steps))]
    assert counts[-1] == 0
    assert all(later <= earlier for earlier, later in pairwise(counts))
    assert all(0 <= count <= unknown for count in counts)


def test_the_masking_schedule_follows_the_cosine() -> None:
    """⌊16 cos(π (i + 1) / 10)⌋, by hand."""
    assert [masked_count(16, i, 5) for i in range(5)] == [15, 12, 9, 4, 0]
    assert [masked_count(16, i, 4) for i in range(4)] == [14, 11, 6, 0]
    assert [masked_count(256, i, 1) for i in range(1)] == [0]


@pytest.mark.parametrize("schedule", MASK_SCHEDULES)
@pytest.mark.parametrize("tokens", [1, 64, 256, 1024])
def test_masked_counts_are_those_of_the_published_sampler(schedule: MaskSchedule, tokens: int) -> None:
    """For every iteration of up to 256, as NumPy rounds them: ⌊rate · tokens⌋."""
    for steps in range(1, 257):
        for i in range(steps):
            share = 1.0 * (i + 1) / steps
            rate = 1.0 - share if schedule == "linear" else np.cos(np.pi / 2.0 * share)
            assert masked_count(tokens, i, steps, schedule) == int(np.floor(rate * tokens)), (steps, i)


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_timesteps_fall_from_the_last_to_the_first(numbers: tuple[int, int]) -> None:
    total, count = numbers
    timesteps = denoising_timesteps(total, count)
    assert len(timesteps) == count
    assert all(later < earlier for earlier, later in pairwise(timesteps))
    assert (timesteps[0], timesteps[-1]) == (1 if count == 1 else total, 1)


def truncated(total: int, count: int) -> list[int]:
    """The list of the published sampler: NumPy's linspace, truncated; every timestep if all are asked for."""
    chosen = np.arange(total) if count == total else (np.linspace(0.0, 1.0, count) * (total - 1)).astype(int)
    return [int(index) + 1 for index in chosen[::-1]]


@pytest.mark.parametrize("total", [1, 2, 20, 100, 256, 1000])
def test_timesteps_are_those_of_the_published_sampler(total: int) -> None:
    """All counts, to the last unit: 1 + ⌊linspace(0, 1, S) (T − 1)⌋ as double precision truncates it."""
    assert [n for n in range(1, total + 1) if denoising_timesteps(total, n) != truncated(total, n)] == []


def test_exact_arithmetic_would_give_other_timesteps() -> None:
    """For 21 of 256 counts, 18 and 52 among them; this is why the list is not computed with integers."""
    exact = {n: [1 + i * (T - 1) // max(1, n - 1) for i in reversed(range(n))] for n in range(1, T + 1)}
    exact[1] = [T]
    others = [n for n in exact if exact[n] != denoising_timesteps(T, n)]
    assert len(others) == 21 and {1, 18, 52} < set(others)


@pytest.mark.parametrize("count", [0, -1, 257])
def test_timesteps_that_are_not_there(count: int) -> None:
    with pytest.raises(ValueError, match=f"timesteps: expected 1 to 256, got {count}"):
        denoising_timesteps(256, count)


def test_without_noise_a_bit_is_itself_and_at_the_end_a_coin(noise: BernoulliSchedule) -> None:
    assert (float(noise.k[0]), float(noise.b[0]), float(noise.beta[0])) == (1, 0, 1)
    assert (float(noise.k[T]), float(noise.b[T])) == (0, 0.5)
    assert noise.k.shape == noise.b.shape == noise.beta.shape == (T + 1,)


@pytest.mark.parametrize("timesteps", [1, 2, 7, 256])
def test_k_and_b_belong_together(timesteps: int) -> None:
    """P(1 | 0) = b and P(1 | 1) = k + b add up to 1, as 0 and 1 are alike: k + 2b = 1; and k_t = 1 − t/T."""
    table = BernoulliSchedule(timesteps)
    torch.testing.assert_close(table.k + 2 * table.b, torch.ones(timesteps + 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(table.k, 1 - torch.arange(timesteps + 1) / timesteps, atol=1e-6, rtol=0)
    torch.testing.assert_close(table.k[1:], table.k[:-1] * table.beta[1:], atol=1e-7, rtol=0)
    assert (table.k[1:] < table.k[:-1]).all()


def test_noised_is_the_share_of_ones(noise: BernoulliSchedule) -> None:
    t = torch.tensor([0, 128, 256])
    bits = torch.tensor([[True, False]]).expand(3, 2)
    torch.testing.assert_close(noise.noised(bits, t), torch.tensor([[1, 0], [0.75, 0.25], [0.5, 0.5]]))


def chain(noise: BernoulliSchedule, start: int, end: int) -> torch.Tensor:
    """P(x_end = column | x_start = row), one step of the noise after the other, in float64."""
    product = torch.eye(2, dtype=torch.float64)
    for t in range(start + 1, end + 1):
        beta = noise.beta[t].double()
        product = product @ (beta * torch.eye(2, dtype=torch.float64) + (1 - beta) / 2)
    return product


@given(st.data())
def test_the_posterior_is_that_of_bayes(noise: BernoulliSchedule, data: st.DataObject) -> None:
    """P(x_s | x_t) ∝ P(x_s) P(x_t | x_s), summed over both values of x_0 with the chain multiplied out."""
    t = data.draw(st.integers(1, T), label="t")
    s = data.draw(st.integers(0, t - 1), label="s")
    p = data.draw(st.floats(0.01, 0.99), label="P(x_0 = 1)")
    bit = data.draw(st.booleans(), label="x_t")
    x0 = torch.tensor([1 - p, p], dtype=torch.float64)
    prior = x0 @ chain(noise, 0, s)
    joint = prior * chain(noise, s, t)[:, int(bit)]
    found = noise.posterior(torch.tensor([[bit]]), torch.tensor([[p]]), torch.tensor([t]), torch.tensor([s]))
    assert abs(float(found) - float(joint[1] / joint.sum())) < 1e-5


@given(st.integers(1, T), st.data(), st.integers(0, 2**31))
def test_the_posterior_is_a_probability(noise: BernoulliSchedule, t: int, data: st.DataObject, seed: int) -> None:
    """For one pair of timesteps, or one for each row, P(x_0) at its ends included."""
    chance = torch.Generator().manual_seed(seed)
    s = data.draw(st.integers(1, t - 1)) if t > 1 else 0
    bits = torch.rand(6, 5, generator=chance) < 0.5
    p = torch.rand(6, 5, generator=chance)
    p[:2] = 0 if s > 0 else 0.001
    p[2:4] = 1 if s > 0 else 0.999
    one = noise.posterior(bits, p, torch.tensor([t]), torch.tensor([s]))
    assert one.shape == (6, 5) and torch.isfinite(one).all()
    assert (0 <= one).all() and (one <= 1).all()
    assert torch.equal(noise.posterior(bits, p, torch.full((6,), t), torch.full((6,), s)), one)


def test_the_posterior_treats_both_values_alike(noise: BernoulliSchedule) -> None:
    bits, p = torch.tensor([[True, False, True]]), torch.tensor([[0.2, 0.6, 0.99]])
    t, s = torch.tensor([200]), torch.tensor([50])
    torch.testing.assert_close(noise.posterior(~bits, 1 - p, t, s), 1 - noise.posterior(bits, p, t, s))


@given(st.floats(0, 20), st.sampled_from(GUIDANCE_SCHEDULES), st.integers(1, 64))
def test_guidance_goes_from_none_to_all(scale: float, schedule, steps: int) -> None:
    """Every schedule ends at the scale and runs between 1 and it, in one direction."""
    values = [guidance_at(scale, schedule, EVERYWHERE, i, steps) for i in range(steps)]
    assert values[-1] == pytest.approx(scale, abs=1e-9)
    low, high = min(1.0, scale) - 1e-9, max(1.0, scale) + 1e-9
    assert all(low <= value <= high for value in values)
    assert values == sorted(values, reverse=scale < 1)


def test_chains_become_shorter_evenly() -> None:
    assert [timesteps_at(20, 4, i, 5) for i in range(5)] == [20, 16, 12, 8, 4]
    assert [timesteps_at(3, 6, i, 2) for i in range(2)] == [3, 6]
    assert [timesteps_at(20, 0, i, 3) for i in range(3)] == [20] * 3
    assert timesteps_at(20, 4, 0, 1) == 20


def test_guidance_schedules_by_hand() -> None:
    assert [guidance_at(3, "constant", EVERYWHERE, i, 5) for i in range(5)] == [3] * 5
    assert [guidance_at(3, "linear", EVERYWHERE, i, 5) for i in range(5)] == pytest.approx([1.4, 1.8, 2.2, 2.6, 3])
    assert [guidance_at(3, "cosine", EVERYWHERE, i, 2) for i in range(2)] == pytest.approx([2, 3])


def test_no_guidance_outside_the_interval() -> None:
    values = [guidance_at(3, "constant", (0.25, 0.75), i, 8) for i in range(8)]
    assert values == [1, 1, 3, 3, 3, 3, 1, 1]


def test_gumbel_schedules_by_hand() -> None:
    """The published schedules: τ, τ (i + 1)/N and τ (1 − (i + 1)/N)."""
    assert [gumbel_at(0.5, "constant", i, 4) for i in range(4)] == [0.5] * 4
    assert [gumbel_at(0.5, "up", i, 4) for i in range(4)] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert [gumbel_at(0.5, "down", i, 4) for i in range(4)] == pytest.approx([0.375, 0.25, 0.125, 0])


@given(st.floats(0, 5), st.sampled_from(GUMBEL_SCHEDULES), st.integers(1, 64))
def test_gumbel_weights_are_never_negative(scale: float, schedule, steps: int) -> None:
    assert all(0 <= gumbel_at(scale, schedule, i, steps) <= scale for i in range(steps))
