from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bigr_cli.core.architectures import CompactConfig
from bigr_cli.core.tokenizer import Tokenizer, refined


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    torch.manual_seed(3)
    sizes = {"channels": (8, 16), "encoder_blocks": (1, 1), "decoder_blocks": (1, 1), "attention_heads": 2}
    made = Tokenizer(CompactConfig(16, 12, **sizes))
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * 0.2
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(tokenizer: Tokenizer) -> Tensor:
    """Images that the tokenizer can make, of codes that its encoder does not find."""
    codes = torch.rand(4, 16, 12, generator=torch.Generator().manual_seed(5)) < 0.5
    with torch.no_grad():
        return tokenizer.decode(codes).clamp(0, 1)


def found_in(tokenizer: Tokenizer, images: Tensor, steps: int) -> Tensor:
    return refined(tokenizer, images, tokenizer.bit_logits(images), steps)


def errors(tokenizer: Tokenizer, codes: Tensor, images: Tensor) -> Tensor:
    with torch.no_grad():
        return (tokenizer.decode(codes).clamp(0, 1) - images).square().mean(dim=(1, 2, 3))


def test_without_steps_it_is_the_encoder(tokenizer: Tokenizer, images: Tensor) -> None:
    assert torch.equal(found_in(tokenizer, images, 0), tokenizer.encode(images))


def test_more_steps_are_never_worse_and_some_are_better(tokenizer: Tokenizer, images: Tensor) -> None:
    found = [errors(tokenizer, found_in(tokenizer, images, steps), images) for steps in (0, 1, 10, 40)]
    assert all(bool((more <= fewer).all()) for fewer, more in pairwise(found))
    assert float((found[-1] / found[0]).max()) < 0.6


def test_each_image_is_by_itself(tokenizer: Tokenizer, images: Tensor) -> None:
    alone = torch.cat([found_in(tokenizer, image[None], 12) for image in images])
    assert float((found_in(tokenizer, images, 12) != alone).float().mean()) < 0.01  # but for rounding


def test_nothing_else_changes(tokenizer: Tokenizer, images: Tensor) -> None:
    before = {name: weight.clone() for name, weight in tokenizer.state_dict().items()}
    with torch.inference_mode():
        inside = found_in(tokenizer, images.clone(), 5)
    assert torch.equal(inside, found_in(tokenizer, images, 5))
    assert inside.dtype == torch.bool and not inside.requires_grad
    assert all(torch.equal(before[name], weight) for name, weight in tokenizer.state_dict().items())
    assert all(weight.grad is None for weight in tokenizer.parameters())


def test_images_of_another_size(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="images: expected"):
        found_in(tokenizer, torch.zeros(1, 3, 8, 8), 2)
