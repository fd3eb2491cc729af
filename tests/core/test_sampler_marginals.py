"""The sampler against the marginals of 4,096 codes that the published code drew, case by case.

Seeds are fixed, so these tests say the same every time. `p` is the chance of a difference as large or larger if both
sides draw from one distribution; a thousandth is where we would stop believing that.
"""

import pytest
import torch

CASES = ["uncfg_order", "gumbel_down_linear"]
LEAST_P = 1e-3


def check(found) -> None:
    assert found.bits == 128
    assert found.p_mean > LEAST_P, found
    assert found.p_pairs > LEAST_P, found
    assert found.covariance < 1.15, found


def test_every_case_is_tried(published) -> None:
    assert published.cases == CASES


@pytest.mark.parametrize("case", CASES)
def test_marginals(parity, published, case: str) -> None:
    check(parity.agreement(published, case, parity.draw(published, case, 768)))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_marginals_of_many(parity, published, case: str) -> None:
    check(parity.agreement(published, case, parity.draw(published, case, 16_384, first_seed=10**6)))


def test_the_comparison_tells_other_codes_apart(parity, published) -> None:
    """Codes of the one case are not taken for those of the other."""
    found = parity.agreement(published, CASES[1], parity.draw(published, CASES[0], 768))
    assert found.p_mean < 1e-9


def test_the_comparison_accepts_what_has_the_right_means(parity, published) -> None:
    """Independent bits with the published means pass for their means, not for their covariances."""
    mean = published.expected[f"sample.{CASES[0]}.bit_mean"]
    drawn = torch.rand(4096, *mean.shape, generator=torch.Generator().manual_seed(0)) < mean
    found = parity.agreement(published, CASES[0], drawn)
    assert found.p_mean > LEAST_P and found.covariance > 1.15
