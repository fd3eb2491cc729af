"""The random numbers: the published generator, and what the sampler relies on when it uses them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.random import Stream, gumbel, philox, uniform

SEEDS = st.integers(0, 2**63 - 1)
N = 40_000

# Random123, kat_vectors: "philox4x32 10", then counter, key and the answer.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


def filled(seed: int, count: int) -> torch.Tensor:
    return torch.full((count,), seed)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    assert philox(words(counter), words(key)) == words(answer)  # type: ignore[arg-type]


def test_philox_broadcasts_its_words() -> None:
    """A column of places and a row of keys give what each pair gives alone."""
    place, low = torch.arange(5)[:, None], torch.arange(3)[None]
    zero = torch.zeros((), dtype=torch.int64)
    together = torch.stack(philox((place, zero, zero, zero), (low, zero)), dim=-1)
    assert together.shape == (5, 3, 4)
    for i in range(5):
        for j in range(3):
            alone = philox((torch.tensor(i), zero, zero, zero), (torch.tensor(j), zero))
            assert torch.equal(together[i, j], torch.stack(alone))


def test_uniform_words_are_philox_words() -> None:
    """The key is the seed, low word first; the counter is place, timestep, iteration, stream."""
    seed = 0x0123456789ABCDEF
    numbers = uniform(
        torch.tensor([seed]), Stream.GUMBEL, torch.tensor([7]), 8, iteration=5, timesteps=torch.tensor([3])
    )
    for quad in (0, 1):
        counter = tuple(torch.tensor(word) for word in (7 * 2 + quad, 3, 5, int(Stream.GUMBEL)))
        answer = torch.stack(philox(counter, (torch.tensor(0x89ABCDEF), torch.tensor(0x01234567))))  # type: ignore[arg-type]
        expected = ((answer >> 9).double() + 0.5) / 2**23
        assert torch.equal(numbers[0, 0, 4 * quad : 4 * quad + 4].double(), expected)


@given(SEEDS, st.sampled_from(Stream), st.integers(1, 33), st.integers(0, 2**31))
def test_uniform_is_strictly_between_0_and_1(seed: int, stream: Stream, width: int, iteration: int) -> None:
    numbers = uniform(filled(seed, 64), stream, torch.arange(64), width, iteration=iteration)
    assert numbers.shape == (64, width) and numbers.dtype == torch.float32
    assert 0 < numbers.min() and numbers.max() < 1


def test_the_largest_and_smallest_words_stay_inside() -> None:
    """2^-24 and 1 − 2^-24 are exact in float32, so neither rounds to 0 or 1."""
    ends = (torch.tensor([0, 2**32 - 1]) >> 9).float()
    low, high = (((ends) + 0.5) * 2.0**-23).tolist()
    assert low == 2.0**-24 and high == 1 - 2.0**-24


@given(SEEDS, st.sampled_from(Stream))
def test_uniform_has_the_moments_of_a_uniform(seed: int, stream: Stream) -> None:
    """Mean 1/2, variance 1/12 and no trend along the places; 6 sigma, as 25 seeds are tried."""
    numbers = uniform(filled(seed, N // 4), stream, torch.arange(N // 4), 4).double().flatten()
    centred = numbers - 0.5
    assert abs(float(centred.mean())) < 6 * (1 / 12 / N) ** 0.5
    assert abs(float((centred**2).mean()) - 1 / 12) < 6 * (1 / 180 / N) ** 0.5
    assert abs(float((centred[1:] * centred[:-1]).mean()) * 12) < 6 / N**0.5


def test_uniform_is_uniform_over_its_range() -> None:
    """Chi-square over 100 bins, 99 degrees of freedom: the 1 − 10^-4 quantile is 161."""
    numbers = uniform(filled(20, N // 4), Stream.BITS, torch.arange(N // 4), 4)
    counts = torch.histc(numbers, bins=100, min=0, max=1).double()
    assert float(((counts - N / 100) ** 2 / (N / 100)).sum()) < 161


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dict(stream=Stream.NOISE), dict(stream=Stream.BITS)),
        (dict(iteration=0), dict(iteration=1)),
        (dict(seed=1), dict(seed=2)),
        (dict(seed=1), dict(seed=1 + 2**32)),
        (dict(seed=0), dict(seed=2**63 - 1)),
        (dict(first=0), dict(first=N)),
    ],
    ids=["streams", "iterations", "seeds", "high words", "ends of the range", "places"],
)
def test_different_numbers_are_uncorrelated(one: dict, other: dict) -> None:
    def draw(seed: int = 9, stream: Stream = Stream.TRANSCODER, iteration: int = 0, first: int = 0) -> torch.Tensor:
        return uniform(filled(seed, N), stream, torch.arange(first, first + N), 1, iteration=iteration)[:, 0]

    a, b = draw(**one).double(), draw(**other).double()
    assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 5 / N**0.5


def test_all_streams_differ_from_one_another() -> None:
    drawn = torch.stack([uniform(filled(3, N), stream, torch.arange(N), 1)[:, 0] for stream in Stream])
    correlations = torch.corrcoef(drawn.double()) - torch.eye(len(Stream))
    assert float(correlations.abs().max()) < 6 / N**0.5


@given(st.lists(SEEDS, min_size=1, max_size=6), st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_the_rows_beside_it(seeds: list[int], width: int, chance) -> None:
    places = [chance.randrange(2**20) for _ in seeds]
    together = uniform(torch.tensor(seeds), Stream.NOISE, torch.tensor(places), width, iteration=2)
    for row, (seed, place) in enumerate(zip(seeds, places, strict=True)):
        alone = uniform(torch.tensor([seed]), Stream.NOISE, torch.tensor([place]), width, iteration=2)
        assert torch.equal(alone[0], together[row])


@given(SEEDS, st.lists(st.integers(1, 10_000), min_size=1, max_size=8), st.integers(1, 30))
def test_timesteps_drawn_at_once_equal_those_drawn_one_by_one(seed: int, timesteps: list[int], width: int) -> None:
    seeds, places = filled(seed, 5), torch.arange(5)
    together = uniform(seeds, Stream.TRANSCODER, places, width, iteration=1, timesteps=torch.tensor(timesteps))
    assert together.shape == (len(timesteps), 5, width)
    for row, timestep in enumerate(timesteps):
        alone = uniform(seeds, Stream.TRANSCODER, places, width, iteration=1, timesteps=torch.tensor([timestep]))
        assert torch.equal(alone[0], together[row])


def test_gumbel_has_the_moments_of_a_gumbel() -> None:
    """Mean 0.5772 (Euler's constant), variance π²/6; always finite."""
    numbers = gumbel(filled(4, N), Stream.GUMBEL, torch.arange(N)).double()
    assert torch.isfinite(numbers).all()
    assert abs(float(numbers.mean()) - 0.57722) < 5 * (1.645 / N) ** 0.5
    assert abs(float(numbers.var()) - 1.64493) < 0.05
