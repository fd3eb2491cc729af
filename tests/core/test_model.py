"""The whole model: its two halves together, and its number formats."""

import copy

import pytest
import torch

from bigr_cli.core.model import BinaryModel


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casting_leaves_the_tables_alone(tiny_network: BinaryModel, dtype: torch.dtype) -> None:
    model = copy.deepcopy(tiny_network).cast(dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert {table.dtype for table in model.buffers()} == {torch.float32}


def test_samples_in_bfloat16(tiny_network: BinaryModel) -> None:
    """And still the same whatever stands beside it."""
    generator = copy.deepcopy(tiny_network)
    generator.generator.requires_grad_(False)
    generator.cast(torch.bfloat16)
    labels = torch.tensor([1, 2, 3])
    codes = generator.sample_codes(labels, [1, 2, 3], steps=4, timesteps=4)
    assert codes.dtype == torch.bool and codes.shape == (3, 16, 4)


def test_from_labels_to_images(tiny_network: BinaryModel) -> None:
    codes = tiny_network.sample_codes(torch.tensor([0, 1]), range(2), steps=3, timesteps=4)
    with torch.no_grad():
        assert tiny_network.tokenizer.decode(codes).shape == (2, 3, 16, 16)


def test_codes_may_be_used_in_training_and_changed(tiny_network: BinaryModel) -> None:
    """What comes out of the sampler is an ordinary tensor."""
    codes = tiny_network.sample_codes(torch.tensor([0]), [0], steps=2, timesteps=2)
    codes[0, 0] = True
    tiny_network.tokenizer.decode(codes).sum().backward()
    tiny_network.zero_grad()
