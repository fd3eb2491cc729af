"""Passes that reuse earlier ones: exact where nothing changed, cheaper, and of each image alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.layers import KeysValues, Part
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import Passes, sample
from bigr_cli.errors import ConfigError


@pytest.fixture(scope="module")
def generator(tiny_generator: Callable[..., Generator]) -> Generator:
    return tiny_generator()


def batch(count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    codes = torch.rand(count, 9, 4, generator=chance) < 0.5
    return codes, torch.arange(count), torch.rand(count, 9, generator=chance) < 0.6


@torch.no_grad()
def test_of_unchanged_images_a_part_is_what_the_whole_is(generator: Generator) -> None:
    codes, labels, masked = batch()
    prefix = generator.condition_tokens(labels)
    kept = [KeysValues() for _ in generator.blocks]
    whole = generator.condition(codes, prefix, masked, kept=kept)
    assert torch.equal(whole, generator.condition(codes, prefix, masked))
    before = [each.keys.clone() for each in kept]
    part = Part(torch.tensor([[4, 0, 7]] * 3), torch.tensor([[True, True, False]] * 3))
    some = generator.condition(codes, prefix, masked, kept=kept, part=part)
    torch.testing.assert_close(some, whole[:, [4, 0, 7]], rtol=1e-4, atol=1e-5)
    for old, each in zip(before, kept, strict=True):
        torch.testing.assert_close(each.keys, old, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_all_tokens_as_a_part_are_a_full_pass(generator: Generator) -> None:
    """Whatever was kept before of the image's tokens is replaced; the condition's own keys stay those of before."""
    codes, labels, masked = batch()
    passes = Passes(generator, 5)
    prefix, every = generator.condition_tokens(labels), torch.ones_like(masked)
    passes.condition(codes, prefix, masked, every, 0, 1.0)
    again = passes.condition(codes, prefix, masked, every, 1, 1.0)
    torch.testing.assert_close(again, generator.condition(codes, prefix, masked), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_changed_and_what_is_needed_goes_through_the_blocks(generator: Generator) -> None:
    codes, labels, masked = batch(2)
    masked[:] = True
    prefix, passes, rows = generator.condition_tokens(labels), Passes(generator, 3), []
    handle = generator.blocks[0].register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape[1]))
    nothing = torch.zeros_like(masked)
    passes.condition(codes, prefix, masked, ~nothing, 0, 1.0)
    masked[:, :2] = False  # these change; the others keep what they were
    needed = nothing.clone()
    needed[0, 5] = needed[1, 4:8] = True
    passes.condition(codes, prefix, masked, needed, 1, 1.0)
    needed[1] = False
    passes.condition(codes, prefix, masked, needed, 2, 1.0)  # nothing has changed since
    assert passes.due(3, 1.0) and not passes.due(2, 1.0) and passes.due(2, 2.5)
    passes.condition(codes, prefix, masked, needed, 3, 1.0)
    handle.remove()
    length = prefix.tokens.shape[1]
    assert rows == [9 + length, 2 + 4, 1, 9 + length]


@pytest.mark.parametrize("order", ["entropy", "halton"])
def test_an_image_does_not_depend_on_its_batch(generator: Generator, order: str) -> None:
    """With so few unknown tokens in one of them that there are iterations in which it unmasks none."""
    codes, labels, _ = batch()
    masked = torch.ones(3, 9, dtype=torch.bool)
    masked[1, 2:] = False
    seeds = torch.tensor([5, 6, 7])
    settings = SamplingConfig(
        steps=6, timesteps=2, order=order, guidance=3.0, guidance_interval=(0.3, 0.7), cache_interval=4, corrections=1
    )
    together = sample(generator, labels, seeds, settings, known=(codes, masked))
    for row in range(3):
        one = slice(row, row + 1)
        alone = sample(generator, labels[one], seeds[one], settings, known=(codes[one], masked[one]))
        assert torch.equal(alone[0], together[row])
    assert torch.equal(together[~masked], codes[~masked])


def test_causal_generators_refuse(generator: Generator) -> None:
    causal = Generator(replace(generator.config, attention="causal"))
    with pytest.raises(ConfigError, match="cache_interval: expected 1 with attention: causal, got 2"):
        sample(causal, torch.tensor([1]), torch.tensor([5]), SamplingConfig(cache_interval=2))
