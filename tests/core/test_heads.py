"""What must hold of every way to predict a token's bits, and what tells one from the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.core.architectures import HEADS, GeneratorConfig, HeadKind
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.heads import Chain, Rows, flip_loss
from bigr_cli.core.network import Generator
from bigr_cli.core.random import Stream, uniform
from bigr_cli.core.representation import token_scores
from bigr_cli.core.sampler import sample
from bigr_cli.core.schedule import cosine_mask, hidden_counts
from bigr_cli.errors import ConfigError

TOKENS, BITS, CLASSES, DIM = 9, 4, 5, 16
SEEDS = st.integers(0, 2**63 - 1)
SETTINGS = st.builds(
    SamplingConfig,
    steps=st.integers(1, 5),
    timesteps=st.integers(1, 6),
    rank_timesteps=st.integers(0, 3),
    last_timesteps=st.integers(0, 3),
    tolerance=st.sampled_from([0.0, 0.1]),
    guidance=st.sampled_from([0.0, 1.0, 2.0]),
    order=st.sampled_from(["entropy", "confidence", "halton"]),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
)


@pytest.fixture(scope="module", params=HEADS)
def generator(request: pytest.FixtureRequest, tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator(head=request.param)


@pytest.fixture(scope="module")
def tame(tiny_config: Callable[..., GeneratorConfig], randomise: Callable[..., Any]) -> Callable[[HeadKind], Generator]:
    """A random generator whose probabilities stay away from 0 and 1, and can be compared."""
    return lambda head: randomise(Generator(tiny_config(head=head)), scale=0.7).requires_grad_(False)


@pytest.fixture(scope="module")
def calm(generator: Generator, tame: Callable[[HeadKind], Generator]) -> Generator:
    return tame(generator.config.head)


def rows(count: int) -> Rows:
    places = torch.arange(count)
    return Rows(places * 0, places % TOKENS, torch.full((count,), 2**40) + places // TOKENS)


def conds(count: int, variants: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(variants, count, DIM, generator=torch.Generator().manual_seed(seed))


def chain(generator: Generator, timesteps: int = 3, **changes: Any) -> Chain:
    plain = Chain(generator.transcoder.timesteps(timesteps), 1.0, 1.0, 0.0, 0)
    return plain._replace(**changes)


@settings(max_examples=12)
@given(SETTINGS, st.lists(SEEDS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_an_image_depends_on_its_seed_alone(
    generator: Generator, wanted: SamplingConfig, seeds: list[int], chance: Any
) -> None:
    """Shapes, the same bits again, and the same bits alone, for any guidance and temperature; known tokens stay."""
    labels = torch.arange(len(seeds)) % (CLASSES + 1)
    known = torch.rand(len(seeds), TOKENS, BITS, generator=torch.Generator().manual_seed(1)) < 0.5
    masked = torch.rand(len(seeds), TOKENS, generator=torch.Generator().manual_seed(2)) < 0.7
    drawn = sample(generator, labels, torch.tensor(seeds), wanted, known=(known, masked))
    assert drawn.shape == known.shape and drawn.dtype == torch.bool
    assert torch.equal(drawn[~masked], known[~masked])
    assert torch.equal(sample(generator, labels, torch.tensor(seeds), wanted, known=(known, masked)), drawn)
    one = chance.randrange(len(seeds))
    only = slice(one, one + 1)
    alone = sample(generator, labels[only], torch.tensor(seeds[only]), wanted, known=(known[only], masked[only]))
    assert torch.equal(alone, drawn[only])


@settings(max_examples=12)
@given(st.integers(1, 8), st.integers(1, 12), st.sampled_from([0.0, 0.2]))
def test_a_walk_gives_probabilities_row_by_row(calm: Generator, timesteps: int, count: int, tolerance: float) -> None:
    """Float32 between 0 and 1; a row's are the same beside other rows and without them."""
    wanted, given_conds, work = chain(calm, timesteps, tolerance=tolerance), conds(count), rows(count)
    p = calm.transcoder.denoised_probabilities(given_conds, work, wanted)
    assert p.shape == (count, BITS) and p.dtype == torch.float32
    assert bool(((p > 0) & (p < 1)).all())
    last = calm.transcoder.denoised_probabilities(given_conds[:, -1:], work.at(torch.tensor([count - 1])), wanted)
    torch.testing.assert_close(last[0], p[-1], atol=1e-5, rtol=1e-5)


