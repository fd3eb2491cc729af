import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from bigr_cli.core.architectures import ATTENTIONS, HEADS, AttentionKind, GeneratorConfig, HeadKind
from bigr_cli.core.network import Generator
from bigr_cli.core.schedule import cosine_mask
from bigr_cli.training.generator_loss import foreground_mask, masked_loss, rectangles, sample_mask, training_view
from bigr_cli.training.loss_config import MaskingConfig

CPU = torch.device("cpu")
Share = Literal["batch", "image"]


def published_count(tokens: int, draw: int) -> int:
    """The number of masked tokens for r = draw / L (reference section 4)."""
    return max(1, math.floor(tokens * math.cos(math.pi / 2 * draw / tokens)))


@given(
    batch=st.integers(1, 6),
    tokens=st.integers(1, 300),
    share=st.sampled_from(["batch", "image"]),
    seed=st.integers(0, 99),
)
def test_masked_counts_are_among_the_published(batch: int, tokens: int, share: Share, seed: int) -> None:
    torch.manual_seed(seed)
    mask = sample_mask(batch, tokens, MaskingConfig(share), CPU)
    assert mask.shape == (batch, tokens) and mask.dtype == torch.bool
    counts = mask.sum(dim=1).tolist()
    # In float32 the floor of a number that should be whole may be one less.
    possible = {published_count(tokens, draw) + less for draw in range(tokens) for less in (0, -1)} - {0}
    assert set(counts) <= possible
    if share == "batch":
        assert len(set(counts)) == 1


def test_masked_counts_follow_the_cosine_law() -> None:
    tokens, drawn = 16, 20_000
    torch.manual_seed(0)
    counts = Counter(sample_mask(drawn, tokens, MaskingConfig("image"), CPU).sum(dim=1).tolist())
    expected = Counter(published_count(tokens, draw) for draw in range(tokens))
    assert set(counts) == set(expected)
    sizes = sorted(expected)
    result = chisquare([counts[size] for size in sizes], [expected[size] * drawn / tokens for size in sizes])
    assert result.pvalue > 1e-3


def test_masked_places_are_uniform() -> None:
    torch.manual_seed(0)
    mask = sample_mask(20_000, 16, MaskingConfig("image"), CPU)
    assert chisquare(mask.sum(dim=0).tolist()).pvalue > 1e-3


