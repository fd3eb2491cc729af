"""Next-token prediction on the same codes: `attention: causal`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.core.architectures import HEADS, TextConfig
from bigr_cli.core.conditions import Texts
from bigr_cli.core.config import SamplingConfig, taken_by
from bigr_cli.core.network import Generator
from bigr_cli.core.representation import seen_scores, token_scores
from bigr_cli.core.sampler import sample
from bigr_cli.errors import ConfigError

TOKENS, BITS, CLASSES = 9, 4, 5
LABELS = torch.tensor([1, 4])
NO_MASK = torch.zeros(2, TOKENS, dtype=torch.bool)
TEXT = TextConfig(tokens=16, width=8, layers=1, heads=2, group=4)


@pytest.fixture(scope="module")
def causal(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator(attention="causal", layers=2).requires_grad_(False)


@pytest.fixture
def codes() -> Tensor:
    return torch.rand(2, TOKENS, BITS, generator=torch.Generator().manual_seed(0)) < 0.5


def texts() -> Texts:
    numbers = torch.arange(32).reshape(2, 16)
    return Texts(numbers, torch.arange(16) < torch.tensor([[5], [16]]))


@pytest.mark.parametrize("text", [False, True])
def test_a_condition_knows_of_what_stands_before_it(
    tiny_generator: Callable[..., Generator], codes: Tensor, text: bool
) -> None:
    """A changed token changes the condition of the one after it, and none before: not its own either."""
    kind: dict[str, Any] = {"classes": 0, "condition": "text", "text": TEXT} if text else {}
    model = tiny_generator(attention="causal", layers=2, **kind).requires_grad_(False)
    labels: Any = texts() if text else LABELS
    before = model.condition(codes, labels, NO_MASK)
    for place in range(TOKENS):
        changed = codes.clone()
        changed[:, place] ^= True
        differs = (model.condition(changed, labels, NO_MASK) != before).any(dim=-1)
        assert not differs[:, : place + 1].any()
        assert differs[:, place + 1 : place + 2].all()


@pytest.mark.parametrize("text", [False, True])
def test_the_condition_reaches_every_token(tiny_generator: Callable[..., Generator], codes: Tensor, text: bool) -> None:
    kind: dict[str, Any] = {"classes": 0, "condition": "text", "text": TEXT} if text else {}
    model = tiny_generator(attention="causal", **kind).requires_grad_(False)
    one: Any = texts() if text else LABELS
    other: Any = model.condition_tokens.null(one)
    found = model.condition(codes, one, NO_MASK), model.condition(codes, other, NO_MASK)
    assert bool((found[0] != found[1]).any(dim=-1).all())


def test_hidden_states_look_back_too(causal: Generator, codes: Tensor) -> None:
    changed = codes.clone()
    changed[:, 5:] ^= True
    for layer in range(2):
        found, other = (causal.hidden(given_codes, LABELS, layer) for given_codes in (codes, changed))
        assert found.shape == (2, TOKENS, 16)
        assert torch.equal(found[:, :6], other[:, :6]) and not torch.allclose(found[:, 6:], other[:, 6:])


def test_what_stands_at_masked_places_does_not_matter(causal: Generator, codes: Tensor) -> None:
    mask = torch.arange(TOKENS).expand(2, -1) % 3 == 1
    found = causal.condition(codes, LABELS, mask)
    assert torch.equal(causal.condition(codes ^ mask[..., None], LABELS, mask), found)


def test_the_weights_are_those_of_the_other_attention(tiny_generator: Callable[..., Generator]) -> None:
    names = [
        {name: tensor.shape for name, tensor in tiny_generator(attention=kind).state_dict().items()}
        for kind in ("bidirectional", "causal")
    ]
    assert names[0] == names[1]


SETTINGS = st.builds(
    SamplingConfig,
    steps=st.integers(1, 6),
    timesteps=st.integers(1, 3),
    rank_timesteps=st.integers(0, 2),
    guidance=st.sampled_from([0.0, 1.0, 2.5]),
    order=st.sampled_from(["entropy", "halton", "raster"]),
)


@given(SETTINGS, st.lists(st.integers(0, 2**TOKENS - 1), min_size=1, max_size=3))
def test_tokens_are_drawn_one_by_one(causal: Generator, wanted: SamplingConfig, rows: list[int]) -> None:
    """Row by row, whatever the order and the steps; known ones stay; alone or in a batch the same bits."""
    masked = torch.tensor([[row >> place & 1 for place in range(TOKENS)] for row in rows]).bool()
    known = torch.rand(len(rows), TOKENS, BITS, generator=torch.Generator().manual_seed(3)) < 0.5
    labels, seeds = torch.arange(len(rows)), torch.arange(len(rows)) + 7
    left: list[Tensor] = []
    drawn = sample(
        causal, labels, seeds, wanted, known=(known, masked), observe=lambda i, codes, now: left.append(now.clone())
    )
    assert torch.equal(drawn[~masked], known[~masked])
    assert len(left) == TOKENS
    for i, now in enumerate(left):
        assert torch.equal(now, masked & (torch.arange(TOKENS) > i))
    alone = sample(causal, labels[-1:], seeds[-1:], wanted, known=(known[-1:], masked[-1:]))
    assert torch.equal(alone[0], drawn[-1])


def test_known_tokens_count_for_those_after_them(causal: Generator, codes: Tensor) -> None:
    wanted, masked = SamplingConfig(timesteps=8, guidance=1.0), torch.arange(TOKENS).expand(64, -1) != 4
    seeds, labels = torch.arange(64), torch.zeros(64, dtype=torch.int64)
    one, other = (
        sample(causal, labels, seeds, wanted, known=(given_codes.expand(64, -1, -1), masked))
        for given_codes in (codes[:1], ~codes[:1])
    )
    assert torch.equal(one[:, :4], other[:, :4])
    assert not torch.equal(one[:, 5:], other[:, 5:])


@pytest.mark.parametrize("head", HEADS)
def test_every_head_does(tiny_generator: Callable[..., Generator], head: Any) -> None:
    model = tiny_generator(attention="causal", head=head)
    drawn = sample(model, LABELS, torch.tensor([3, 4]), SamplingConfig(timesteps=3))
    assert drawn.shape == (2, TOKENS, BITS) and not torch.equal(drawn[0], drawn[1])


def test_drawn_by_its_own_conditions(tiny_generator: Callable[..., Generator]) -> None:
    """A second pass over the finished codes gives every token the condition that it was drawn by."""
    model = tiny_generator(attention="causal", head="direct").requires_grad_(False)
    seen: list[Tensor] = []
    layer = model.transcoder.condition_embedding
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    drawn = sample(model, LABELS, torch.tensor([3, 4]), SamplingConfig(timesteps=1, guidance=1.0))
    handle.remove()
    found = torch.cat(seen).transpose(0, 1)
    torch.testing.assert_close(found, model.condition(drawn, LABELS, NO_MASK), atol=1e-4, rtol=1e-4)


def test_settings_as_they_are_taken(causal: Generator) -> None:
    given_settings = SamplingConfig(steps=3, order="entropy", timesteps=5)
    assert taken_by("causal", TOKENS, given_settings) == SamplingConfig(steps=TOKENS, order="raster", timesteps=5)


def test_what_needs_both_sides_is_refused(causal: Generator, codes: Tensor) -> None:
    for scores in (token_scores, seen_scores):
        with pytest.raises(ConfigError, match="attention: causal"):
            scores(causal, codes, LABELS, ~NO_MASK, torch.tensor([0, 0]))


def test_an_attention_that_is_none(tiny_generator: Callable[..., Generator]) -> None:
    with pytest.raises(ConfigError, match="attention: expected one of bidirectional, causal, got 'sideways'"):
        tiny_generator(attention="sideways")
