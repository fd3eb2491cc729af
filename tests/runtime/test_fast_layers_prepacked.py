import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.runtime import fast_layers as packed
from bigr_cli.runtime.fast_layers import PackedLinear, large_layers, pack, weight_bytes

pytestmark = pytest.mark.skipif(not packed.prepacked_works(), reason="torch has no such products here")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=2), st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_a_layer_gives_the_same_numbers(rows: list[int], inner: int, columns: int, bias: bool) -> None:
    torch.manual_seed(inner)
    layer = nn.Linear(inner, columns, bias=bias).bfloat16().requires_grad_(False)
    x = torch.randn(*rows, inner).bfloat16()
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x), rtol=0.01, atol=0.01)


@pytest.fixture
def pair(tiny_generator: Callable[..., Generator]) -> tuple[Generator, Generator]:
    """A network in bfloat16, and the same with packed layers."""
    generator = tiny_generator(dim=64, transcoder_width=48, grid=4).requires_grad_(False)
    for parameter in generator.parameters():  # tables stay in float32
        parameter.data = parameter.data.bfloat16()
    other = copy.deepcopy(generator)
    pack(other)
    return generator, other


def test_all_large_layers_are_packed_and_weigh_the_same(pair: tuple[Generator, Generator]) -> None:
    generator, other = pair
    assert all(isinstance(getattr(place.parent, place.name), PackedLinear) for place in large_layers(other))
    assert weight_bytes(other) == weight_bytes(generator)
    assert not any("wqkv" in name for name in other.state_dict())


def test_the_same_codes_are_drawn(pair: tuple[Generator, Generator]) -> None:
    settings = SamplingConfig(steps=4, timesteps=6, guidance=2.0)
    labels, seeds = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    assert torch.equal(sample(pair[1], labels, seeds, settings), sample(pair[0], labels, seeds, settings))


def test_from_weights(pair: tuple[Generator, Generator]) -> None:
    generator, _ = pair
    with torch.device("meta"):
        empty = Generator(generator.config)
    pack(empty, generator.state_dict())
    empty.eval().requires_grad_(False)
    codes = torch.rand(2, generator.config.tokens, generator.config.bits) < 0.5
    found = empty.condition(codes, torch.tensor([0, 1]), codes[..., 0])
    assert torch.equal(found, generator.condition(codes, torch.tensor([0, 1]), codes[..., 0]))