@given(batch=st.integers(1, 6), side=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_rectangle_is_masked_whole_at_the_beginning(batch: int, side: int, seed: int) -> None:
    torch.manual_seed(seed)
    for grid in rectangles(batch, side, CPU).view(batch, side, side):
        rows, columns = grid.any(dim=1), grid.any(dim=0)
        assert torch.equal(grid, rows[:, None] & columns)
        for line in (rows, columns):  # one run of neighbours
            assert (line.int().diff(prepend=torch.zeros(1, dtype=torch.int32)) == 1).sum() == 1


def test_rectangles_are_everywhere_and_of_every_size_and_fill_up() -> None:
    torch.manual_seed(0)
    whole = rectangles(20_000, 4, CPU).view(-1, 4, 4)
    assert set(zip(whole.any(2).sum(1).tolist(), whole.any(1).sum(1).tolist(), strict=True)) == {
        (height, width) for height in range(1, 5) for width in range(1, 5)
    }
    share = whole.float().mean(dim=0)
    torch.testing.assert_close(share, share.flip(0), atol=0.02, rtol=0)
    torch.testing.assert_close(share, share.T, atol=0.02, rtol=0)
    later = cosine_mask(torch.full((1,), 8), 20_000, 16, whole.flatten(1)).view(-1, 4, 4)  # r is a half
    assert not (later & ~whole).any()
    assert torch.equal(later.sum((1, 2)), (whole.sum((1, 2)) * math.cos(math.pi / 4)).floor().clamp_min(1).long())


def test_the_share_of_rectangles_is_as_set() -> None:
    torch.manual_seed(0)
    some, none = (sample_mask(20_000, 64, MaskingConfig("image", rectangles=share), CPU) for share in (0.5, 0.0))
    area = (4.5 / 8) ** 2  # of the grid, in the mean
    assert float(some.sum() / none.sum()) == pytest.approx(0.5 + 0.5 * area, abs=0.01)


def small() -> Generator:
    torch.manual_seed(0)
    return Generator(
        GeneratorConfig(3, 5, 4, 1, 2, 16, 8, transcoder_layers=1, transcoder_width=16, diffusion_timesteps=8)
    )


def test_an_untrained_loss_is_that_of_a_coin() -> None:
    """The last layer starts at zero, so every flip logit is 0: log 2 times the mean weight of a bit."""
    codes = torch.rand(64, 9, 5) < 0.5
    loss = masked_loss(small(), codes, torch.randint(4, (64,)), MaskingConfig("image", timesteps_per_token=4))
    assert math.log(2) / 5 <= float(loss.detach()) <= math.log(2) * (0.5 + 0.2)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_a_constant_code(head: HeadKind, attention: AttentionKind) -> None:
    """Seventy steps with one code bring the loss far down, in either attention."""
    torch.manual_seed(0)
    model = Generator(replace(small().config, head=head, attention=attention, dropout=0.0))
    codes, labels = (torch.rand(9, 5) < 0.5).expand(32, -1, -1), torch.zeros(32, dtype=torch.int64)
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    losses = []
    for _ in range(70):
        loss = masked_loss(model, codes, labels, MaskingConfig("image", label_dropout=0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_next_tokens_are_learned_from_all_tokens() -> None:
    """With causal attention every token counts and none is masked, whatever the masking says; the foreground weighs."""
    model = Generator(replace(small().config, head="direct", attention="causal", dropout=0.0))
    torch.nn.init.normal_(model.transcoder.final.weight)
    codes, labels = torch.rand(3, 9, 5) < 0.5, torch.tensor([0, 1, 2])
    nothing = torch.zeros(3, 9, dtype=torch.bool)
    with torch.no_grad():
        each = model.transcoder.loss(model.condition(codes, labels, nothing).flatten(0, 1), codes.flatten(0, 1))
        for share in ("batch", "image"):
            loss = masked_loss(model, codes, labels, MaskingConfig(share, label_dropout=0.0))
            torch.testing.assert_close(loss, each.mean())
        cover = torch.zeros(3, 9).index_fill(1, torch.tensor([4]), 1.0)
        focused = masked_loss(model, codes, labels, MaskingConfig(label_dropout=0.0, foreground_weight=1e6), cover)
    torch.testing.assert_close(focused, each.view(3, 9, 5)[:, 4].mean(), atol=1e-3, rtol=1e-3)


@given(dropout=st.sampled_from([0.0, 1.0]), per_token=st.integers(1, 3))
def test_labels_are_dropped(dropout: float, per_token: int) -> None:
    seen: list[torch.Tensor] = []

    class Watched(Generator):
        def condition(self, codes, labels, mask, *, ratios=(1.0,)):  # type: ignore[no-untyped-def]
            seen.append(labels)
            return super().condition(codes, labels, mask, ratios=ratios)

    labels = torch.tensor([0, 1, 2, 3])
    masked_loss(Watched(small().config), torch.rand(4, 9, 5) < 0.5, labels, MaskingConfig("batch", dropout, per_token))
    assert torch.equal(seen[0], labels if dropout == 0 else torch.full((4,), 4))


def test_tokens_of_the_object_weigh_more() -> None:
    foreground = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    foreground[0, 0, :4, 4:8] = 255
    foreground[1, 0, 8:10, :4] = 255
    cover = foreground_mask(foreground, 4)
    assert cover.shape == (2, 16)
    assert cover[0].nonzero().flatten().tolist() == [1]
    assert cover[1, 8] == 0.5
    generator = small()
    codes, labels = torch.rand(2, 9, 5) < 0.5, torch.tensor([0, 1])
    with torch.no_grad():
        generator.transcoder.final.bias.normal_()
    losses = []
    for weight in (None, torch.zeros(2, 9), torch.rand(2, 9)):
        torch.manual_seed(0)
        losses.append(masked_loss(generator, codes, labels, MaskingConfig("image", foreground_weight=3.0), weight))
    assert torch.isclose(losses[0], losses[1])
    assert not torch.isclose(losses[0], losses[2])


@pytest.mark.parametrize("per_token", [1, 3])
def test_the_transcoder_meets_few_shapes_and_the_loss_counts_each_token_once(
    per_token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = small(), []
    tokens, bits = model.config.tokens, model.config.bits
    codes = torch.rand(8, tokens, bits) < 0.5

    def loss(cond: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        seen.append(len(bits))
        return torch.arange(len(bits)).float()[:, None].expand(bits.shape)

    monkeypatch.setattr(model.transcoder, "loss", loss)
    for seed in range(60):
        torch.manual_seed(seed)
        found = masked_loss(model, codes, torch.zeros(8, dtype=torch.int64), MaskingConfig("image", 0.0, per_token))
        torch.manual_seed(seed)
        masked = int(sample_mask(8, tokens, MaskingConfig("image"), CPU).sum()) * per_token
        assert float(found) == pytest.approx((masked - 1) / 2)  # the mean of 0, 1 … masked - 1
        assert masked <= seen[-1] < masked + -(-8 * tokens * per_token // 16)
    assert len(set(seen)) <= 16


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_without_corruption_the_loss_is_bit_for_bit_what_it_was(attention: AttentionKind) -> None:
    """Step by step as it was before known tokens could be corrupted: the same random numbers in the same order."""
    torch.manual_seed(0)
    model = Generator(replace(small().config, attention=attention))
    torch.nn.init.normal_(model.transcoder.final.weight)
    codes, labels = torch.rand(8, 9, 5) < 0.5, torch.randint(4, (8,))
    torch.manual_seed(1)
    found = masked_loss(model, codes, labels, MaskingConfig("image", timesteps_per_token=2))
    torch.manual_seed(1)
    predicted = torch.ones(8, 9, dtype=torch.bool)
    masked = ~predicted
    if attention == "bidirectional":
        predicted = masked = sample_mask(8, 9, MaskingConfig("image"), CPU)
    seen = labels.masked_fill(torch.rand(8) < 0.1, 4)
    rows = predicted.flatten().nonzero().flatten().repeat(2)
    count = len(rows)
    more = -count % 9
    rows = torch.cat([rows, rows.repeat(9)[:more]])
    cond = model.condition(codes, seen, masked).flatten(0, 1)[rows]
    assert torch.equal(found, model.transcoder.loss(cond, codes.flatten(0, 1)[rows])[:count].mean())


def test_bits_of_known_tokens_are_flipped_and_these_tokens_predicted() -> None:
    model, most = small(), 0.2
    codes, labels = torch.rand(4000, 9, 5) < 0.5, torch.randint(4, (4000,))
    torch.manual_seed(0)
    view = training_view(model, codes, labels, MaskingConfig("image", corrupt_bits=most))
    torch.manual_seed(0)
    plain = training_view(model, codes, labels, MaskingConfig("image"))
    assert torch.equal(view.masked, plain.masked) and torch.equal(view.labels, plain.labels)
    flipped = view.codes != codes
    assert not flipped[view.masked].any()
    assert torch.equal(view.predicted, view.masked | flipped.any(dim=2))
    known = ~view.masked
    each = torch.stack([part[keep].float().mean() for part, keep in zip(flipped, known, strict=True) if keep.any()])
    assert float(each.mean()) == pytest.approx(most / 2, abs=0.005)  # an image's share is uniform below `most`
    assert float((each == 0).float().mean()) > 0.1 and float(each.max()) > most
    torch.manual_seed(0)
    causal = Generator(replace(model.config, attention="causal"))
    shown = training_view(causal, codes, labels, MaskingConfig(corrupt_bits=most))
    assert shown.predicted.all() and not shown.masked.any() and (shown.codes != codes).any()


def test_flipped_bits_are_learned_to_be_put_right() -> None:
    """Of a constant code, known tokens with wrong bits are predicted as they should be."""
    torch.manual_seed(0)
    model = Generator(replace(small().config, head="direct", dropout=0.0))
    codes, labels = (torch.rand(9, 5) < 0.5).expand(32, -1, -1), torch.zeros(32, dtype=torch.int64)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        loss = masked_loss(model, codes, labels, MaskingConfig("image", label_dropout=0.0, corrupt_bits=0.5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wrong, nothing = codes[:1] ^ (torch.rand(1, 9, 5) < 0.3), torch.zeros(1, 9, dtype=torch.bool)
    with torch.no_grad():
        cond = model.condition(wrong, labels[:1], nothing).flatten(0, 1)
        per_bit = model.transcoder.loss(cond, codes[0])
    assert float(per_bit.mean()) < 0.1 < math.log(2)
