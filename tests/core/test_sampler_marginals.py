"""The sampler against the marginals of 4,096 codes that the published code drew, case by case.

Seeds are fixed, so these tests say the same every time. `p` is the chance of a difference as large or larger if both
sides draw from one distribution; a thousandth is where we would stop believing that.
"""

import pytest
import torch
from torch import Tensor

CASES = ["uncfg_order", "gumbel_down_linear"]
LEAST_P = 1e-3
FIRST_SEED = 10**6


@pytest.fixture(scope="module")
def drawn(parity, published) -> dict[str, Tensor]:
    """A few seconds' worth of codes of each case; 16,384 of them in the slow test."""
    return {case: parity.draw(published, case, 768, first_seed=FIRST_SEED) for case in CASES}


def check(found) -> None:
    assert found.bits == 128
    assert found.p_mean > LEAST_P, found
    assert found.p_pairs > LEAST_P, found
    assert 0.9 < found.covariance < 1.1, found


def test_every_case_is_tried(published) -> None:
    assert published.cases == CASES


@pytest.mark.parametrize("case", CASES)
def test_marginals(parity, published, drawn: dict[str, Tensor], case: str) -> None:
    check(parity.agreement(published, case, drawn[case]))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_marginals_of_many(parity, published, case: str) -> None:
    check(parity.agreement(published, case, parity.draw(published, case, 16_384, first_seed=FIRST_SEED)))


def test_the_comparison_tells_the_cases_apart(parity, published, drawn: dict[str, Tensor]) -> None:
    for case, other in (CASES, CASES[::-1]):
        assert parity.agreement(published, case, drawn[other]).p_mean < 1e-5


def test_the_comparison_sees_lost_correlations(parity, published) -> None:
    """Independent bits with the published means pass for their means, not for their covariances."""
    mean = published.expected[f"sample.{CASES[0]}.bit_mean"]
    independent = torch.rand(4096, *mean.shape, generator=torch.Generator().manual_seed(0)) < mean
    found = parity.agreement(published, CASES[0], independent)
    assert found.p_mean > LEAST_P and found.covariance > 1.1
