"""What must hold of the sampling loop for any settings, shown on small random networks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.core.config import GUIDANCE_SCHEDULES, GUMBEL_SCHEDULES, ORDERS, SamplingConfig
from bigr_cli.core.heads import Chain, Rows
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.network import Generator, Prefix
from bigr_cli.core.random import Stream, uniform
from bigr_cli.core.representation import seen_scores
from bigr_cli.core.sampler import sample
from bigr_cli.core.schedule import fixed_ranks, masked_count
from bigr_cli.errors import ConfigError

TOKENS, BITS, CLASSES = 9, 4, 5
FIXED = ("halton", "random", "raster")
SEEDS = st.integers(0, 2**63 - 1)

INTERVALS = st.tuples(st.integers(0, 3), st.integers(4, 8)).map(lambda ends: (ends[0] / 8, ends[1] / 8))
SETTINGS = st.builds(
    SamplingConfig,
    steps=st.integers(1, 6),
    timesteps=st.integers(1, 3),
    rank_timesteps=st.integers(0, 4),
    last_timesteps=st.integers(0, 4),
    tolerance=st.sampled_from([0.0, 0.0, 0.02, 0.9]),
    guidance=st.sampled_from([0.0, 0.5, 1.0, 2.5, 10.0]),
    guidance_schedule=st.sampled_from(GUIDANCE_SCHEDULES),
    guidance_interval=INTERVALS,
    order=st.sampled_from(ORDERS),
    gumbel=st.sampled_from([0.0, 0.3, 5.0]),
    gumbel_schedule=st.sampled_from(GUMBEL_SCHEDULES),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    corrections=st.sampled_from([0, 0, 1, 2]),
    correction_share=st.sampled_from([0.1, 0.4, 1.0]),
    correction_steps=st.integers(1, 3),
    cache_interval=st.sampled_from([1, 1, 2, 3]),
)


@st.composite
def jobs(draw: st.DrawFn, most: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labels, seeds, known codes and masks of a small batch."""
    batch = draw(st.integers(1, most))
    labels = torch.tensor(draw(st.lists(st.integers(0, CLASSES), min_size=batch, max_size=batch)))
    seeds = torch.tensor(draw(st.lists(SEEDS, min_size=batch, max_size=batch)))
    rows = st.integers(0, 2**TOKENS - 1)
    masked = [[row >> place & 1 for place in range(TOKENS)] for row in (draw(rows) for _ in range(batch))]
    chance = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    codes = torch.rand(batch, TOKENS, BITS, generator=chance) < 0.5
    return labels, seeds, codes, torch.tensor(masked).bool()


