"""Orders that are fixed in advance, and the certainty that decides the others."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.config import ORDERS
from bigr_cli.core.schedule import certainty, fixed_ranks, halton_sequence, is_fixed, ranks

SEEDS = st.integers(0, 2**63 - 1)
GRIDS = range(1, 41)


@pytest.mark.parametrize("grid", GRIDS)
def test_halton_visits_every_cell_once(grid: int) -> None:
    assert sorted(halton_sequence(grid)) == list(range(grid * grid))


def test_halton_begins_as_known() -> None:
    """(1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9) on a grid of 8."""
    assert halton_sequence(8)[:4] == [4 * 8 + 2, 2 * 8 + 5, 6 * 8 + 0, 1 * 8 + 3]


@pytest.mark.parametrize("grid", [8, 16, 32])
def test_halton_spreads_out(grid: int) -> None:
    """Of the first quarter, every quadrant gets its share, within two."""
    quarter = torch.tensor(halton_sequence(grid)[: grid * grid // 4])
    quadrants = (quarter // grid >= grid // 2).long() * 2 + (quarter % grid >= grid // 2).long()
    counts = torch.bincount(quadrants, minlength=4)
    assert int((counts - grid * grid // 16).abs().max()) <= 2


def test_halton_ranks_invert_the_sequence() -> None:
    place = fixed_ranks("halton", torch.tensor([1, 2]), 5)
    assert torch.equal(place[0], place[1])
    for rank, token in enumerate(halton_sequence(5)):
        assert int(place[0, token]) == rank


def test_raster_goes_row_by_row() -> None:
    assert fixed_ranks("raster", torch.tensor([5, 6]), 3).tolist() == [list(range(9))] * 2


@given(st.lists(SEEDS, min_size=1, max_size=5), st.sampled_from(["halton", "random", "raster"]), st.integers(1, 12))
def test_fixed_orders_are_permutations(seeds: list[int], order, grid: int) -> None:
    place = fixed_ranks(order, torch.tensor(seeds), grid)
    assert place.shape == (len(seeds), grid * grid)
    assert torch.equal(place.sort(dim=-1).values, torch.arange(grid * grid).expand(len(seeds), -1))


def test_random_orders_belong_to_their_seeds() -> None:
    seeds = torch.tensor([3, 1, 3, 2])
    place = fixed_ranks("random", seeds, 8)
    assert torch.equal(place[0], place[2])
    assert not torch.equal(place[0], place[1]) and not torch.equal(place[1], place[3])
    assert torch.equal(fixed_ranks("random", torch.tensor([1]), 8)[0], place[1])


def test_random_orders_favour_no_token() -> None:
    """The mean rank of every token over 4,000 seeds, within 5 standard errors."""
    place = fixed_ranks("random", torch.arange(4000), 3).double()
    error = ((9 * 9 - 1) / 12 / 4000) ** 0.5
    assert float((place.mean(0) - 4).abs().max()) < 5 * error


@given(st.lists(st.lists(st.integers(0, 5), min_size=7, max_size=7), min_size=1, max_size=4))
def test_ranks_sort_and_ties_go_by_position(rows: list[list[int]]) -> None:
    found = ranks(torch.tensor(rows).float())
    for row, place in zip(rows, found.tolist(), strict=True):
        expected = sorted(range(7), key=lambda token: (row[token], token))
        assert [expected.index(token) for token in range(7)] == place


def test_ranks_put_infinity_last() -> None:
    assert ranks(torch.tensor([[torch.inf, -1.0, torch.inf, -torch.inf]])).tolist() == [[2, 1, 3, 0]]


def test_which_orders_are_fixed() -> None:
    assert {order for order in ORDERS if not is_fixed(order)} == {"entropy", "confidence"}


@pytest.mark.parametrize("order", ["entropy", "confidence"])
class TestCertainty:
    def test_goes_from_0_to_1(self, order) -> None:
        p = torch.tensor([[0.5] * 4, [0.0] * 4, [1.0] * 4, [0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 1.0, 0.0]])
        torch.testing.assert_close(certainty(p, order), torch.tensor([0, 1, 1, 1, 0.5]), atol=1e-5, rtol=0)

    def test_does_not_care_which_value_is_likely(self, order) -> None:
        p = torch.rand(50, 8, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(certainty(p, order), certainty(1 - p, order), atol=1e-5, rtol=0)

    def test_grows_as_a_bit_becomes_certain(self, order) -> None:
        p = torch.full((40, 6), 0.7)
        p[:, 2] = torch.linspace(0.5, 1, 40)
        found = certainty(p, order)
        assert (found[1:] > found[:-1]).all()

    def test_is_a_number_between_0_and_1_even_at_the_ends(self, order) -> None:
        p = torch.rand(1000, 3, generator=torch.Generator().manual_seed(1)).round(decimals=2)
        found = certainty(p, order)
        assert found.shape == (1000,) and (found >= 0).all() and (found <= 1).all()


def test_entropy_is_measured_in_bits() -> None:
    """P = 0.11 has an entropy of 0.4999 bits."""
    assert float(certainty(torch.tensor([[0.11, 0.89]]), "entropy")) == pytest.approx(1 - 0.499916, abs=1e-5)
