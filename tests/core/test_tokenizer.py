"""Both tokenizer architectures behind their one interface."""

import pytest
import torch
from torch import Tensor

from bigr_cli.core.architectures import AutoencoderConfig, CompactConfig
from bigr_cli.core.tokenizer import Tokenizer

SIZE, GRID, BITS = 16, 4, 6
TOKENS = GRID * GRID
AUTOENCODER = AutoencoderConfig(SIZE, BITS, channels=32, multipliers=(1, 1, 2), res_blocks=1, embedding=32)
COMPACT = CompactConfig(SIZE, BITS, channels=(8, 16), encoder_blocks=(0, 2), decoder_blocks=(1, 1), attention_heads=2)
OTHERS = [
    AutoencoderConfig(SIZE, BITS, channels=32, multipliers=(1,), embedding=64, norm_first=False),
    AutoencoderConfig(
        32, 3, channels=32, multipliers=(2, 1), res_blocks=2, attention_resolutions=(16, 32), embedding=32
    ),
    CompactConfig(8, 1, channels=(8,), encoder_blocks=(0,), decoder_blocks=(0,), attention_heads=1),
    CompactConfig(SIZE, 7, channels=(8, 24, 16), encoder_blocks=(1, 0, 1), decoder_blocks=(0, 1, 2)),
]


@pytest.fixture(scope="module", params=[AUTOENCODER, COMPACT], ids=["autoencoder", "compact"])
def tokenizer(request: pytest.FixtureRequest, randomise) -> Tokenizer:
    return randomise(Tokenizer(request.param), scale=1.0)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_shapes_and_types(tokenizer: Tokenizer, images: Tensor) -> None:
    p = tokenizer.bit_probabilities(images)
    assert p.shape == (3, TOKENS, BITS) and p.dtype == torch.float32
    assert (p >= 0).all() and (p <= 1).all() and float(p.std()) > 0.01
    codes = tokenizer.encode(images)
    assert codes.shape == (3, TOKENS, BITS) and codes.dtype == torch.bool
    assert tokenizer.decode(codes).shape == images.shape


@pytest.mark.parametrize("config", OTHERS, ids=str)
@torch.no_grad()
def test_other_sizes(config) -> None:
    tokenizer = Tokenizer(config).eval()
    codes = tokenizer.encode(torch.rand(2, 3, config.image_size, config.image_size))
    assert codes.shape == (2, config.grid**2, config.bits)
    assert tokenizer.decode(codes).shape == (2, 3, config.image_size, config.image_size)


@torch.no_grad()
def test_the_code_is_the_likelier_value(tokenizer: Tokenizer, images: Tensor) -> None:
    p = tokenizer.bit_probabilities(images)
    torch.testing.assert_close(p, tokenizer.bit_logits(images).sigmoid())
    assert torch.equal(tokenizer.encode(images), p > 0.5)


