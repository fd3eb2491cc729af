"""The features of several layers in one pass are those of each layer by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.representation import layer_features, middle_layer, packed, pooled


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    sizes = {"layers": 3, "heads": 2, "dim": 16, "ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16}
    return Generator(GeneratorConfig(grid=2, bits=5, classes=3, **sizes)).eval().requires_grad_(False)


def test_one_pass_gives_what_each_layer_gives_alone(generator: Generator) -> None:
    codes = torch.rand(4, 4, 5) > 0.5
    labels = torch.tensor([0, 1, 2, 3])
    each = [generator.hidden(codes, labels, layer) for layer in range(3)]
    found = layer_features(generator, codes, labels, [2, 0, 1], cells=None)
    assert torch.equal(found, torch.stack([each[2], each[0], each[1]], dim=1))
    means = layer_features(generator, codes, labels, [0, 2])
    assert torch.equal(means, torch.stack([each[0].mean(dim=1), each[2].mean(dim=1)], dim=1))


def test_cells_are_means_of_their_part_of_the_grid(generator: Generator) -> None:
    states = torch.rand(2, 16, 5)
    grid = states.view(2, 4, 4, 5)
    quarters = [grid[:, r : r + 2, c : c + 2].flatten(1, 2).mean(dim=1) for r in (0, 2) for c in (0, 2)]
    torch.testing.assert_close(pooled(states, 2), torch.cat(quarters, dim=1))
    ninths = [grid[:, r : r + 2, c : c + 2].flatten(1, 2).mean(dim=1) for r in range(3) for c in range(3)]
    torch.testing.assert_close(pooled(states, 3), torch.cat(ninths, dim=1))  # they overlap by a token
    torch.testing.assert_close(pooled(states, 4), states.flatten(1))
    assert torch.equal(pooled(states, 1), states.mean(dim=1))
    with pytest.raises(ValueError, match="1 to 4, got 5"):
        pooled(states, 5)
    codes, labels = torch.rand(3, 4, 5) > 0.5, torch.tensor([0, 1, 2])
    assert torch.equal(
        layer_features(generator, codes, labels, [1], cells=2)[:, 0],
        generator.hidden(codes, labels, 1).flatten(1),
    )


@pytest.mark.parametrize("layers", [[], [3], [-1]])
def test_layers_that_are_not_there(generator: Generator, layers: list[int]) -> None:
    with pytest.raises(ValueError, match="0 to 2"):
        layer_features(generator, torch.zeros(1, 4, 5), torch.tensor([0]), layers)


def test_the_middle_is_after_half_of_the_blocks() -> None:
    assert [middle_layer(count) for count in (1, 2, 3, 8, 24)] == [0, 0, 1, 3, 11]


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
def test_packed_codes_are_the_codes(batch: int, tokens: int, bits: int) -> None:
    codes = torch.rand(batch, tokens, bits) > 0.5
    rows = packed(codes)
    assert rows.shape == (batch, -(-tokens * bits // 8))
    assert np.array_equal(np.unpackbits(rows, axis=1, count=tokens * bits), codes.flatten(1).numpy())