@pytest.fixture(scope="module")
def generator(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator()


@contextmanager
def counting(layer: torch.nn.Module) -> Iterator[list[int]]:
    """The number of rows (first axis) of everything that goes through a layer."""
    rows: list[int] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    try:
        yield rows
    finally:
        handle.remove()


def numbers(*values: int) -> Tensor:
    return torch.tensor(values)


@given(jobs(), SETTINGS)
def test_known_tokens_come_out_unchanged(generator: Generator, job: Any, wanted: SamplingConfig) -> None:
    labels, seeds, codes, masked = job
    before, mask_before = codes.clone(), masked.clone()
    drawn = sample(generator, labels, seeds, wanted, known=(codes, masked))
    assert drawn.dtype == torch.bool and drawn.shape == codes.shape
    assert torch.equal(drawn[~masked], codes[~masked])
    assert torch.equal(codes, before) and torch.equal(masked, mask_before), "the caller's tensors were changed"


@given(st.integers(1, TOKENS), st.lists(st.integers(0, TOKENS), min_size=1, max_size=3), SETTINGS, SEEDS)
def test_nothing_is_left_masked(
    generator: Generator, steps: int, unknown: list[int], wanted: SamplingConfig, seed: int
) -> None:
    """For any number of steps and of unknown tokens, each iteration leaves exactly what its schedule says."""
    wanted = SamplingConfig(**{**vars(wanted), "steps": steps})
    chance = torch.Generator().manual_seed(seed)
    masked = torch.rand(len(unknown), TOKENS, generator=chance).argsort(dim=1) < torch.tensor(unknown)[:, None]
    codes = torch.zeros(len(unknown), TOKENS, BITS)
    left: list[list[int]] = []
    seeds, labels = torch.full((len(unknown),), seed), torch.zeros(len(unknown), dtype=torch.int64)
    sample(
        generator,
        labels,
        seeds,
        wanted,
        known=(codes, masked),
        observe=lambda iteration, codes, masked: left.append(masked.sum(dim=1).tolist()),
    )
    weakest = [math.ceil(wanted.correction_share * count) for count in unknown]
    rounds = [(unknown, steps)] + [(weakest, wanted.correction_steps)] * wanted.corrections
    assert left == [[masked_count(count, i, most) for count in counts] for counts, most in rounds for i in range(most)]
    assert left[-1] == [0] * len(unknown)


@settings(derandomize=True)
@given(jobs(most=5), SETTINGS, st.randoms(use_true_random=False))
def test_an_image_does_not_depend_on_its_batch(
    generator: Generator, job: Any, wanted: SamplingConfig, chance: Any
) -> None:
    """Alone or in a batch, at any place in it: the same bits."""
    labels, seeds, codes, masked = job
    together = sample(generator, labels, seeds, wanted, known=(codes, masked))
    shuffled = list(range(len(seeds)))
    chance.shuffle(shuffled)
    moved = sample(generator, labels[shuffled], seeds[shuffled], wanted, known=(codes[shuffled], masked[shuffled]))
    assert torch.equal(moved, together[shuffled])
    one = slice(shuffled[0], shuffled[0] + 1)
    alone = sample(generator, labels[one], seeds[one], wanted, known=(codes[one], masked[one]))
    assert torch.equal(alone, together[one])


@pytest.mark.parametrize("order", ORDERS)
def test_many_images_at_once_equal_each_alone(generator: Generator, order: Any) -> None:
    """A batch of another size in which everything starts masked, labels mixed."""
    wanted = SamplingConfig(steps=4, timesteps=3, order=order)
    seeds, labels = torch.arange(33) + 2**62, torch.arange(33) % (CLASSES + 1)
    together = sample(generator, labels, seeds, wanted)
    for i in range(0, 33, 4):
        assert torch.equal(sample(generator, labels[i : i + 1], seeds[i : i + 1], wanted)[0], together[i])
    assert len({tuple(image.flatten().tolist()) for image in together}) == 33


@pytest.mark.parametrize("order", ORDERS)
def test_two_runs_give_the_same_bits(generator: Generator, order: Any) -> None:
    wanted = SamplingConfig(steps=5, timesteps=4, order=order)
    first = sample(generator, numbers(0, 1, 2), numbers(5, 6, 7), wanted)
    torch.rand(17)  # the global random state has no say
    torch.manual_seed(99)
    assert torch.equal(sample(generator, numbers(0, 1, 2), numbers(5, 6, 7), wanted), first)


def test_the_seed_and_the_label_matter(generator: Generator) -> None:
    wanted = SamplingConfig(steps=3, timesteps=3)
    one = sample(generator, numbers(0), numbers(1), wanted)
    assert not torch.equal(one, sample(generator, numbers(0), numbers(2), wanted))
    assert not torch.equal(one, sample(generator, numbers(3), numbers(1), wanted))


@pytest.mark.parametrize(("guidance", "networks"), [(0.0, 1), (1.0, 1), (0.5, 2), (2.5, 2)])
def test_guidance_runs_as_many_networks_as_it_compares(generator: Generator, guidance: float, networks: int) -> None:
    wanted = SamplingConfig(steps=4, timesteps=2, guidance=guidance)
    with counting(generator.token_embedding) as batches, counting(generator.transcoder.bit_embedding) as rows:
        sample(generator, numbers(0, 1, 2), numbers(0, 1, 2), wanted)
    assert batches == [3 * networks] * 4
    assert rows[0] == 3 * networks * TOKENS


@given(SETTINGS, SEEDS)
def test_guidance_0_is_sampling_without_a_label(generator: Generator, wanted: SamplingConfig, seed: int) -> None:
    free = dict(guidance_schedule="constant", guidance_interval=(0.0, 1.0))
    without = SamplingConfig(**{**vars(wanted), **free, "guidance": 0.0})
    plain = SamplingConfig(**{**vars(wanted), **free, "guidance": 1.0})
    drawn = sample(generator, numbers(2), numbers(seed), without)
    assert torch.equal(drawn, sample(generator, numbers(CLASSES), numbers(seed), plain))


def test_guidance_acts_inside_its_interval_only(generator: Generator) -> None:
    wanted = SamplingConfig(steps=4, timesteps=2, guidance=3.0, guidance_interval=(0.25, 0.75))
    with counting(generator.token_embedding) as batches:
        sample(generator, numbers(0), numbers(0), wanted)
    assert batches == [1, 2, 2, 1]


@pytest.mark.parametrize("order", ORDERS)
def test_only_what_is_needed_goes_through_the_transcoder(generator: Generator, order: Any) -> None:
    """A fixed order denoises what it settles, the others what is still masked; known tokens never."""
    steps, unknown = 4, (7, 3)
    masked = torch.arange(TOKENS)[None] < torch.tensor(unknown)[:, None]
    codes = torch.zeros(2, TOKENS, BITS)
    wanted = SamplingConfig(steps=steps, timesteps=3, order=order, guidance=2.0)
    with counting(generator.transcoder.bit_embedding) as rows:
        sample(generator, numbers(1, 1), numbers(0, 1), wanted, known=(codes, masked))
    expected = []
    for i in range(steps):
        count = 0
        for total in unknown:
            before = masked_count(total, i - 1, steps) if i > 0 else total
            settled = before - masked_count(total, i, steps)
            # An image of which this iteration settles nothing is left out altogether.
            count += settled if order in FIXED else before * (settled > 0)
        expected += [2 * count] * 3
    assert rows == expected


@pytest.mark.parametrize("order", ORDERS)
def test_short_chains_rank_and_whole_ones_settle(generator: Generator, order: Any) -> None:
    """All masked tokens are ranked by short chains, where there is a choice; each token gets a whole one once."""
    steps, short, whole = 4, 2, 6
    wanted = SamplingConfig(steps=steps, timesteps=whole, rank_timesteps=short, order=order, guidance=1.0)
    with counting(generator.transcoder.bit_embedding) as rows:
        sample(generator, numbers(1), numbers(0), wanted)
    expected, before = [], TOKENS
    for i in range(steps):
        left = masked_count(TOKENS, i, steps)
        if order not in FIXED and left > 0:
            expected += [before] * short
        expected += [before - left] * whole
        before = left
    assert rows == expected


@given(jobs(), SETTINGS)
def test_ranking_by_whole_chains_changes_nothing(generator: Generator, job: Any, wanted: SamplingConfig) -> None:
    labels, seeds, codes, masked = job
    plain = replace(wanted, rank_timesteps=0, last_timesteps=0)
    drawn = [
        sample(generator, labels, seeds, replace(plain, rank_timesteps=count), known=(codes, masked))
        for count in (0, plain.timesteps, 8)
    ]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_later_chains_are_shorter(generator: Generator) -> None:
    wanted = SamplingConfig(steps=3, timesteps=7, last_timesteps=3, order="raster", guidance=1.0)
    with counting(generator.transcoder.bit_embedding) as rows:
        sample(generator, numbers(1), numbers(0), wanted)
    settled = [TOKENS - 7, 7 - 4, 4]
    assert [masked_count(TOKENS, i, 3) for i in range(3)] == [7, 4, 0]
    assert rows == [settled[0]] * 7 + [settled[1]] * 5 + [settled[2]] * 3


def test_tokens_that_no_longer_change_are_left(generator: Generator) -> None:
    """None of them without a tolerance, and the more the wider it is, each once and for all."""
    counts = {}
    for tolerance in (0.0, 0.3, 0.999):
        wanted = SamplingConfig(steps=1, timesteps=8, tolerance=tolerance, order="raster", guidance=3.0)
        with counting(generator.transcoder.bit_embedding) as rows:
            drawn = sample(generator, numbers(1), numbers(0), wanted)
        assert drawn.shape == (1, TOKENS, BITS)
        counts[tolerance] = rows
    assert counts[0.0] == [2 * TOKENS] * 8
    assert sum(counts[0.999]) < sum(counts[0.3]) < sum(counts[0.0])
    for rows in counts.values():
        assert rows[:2] == [2 * TOKENS] * 2 and rows == sorted(rows, reverse=True)


def test_a_token_that_is_left_keeps_its_probability(generator: Generator) -> None:
    """Left after two timesteps, it is as the second of them said, which is that of a chain that ends there."""
    seen = []
    for tolerance in (0.0, 2.0):
        rows = Rows(numbers(0, 0), numbers(2, 5), numbers(7, 7))
        chain = Chain([8, 3, 1] if tolerance else [8, 3], 1.0, 1.0, tolerance, 0)
        conds = torch.randn(1, 2, generator.config.dim, generator=torch.Generator().manual_seed(0))
        seen.append(generator.transcoder.denoised_probabilities(conds, rows, chain))
    assert torch.equal(seen[0], seen[1])


def test_nothing_runs_when_nothing_is_masked(generator: Generator) -> None:
    codes = torch.rand(2, TOKENS, BITS) < 0.5
    with counting(generator.token_embedding) as batches:
        drawn = sample(
            generator,
            numbers(0, 1),
            numbers(0, 1),
            SamplingConfig(steps=3, timesteps=2),
            known=(codes, torch.zeros(2, TOKENS).bool()),
        )
    assert batches == [] and torch.equal(drawn, codes)


@given(jobs(), SETTINGS)
def test_the_observer_sees_tokens_settle_once_and_for_all(
    generator: Generator, job: Any, wanted: SamplingConfig
) -> None:
    wanted = replace(wanted, corrections=0)
    labels, seeds, codes, masked = job
    seen: list[tuple[int, Tensor, Tensor]] = []
    drawn = sample(
        generator,
        labels,
        seeds,
        wanted,
        known=(codes, masked),
        observe=lambda i, codes, masked: seen.append((i, codes.clone(), masked.clone())),
    )
    assert [i for i, _, _ in seen] == list(range(wanted.steps))
    before = masked
    for _, codes_now, masked_now in seen:
        assert not (masked_now & ~before).any()
        assert torch.equal(codes_now[~masked_now], drawn[~masked_now])
        before = masked_now


@pytest.mark.parametrize("order", FIXED)
def test_a_fixed_order_settles_in_that_order(generator: Generator, order: Any) -> None:
    """Tokens settle by rank, whatever the network says."""
    seeds, left = numbers(3, 4), []
    sample(
        generator,
        numbers(0, 0),
        seeds,
        SamplingConfig(steps=4, timesteps=2, order=order),
        observe=lambda i, codes, masked: left.append(masked.clone()),
    )
    place = fixed_ranks(order, seeds, 3)
    for masked in left:
        settled = TOKENS - int(masked[0].sum())
        assert torch.equal(masked, place >= settled)


def test_without_noise_the_most_certain_settle_first(tiny_generator: Callable[..., Generator]) -> None:
    """A network whose conditions make one token after the other less certain: raster order comes out."""
    generator = tiny_generator(transcoder_width=8)
    for parameter in generator.parameters():
        parameter.data.zero_()
    # The condition is √D at the token's own axis (after the norm, plus `positions`); the flip logit falls with it.
    generator.positions.data[0, :, 0] = torch.linspace(8, 1, TOKENS)
    transcoder = generator.transcoder
    transcoder.condition_embedding.weight.data[0, 0] = 1
    transcoder.final_ada.weight.data[:8, 0] = 1  # shift
    transcoder.final.weight.data.fill_(-0.1)
    for order in ("entropy", "confidence"):
        left: list[Tensor] = []
        sample(
            generator,
            numbers(0),
            numbers(0),
            SamplingConfig(steps=TOKENS, timesteps=1, order=order, gumbel=0.0),
            observe=lambda i, codes, masked, left=left: left.append(masked[0].clone()),
        )
        for masked in left:
            assert torch.equal(masked, torch.arange(TOKENS) >= TOKENS - int(masked.sum())), order


@pytest.mark.parametrize(("guidance", "temperature"), [(0.0, 1.0), (1.0, 1.0), (1.0, 2.0), (2.5, 1.0), (2.5, 2.0)])
def test_logits_are_divided_by_the_temperature_and_guided(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, guidance: float, temperature: float
) -> None:
    """With the flip logit c for a label and u for none, a bit of x_T flips with P = σ((u + s (c − u)) / τ)."""
    c, u, batch = -1.5, 0.5, 400
    none = generator.condition_tokens(torch.tensor([CLASSES])).tokens

    def condition(codes: Tensor, prefix: Prefix, mask: Tensor) -> Tensor:
        unlabelled = (prefix.tokens == none).all(dim=-1, keepdim=True)  # (B, 1, 1)
        return torch.where(unlabelled, u, c).expand(-1, TOKENS, 16)

    monkeypatch.setattr(generator, "condition", condition)
    monkeypatch.setattr(generator.transcoder.condition_embedding, "forward", lambda cond: cond[..., :8])
    monkeypatch.setattr(generator.transcoder.timestep_embedding, "forward", lambda t: torch.zeros(len(t), 8))
    monkeypatch.setattr(generator.transcoder, "denoise", lambda x, context: context[:, :1].expand(-1, BITS))
    wanted = SamplingConfig(steps=1, timesteps=1, guidance=guidance, temperature=temperature)
    seeds = torch.arange(batch)
    drawn = sample(generator, torch.zeros(batch, dtype=torch.int64), seeds, wanted).flatten(0, 1)
    places = torch.arange(TOKENS).repeat(batch)
    start = uniform(seeds.repeat_interleave(TOKENS), Stream.NOISE, places, BITS) < 0.5
    flips, expected = (
        float((drawn != start).float().mean()),
        1 / (1 + math.exp(-(u + guidance * (c - u)) / temperature)),
    )
    assert abs(flips - expected) < 5 * (expected * (1 - expected) / drawn.numel()) ** 0.5


def test_one_of_two_labels_with_all_the_weight_is_that_label(generator: Generator) -> None:
    wanted = SamplingConfig(steps=3, timesteps=3)
    mixed = sample(generator, (numbers(1, 2), numbers(3, 4)), numbers(0, 1), wanted, ratios=(1.0, 0.0))
    assert torch.equal(mixed, sample(generator, numbers(1, 2), numbers(0, 1), wanted))
    half = sample(generator, (numbers(1, 2), numbers(3, 4)), numbers(0, 1), wanted, ratios=(0.5, 0.5))
    assert half.shape == (2, TOKENS, BITS)


def test_the_blocks_of_random_numbers_change_nothing(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = SamplingConfig(steps=3, timesteps=8)
    whole = sample(generator, numbers(0, 1), numbers(0, 1), wanted)
    for block in (1, 2 * TOKENS * BITS, 3 * TOKENS * BITS + 1):
        monkeypatch.setattr("bigr_cli.core.heads._BLOCK", block)
        assert torch.equal(sample(generator, numbers(0, 1), numbers(0, 1), wanted), whole)


@pytest.mark.parametrize(
    ("codes", "masked"),
    [((2, 8, 4), (2, 9)), ((2, 9, 3), (2, 9)), ((1, 9, 4), (2, 9)), ((2, 9, 4), (2, 8)), ((2, 9, 4), (9,))],
)
def test_known_tokens_of_a_wrong_shape(generator: Generator, codes: Any, masked: Any) -> None:
    known = (torch.zeros(codes), torch.ones(masked).bool())
    with pytest.raises(ValueError, match=r"known: expected codes \(2, 9, 4\) and mask \(2, 9\), got"):
        sample(generator, numbers(0, 0), numbers(0, 1), SamplingConfig(), known=known)


def test_more_timesteps_than_there_are(generator: Generator) -> None:
    with pytest.raises(ValueError, match="timesteps: expected 1 to 8, got 9"):
        sample(generator, numbers(0), numbers(0), SamplingConfig(timesteps=9))


class TestSampleCodes:
    """The same through the model's own method."""

    def test_equals_the_sampler(self, tiny_network: BinaryModel) -> None:
        drawn = tiny_network.sample_codes(numbers(1, 2), [3, 4], steps=3, timesteps=4, order="halton", guidance=2.0)
        wanted = SamplingConfig(steps=3, timesteps=4, order="halton", guidance=2.0)
        assert torch.equal(drawn, sample(tiny_network.generator, numbers(1, 2), numbers(3, 4), wanted))

    @pytest.mark.parametrize("labels", [numbers(0), numbers(0, 1, 2), torch.zeros(2, 1, dtype=torch.int64)])
    def test_labels_of_a_wrong_number(self, tiny_network: BinaryModel, labels: Tensor) -> None:
        with pytest.raises(ValueError, match="labels: expected one for each of 2 seeds"):
            tiny_network.sample_codes(labels, [0, 1], steps=1, timesteps=1)

    @pytest.mark.parametrize("label", [-1, CLASSES + 1])
    def test_labels_that_are_not_there(self, tiny_network: BinaryModel, label: int) -> None:
        with pytest.raises(ValueError, match=f"labels: expected 0 to {CLASSES}, got"):
            tiny_network.sample_codes(numbers(label), [0], steps=1, timesteps=1)
        with pytest.raises(ValueError, match=f"labels: expected 0 to {CLASSES}, got"):
            tiny_network.sample_codes((numbers(0), numbers(label)), [0], ratios=(0.5, 0.5), steps=1, timesteps=1)

    def test_ratios_that_do_not_fit(self, tiny_network: BinaryModel) -> None:
        with pytest.raises(ValueError, match="ratios: expected 2, one for each label, got 1"):
            tiny_network.sample_codes((numbers(0), numbers(1)), [0], steps=1, timesteps=1)

    @pytest.mark.parametrize(
        "wrong", [dict(steps=0), dict(timesteps=0), dict(guidance=-1.0), dict(order="best"), dict(temperature=0.0)]
    )
    def test_settings_out_of_range(self, tiny_network: BinaryModel, wrong: dict) -> None:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            tiny_network.sample_codes(numbers(0), [0], **{**dict(timesteps=1), **wrong})


def test_a_correction_samples_the_least_likely_share_anew(generator: Generator) -> None:
    plain = SamplingConfig(steps=3, timesteps=2)
    corrected = replace(plain, corrections=1, correction_share=0.4, correction_steps=2)
    labels, seeds = torch.arange(64) % CLASSES, torch.arange(64)
    before, after = (sample(generator, labels, seeds, each) for each in (plain, corrected))
    scores = seen_scores(generator, before, labels, torch.zeros(64, TOKENS, dtype=torch.bool), seeds)
    chosen = scores.argsort(dim=1, stable=True).argsort(dim=1, stable=True) < math.ceil(0.4 * TOKENS)
    changed = (before != after).any(dim=2)
    assert not (changed & ~chosen).any()
    assert changed.any(dim=1).float().mean() > 0.9  # four tokens of four bits rarely come out the same


def test_corrections_go_on_with_new_random_numbers(generator: Generator) -> None:
    settings = SamplingConfig(steps=1, timesteps=1, guidance=0, corrections=8, correction_share=1, correction_steps=1)
    seen: list[Tensor] = []
    sample(generator, numbers(1), numbers(5), settings, observe=lambda i, codes, masked: seen.append(codes.clone()))
    assert len(seen) == settings.iterations == 9
    assert len({tuple(codes.flatten().tolist()) for codes in seen}) > 5


def test_causal_attention_cannot_correct(tiny_generator: Callable[..., Generator]) -> None:
    causal = tiny_generator(attention="causal")
    with pytest.raises(ConfigError, match="corrections: expected 0 with attention: causal, got 2"):
        sample(causal, numbers(1), numbers(5), SamplingConfig(corrections=2))