def test_guidance_1_and_0_are_one_of_two_variants(calm: Generator) -> None:
    """Mixing two variants with 1 or 0 gives what each alone gives, and 2 leads away from the second."""
    both, work = conds(9, variants=2), rows(9)
    walked = {g: calm.transcoder.denoised_probabilities(both, work, chain(calm, guidance=float(g))) for g in (0, 1, 2)}
    for guidance, variant in ((1, 0), (0, 1)):
        alone = calm.transcoder.denoised_probabilities(both[variant : variant + 1], work, chain(calm))
        torch.testing.assert_close(walked[guidance], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(walked[2], walked[1], atol=1e-2)


def test_one_step_mixes_and_divides_the_logits(calm: Generator) -> None:
    """In a chain of one step, logit p is ((1 − s) u + s c) / τ, with c and u the variants' own."""
    both, work = conds(9, variants=2, seed=5), rows(9)
    one = chain(calm, 1)
    c, u = (calm.transcoder.denoised_probabilities(both[i : i + 1], work, one).logit() for i in (0, 1))
    found = calm.transcoder.denoised_probabilities(both, work, one._replace(guidance=2.0, temperature=3.0)).logit()
    torch.testing.assert_close(found, (u + 2 * (c - u)) / 3, atol=1e-3, rtol=1e-3)


def test_the_condition_matters_and_an_untrained_head_throws_coins(
    generator: Generator, tiny_config: Callable[..., GeneratorConfig]
) -> None:
    work = rows(9)
    p = generator.transcoder.denoised_probabilities(conds(9), work, chain(generator))
    assert not torch.allclose(
        p, generator.transcoder.denoised_probabilities(conds(9, seed=1), work, chain(generator)), atol=1e-2
    )
    fresh = Generator(tiny_config(head=generator.config.head))
    with torch.no_grad():
        assert torch.equal(
            fresh.transcoder.denoised_probabilities(conds(9), work, chain(fresh)), torch.full((9, BITS), 0.5)
        )
        assert torch.allclose(fresh.transcoder.first_logits(conds(9)[0], work), torch.zeros(9, BITS))
        bits = torch.rand(4000, BITS) < 0.5
        loss = fresh.transcoder.loss(conds(4000)[0], bits)
    assert loss.shape == (4000, BITS) and loss.dtype == torch.float32
    if generator.config.head != "flip":
        torch.testing.assert_close(loss.mean(dim=1), torch.full((4000,), math.log(2)))


def test_the_heads_have_the_same_weights(tiny_config: Callable[..., GeneratorConfig]) -> None:
    shapes = [
        {name: tensor.shape for name, tensor in Generator(tiny_config(head=head)).state_dict().items()}
        for head in HEADS
    ]
    assert all(other == shapes[0] for other in shapes)
    assert get_args(HeadKind) == tuple(HEADS)


def test_a_head_that_is_none(tiny_config: Callable[..., GeneratorConfig]) -> None:
    with pytest.raises(ConfigError, match="head: expected one of flip, x0, direct, masked_bits, got 'coin'"):
        tiny_config(head="coin")


class TestDirect:
    @pytest.fixture
    def direct(self, tame: Callable[[HeadKind], Generator]) -> Generator:
        return tame("direct")

    def test_timesteps_play_no_part(self, direct: Generator) -> None:
        drawn = [
            sample(direct, torch.tensor([1]), torch.tensor([3]), SamplingConfig(steps=4, timesteps=n, rank_timesteps=r))
            for n, r in ((1, 0), (8, 0), (8, 2))
        ]
        assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])

    def test_its_scores_are_its_likelihoods(self, direct: Generator) -> None:
        codes = torch.rand(2, TOKENS, BITS) < 0.5
        masked, labels = torch.rand(2, TOKENS) < 0.5, torch.tensor([0, 1])
        scores = token_scores(direct, codes, labels, masked, torch.tensor([0, 0]))
        cond = direct.condition(codes, labels, masked)[masked]
        p = direct.transcoder.denoised_probabilities(cond[None], rows(len(cond)), chain(direct))
        right = torch.where(codes[masked], p, 1 - p).log().mean(dim=1)
        torch.testing.assert_close(scores[masked], right, atol=1e-4, rtol=1e-4)