@torch.no_grad()
def test_drawn_codes_come_as_often_as_they_should(
    tokenizer: Tokenizer, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 4,000 seeds; bits are independent, so chi-square with L·K = 96 degrees of freedom: 99.99 % are below 155."""
    n = 4000
    logits = tokenizer.bit_logits(images[:1])
    logits = logits / logits.std()
    monkeypatch.setattr(tokenizer, "bit_logits", lambda images: logits.expand(len(images), -1, -1))
    drawn = tokenizer.sample(images[:1].expand(n, -1, -1, -1), torch.arange(n)).flatten(1).double()
    p = logits.sigmoid().flatten().double()
    some = (p > 0.01) & (p < 0.99)
    chi_square = (((drawn.mean(0) - p) ** 2) / (p * (1 - p) / n))[some].sum()
    assert drawn.shape == (n, TOKENS * BITS) and int(some.sum()) > 48
    assert float(chi_square) < 155
    even = drawn[:, (p > 0.1) & (p < 0.9)]
    correlation = torch.corrcoef(even.T) - torch.eye(even.shape[1])
    assert float(correlation.abs().max()) < 6 / n**0.5


@torch.no_grad()
def test_drawn_codes_belong_to_their_seeds(tokenizer: Tokenizer, images: Tensor) -> None:
    seeds = torch.tensor([7, 2**63 - 1, 0])
    drawn = tokenizer.sample(images, seeds)
    assert torch.equal(tokenizer.sample(images.flip(0), seeds.flip(0)).flip(0), drawn)
    assert torch.equal(tokenizer.sample(images[1:2], seeds[1:2])[0], drawn[1])
    assert not torch.equal(tokenizer.sample(images, seeds + torch.tensor([1, -1, 1])), drawn)


@torch.no_grad()
def test_decode_takes_bits_of_any_type(tokenizer: Tokenizer, images: Tensor) -> None:
    codes = tokenizer.encode(images)
    image = tokenizer.decode(codes)
    for other in (codes.float(), codes.long(), codes.to(torch.uint8), codes.double()):
        assert torch.equal(tokenizer.decode(other), image)


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(tokenizer: Tokenizer, images: Tensor) -> None:
    codes = tokenizer.encode(images)
    for method, batch in ((tokenizer.bit_logits, images), (tokenizer.decode, codes)):
        together, alone = method(batch)[1], method(batch[1:2])[0]
        assert float((together - alone).abs().max()) < 1e-3 * float(together.abs().max())


@torch.no_grad()
def test_tokens_are_numbered_row_by_row(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token 6 is row 1, column 2 of the 4 × 4 grid, on both sides."""
    features = torch.randn(1, tokenizer.embed.shape[1], GRID, GRID)
    monkeypatch.setattr(tokenizer.encoder, "forward", lambda images: features)
    logits = tokenizer.bit_logits(torch.zeros(1, 3, SIZE, SIZE))
    expected = tokenizer.to_bits.weight[:, :, 0, 0] @ features[0, :, 1, 2] + tokenizer.to_bits.bias
    torch.testing.assert_close(logits[0, 6], expected)
    monkeypatch.setattr(tokenizer.decoder, "forward", lambda features: features)
    codes = torch.zeros(1, TOKENS, BITS)
    codes[0, 6, 3] = codes[0, 6, 5] = 1
    decoded = tokenizer.decode(codes)
    torch.testing.assert_close(decoded[0, :, 1, 2], tokenizer.embed[3] + tokenizer.embed[5])
    assert int((decoded != 0).any(dim=1).sum()) == 1


def test_gradients_flow_through_soft_codes(tokenizer: Tokenizer, images: Tensor) -> None:
    p = tokenizer.bit_probabilities(images)
    tokenizer.decode(p).square().mean().backward()
    assert all(parameter.grad is not None for parameter in tokenizer.parameters())
    assert float(tokenizer.embed.grad.abs().sum()) > 0 and float(tokenizer.to_bits.weight.grad.abs().sum()) > 0
    tokenizer.zero_grad()


def test_the_last_layer_is_the_one_that_makes_pixels(tokenizer: Tokenizer) -> None:
    assert any(tokenizer.decoder.last_layer is parameter for parameter in tokenizer.parameters())
    assert tokenizer.decoder.last_layer.shape[0] in (3, 12)


@pytest.mark.parametrize(
    "shape", [(3, SIZE, SIZE), (1, 1, SIZE, SIZE), (1, 3, SIZE, SIZE + 1), (1, 3, 2 * SIZE, 2 * SIZE)]
)
def test_images_of_a_wrong_shape(tokenizer: Tokenizer, shape: tuple[int, ...]) -> None:
    for method in (tokenizer.bit_probabilities, tokenizer.encode, lambda x: tokenizer.sample(x, torch.tensor([0]))):
        with pytest.raises(ValueError, match=rf"images: expected \(B, 3, {SIZE}, {SIZE}\), got"):
            method(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(TOKENS, BITS), (1, TOKENS, BITS + 1), (1, TOKENS - 1, BITS), (1, GRID, GRID, BITS)])
def test_codes_of_a_wrong_shape(tokenizer: Tokenizer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"codes: expected \(B, {TOKENS}, {BITS}\), got"):
        tokenizer.decode(torch.zeros(shape))
