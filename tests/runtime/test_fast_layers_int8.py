import copy
import weakref
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import nn

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.runtime import fast_layers
from bigr_cli.runtime.fast_layers import Int8Linear, Quantise, QuantiseSiLU, is_int8, to_int8

pytestmark = pytest.mark.skipif(not fast_layers.int8_works(), reason="this processor does not multiply int8")


@pytest.fixture
def pair(tiny_generator: Callable[..., Generator]) -> tuple[Generator, Generator]:
    """A network in float32, and the same in int8."""
    generator = tiny_generator(dim=64, transcoder_width=48, grid=4).requires_grad_(False)
    other = copy.deepcopy(generator)
    to_int8(other)
    return generator, other


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize("kind", [Quantise, QuantiseSiLU])
def test_eight_bits_are_within_half_a_step(kind: type[Quantise]) -> None:
    x = torch.nn.functional.silu(torch.randn(50, 96) * torch.logspace(-3, 3, 50)[:, None])
    codes, scale = kind(96)(x)
    assert codes.dtype == torch.uint8
    assert (((codes.float() - kind.zero) * scale - x).abs() <= 0.5001 * scale + 1e-30).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_near_that_of_floats(bias: bool) -> None:
    layer = nn.Linear(256, 48, bias=bias).requires_grad_(False)
    layer.weight[3] = 0
    x = torch.randn(2, 30, 256) * torch.logspace(-3, 3, 30)[:, None]
    x[1, 5] = 0
    found, expected = Int8Linear(layer)(x), layer(x)
    for row in range(30):
        assert relative(found[0, row], expected[0, row]) < 0.03
    assert torch.equal(found[1, 5], expected[1, 5])
    assert torch.equal(found[..., 3], expected[..., 3])


def test_a_row_does_not_depend_on_its_batch() -> None:
    layer, x = Int8Linear(nn.Linear(256, 48).requires_grad_(False)), torch.randn(70, 256)
    x[9] *= 1000
    together = layer(x)
    for row in range(70):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_the_networks_are_near_each_other(pair: tuple[Generator, Generator]) -> None:
    torch.manual_seed(0)
    generator, other = pair
    assert not is_int8(generator)
    assert is_int8(other)
    config = generator.config
    codes, mask = torch.rand(2, config.tokens, config.bits) < 0.5, torch.rand(2, config.tokens) < 0.5
    labels = torch.tensor([0, config.classes])
    expected = generator.condition(codes, labels, mask)
    found = other.condition(codes, labels, mask)
    assert 1e-5 < relative(found, expected) < 0.05
    rows, bits = expected.flatten(0, 1), codes.flatten(0, 1)
    assert (
        1e-5
        < relative(other.transcoder.flip_logits(bits, 9, rows), generator.transcoder.flip_logits(bits, 9, rows))
        < 0.05
    )


class Watched(Mapping[str, torch.Tensor]):
    """A state dict that copies what it is asked for, and notes how many of its wide copies are there at once."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state, self.copies, self.most = state, list[weakref.ref[torch.Tensor]](), 0

    def __getitem__(self, name: str) -> torch.Tensor:
        copy = self.state[name].clone()
        if copy.ndim == 2 and name.startswith(("blocks.", "transcoder.blocks.")):
            self.copies.append(weakref.ref(copy))
        self.most = max(self.most, sum(reference() is not None for reference in self.copies))
        return copy

    def __iter__(self) -> Iterator[str]:
        return iter(self.state)

    def __len__(self) -> int:
        return len(self.state)


def test_from_weights_of_which_few_are_there_at_once(pair: tuple[Generator, Generator]) -> None:
    generator, other = pair
    with torch.device("meta"):
        empty = Generator(generator.config)
    weights = Watched(generator.state_dict())
    to_int8(empty, weights)
    empty.eval().requires_grad_(False)
    assert len(weights.copies) == 8
    assert weights.most <= 2
    assert is_int8(empty)
    codes = torch.rand(2, generator.config.tokens, generator.config.bits) < 0.5
    expected = other.condition(codes, torch.tensor([0, 1]), codes[..., 0])
    assert torch.equal(empty.condition(codes, torch.tensor([0, 1]), codes[..., 0]), expected)
    rows, bits = expected.flatten(0, 1), codes.flatten(0, 1)
    assert torch.equal(empty.transcoder.flip_logits(bits, 9, rows), other.transcoder.flip_logits(bits, 9, rows))


def test_an_image_does_not_depend_on_its_batch(pair: tuple[Generator, Generator]) -> None:
    settings = SamplingConfig(steps=4, timesteps=6, guidance=2.0)
    labels, seeds = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    together = sample(pair[1], labels, seeds, settings)
    for item in range(3):
        alone = sample(pair[1], labels[item : item + 1], seeds[item : item + 1], settings)
        assert torch.equal(alone[0], together[item])