class TestMaskedBits:
    @pytest.fixture
    def masked_bits(self, tame: Callable[[HeadKind], Generator]) -> Generator:
        return tame("masked_bits")

    @given(st.integers(1, 64), st.integers(1, 300))
    def test_every_round_reveals_something(self, bits: int, rounds: int) -> None:
        counts = hidden_counts(bits, rounds)
        assert len(counts) == min(bits, rounds) and counts[0] == bits
        assert all(before > after for before, after in zip(counts, [*counts[1:], 0], strict=True))
        assert hidden_counts(bits, 1) == [bits]

    def test_no_rounds(self) -> None:
        with pytest.raises(ValueError, match="timesteps: expected at least 1, got 0"):
            hidden_counts(8, 0)

    def test_more_rounds_than_bits_are_as_many(self, masked_bits: Generator) -> None:
        label, seed = torch.tensor([1]), torch.tensor([3])
        few, many = (sample(masked_bits, label, seed, SamplingConfig(steps=3, timesteps=n)) for n in (BITS, 100))
        assert torch.equal(few, many)

    def test_revealed_bits_are_those_that_are_drawn(self, masked_bits: Generator) -> None:
        """Each round sees, of the bits of the rounds before, exactly what the caller will draw."""
        seen: list[Tensor] = []
        layer = masked_bits.transcoder.bit_embedding
        handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        work = rows(9)
        p = masked_bits.transcoder.denoised_probabilities(conds(9), work, chain(masked_bits, BITS, iteration=2))
        handle.remove()
        drawn = uniform(work.seed, Stream.BITS, work.position, BITS, iteration=2) < p
        assert [int((round_ == 0).sum(dim=1).unique()) for round_ in seen] == [4, 3, 2, 1]
        for given_bits in seen:
            assert torch.equal(given_bits[given_bits != 0] > 0, drawn[given_bits != 0])

    def test_which_bits_come_first_is_chance(self, masked_bits: Generator) -> None:
        seen: list[Tensor] = []
        layer = masked_bits.transcoder.bit_embedding
        handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        count = 4000
        masked_bits.transcoder.denoised_probabilities(conds(count), rows(count), chain(masked_bits, BITS))
        handle.remove()
        first = (seen[1] != 0).float().mean(dim=0)
        assert bool((first - 1 / BITS).abs().max() < 5 * (BITS * count) ** -0.5)

    def test_only_hidden_bits_are_learned(self, masked_bits: Generator) -> None:
        """The loss of revealed bits is 0, and the mean over a token that of its hidden bits alone."""
        torch.manual_seed(0)
        bits = torch.rand(500, BITS) < 0.5
        torch.manual_seed(1)
        loss = masked_bits.transcoder.loss(conds(500)[0], bits)
        torch.manual_seed(1)
        hidden = cosine_mask(torch.randint(BITS, (500,)), 500, BITS)
        assert torch.equal(loss > 0, hidden)
        assert set(hidden.sum(dim=1).tolist()) == {1, 2, 3, 4}
        left = hidden.sum(dim=1)
        given_bits = torch.where(hidden, 0.5, bits.float())
        logits = masked_bits.transcoder.logits(given_bits, left, conds(500)[0])
        each = torch.nn.functional.softplus(torch.where(bits, -logits, logits))
        expected = (each * hidden).sum(dim=1) / left
        torch.testing.assert_close(loss.mean(dim=1), expected, atol=1e-5, rtol=1e-5)


def correlated(count: int) -> Tensor:
    """Bits 0 and 1 always agree, 2 and 3 never; each alone is a fair coin."""
    coins = torch.rand(count, 2) < 0.5
    return torch.stack([coins[:, 0], coins[:, 0], coins[:, 1], ~coins[:, 1]], dim=1)


# The share of agreeing pairs that is asked for.
@pytest.mark.parametrize(("head", "least"), [("flip", 0.8), ("x0", 0.95), ("masked_bits", 0.98), ("direct", None)])
def test_what_bits_have_to_do_with_each_other(head: HeadKind, least: float | None) -> None:
    """All heads learn that each bit is a coin; which of them agree, all but the direct one, which draws each alone."""
    torch.manual_seed(0)
    sizes = dict(transcoder_layers=2, transcoder_width=32, diffusion_timesteps=32, dropout=0.0, head=head)
    transcoder = Generator(GeneratorConfig(2, BITS, 1, 1, 1, DIM, 8, **sizes)).transcoder
    optimizer, steps = torch.optim.Adam(transcoder.parameters(), 1e-2), 300
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        transcoder.loss(torch.zeros(256, DIM), correlated(256)).mean().backward()
        optimizer.step()
        falling.step()
    seeds = torch.arange(2000)
    work = Rows(seeds, torch.zeros_like(seeds), seeds)
    with torch.no_grad():
        p = transcoder.denoised_probabilities(
            torch.zeros(1, 2000, DIM), work, Chain(transcoder.timesteps(32), 1.0, 1.0, 0.0, 0)
        )
    drawn = uniform(work.seed, Stream.BITS, work.position, BITS) < p
    assert bool((drawn.float().mean(dim=0) - 0.5).abs().max() < 0.08)
    same, never, unrelated = (float((drawn[:, a] == drawn[:, b]).float().mean()) for a, b in ((0, 1), (2, 3), (0, 2)))
    assert abs(unrelated - 0.5) < 0.05
    if least is None:
        assert abs(same - 0.5) < 0.05 and abs(never - 0.5) < 0.05
    else:
        assert same > least and never < 1 - least


def test_settings_of_other_heads_are_not_refused(generator: Generator) -> None:
    """The same settings do for every head, so that comparisons need no others."""
    wanted = SamplingConfig(steps=3, timesteps=8, rank_timesteps=2, last_timesteps=3, tolerance=0.05)
    for changed in (wanted, replace(wanted, order="halton")):
        assert sample(generator, torch.tensor([0]), torch.tensor([0]), changed).shape == (1, TOKENS, BITS)


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


@settings(max_examples=100, deadline=None)
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
