"""Images to binary codes and back, whatever the architecture in between, and the latent optimisation of codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softsign

from bigr_cli.core.architectures import TokenizerConfig, imported
from bigr_cli.core.layers import normal
from bigr_cli.core.random import Stream, uniform

_RATE, _BETAS = 0.25, (0.7, 0.99)
_MOST = 2.0  # the median logit's magnitude at the start: with more, the few steps that are taken would flip no bit
_LEAST = 1e-6  # of the squared error, whose logarithm is lowered


class Tokenizer(nn.Module):
    """Binary autoencoder: an image is `grid` × `grid` tokens of K bits, numbered row by row."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = imported(config.row.encoder)(config)
        self.decoder = imported(config.row.decoder)(config)
        self.to_bits = nn.Conv2d(config.width, config.bits, 1)
        self.embed = normal(config.bits, config.width, std=config.bits**-0.5)

    def bit_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] → (B, L, K) logits of P(bit = 1).

        Raises:
            ValueError: the images are not of the model's size.
        """
        size = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"images: expected (B, 3, {size}, {size}), got {tuple(images.shape)}")
        return self.to_bits(self.encoder(images)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def bit_probabilities(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] → (B, L, K) probabilities that a bit is 1."""
        return self.bit_logits(images).float().sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images in [0, 1] → (B, L, K) bool codes, without chance: P > 0.5."""
        return self.bit_logits(images) > 0

    def sample(self, images: Tensor, seeds: Tensor) -> Tensor:
        """(B, 3, H, W) images and (B,) seeds → (B, L, K) bool codes sampled from Bernoulli(P)."""
        probabilities = self.bit_probabilities(images)
        batch, tokens, bits = probabilities.shape
        positions = torch.arange(tokens, device=seeds.device).repeat(batch)
        numbers = uniform(seeds.repeat_interleave(tokens), Stream.ENCODE, positions, bits)
        return numbers.view(batch, tokens, bits) < probabilities

    def decode(self, codes: Tensor) -> Tensor:
        """(B, L, K) codes (bool, or numbers from 0 to 1) → (B, 3, H, W) images, not clamped to [0, 1].

        Raises:
            ValueError: the codes are not of the model's grid and bits.
        """
        grid, bits = self.config.grid, self.config.bits
        if codes.ndim != 3 or codes.shape[1:] != (grid * grid, bits):
            raise ValueError(f"codes: expected (B, {grid * grid}, {bits}), got {tuple(codes.shape)}")
        features = codes.to(self.embed.dtype) @ self.embed  # (B, L, E)
        return self.decoder(features.transpose(1, 2).unflatten(2, (grid, grid)))  # type: ignore[no-any-return]


def refined(tokenizer: Tokenizer, images: Tensor, logits: Tensor, steps: int) -> Tensor:
    """Codes of images, looked for in so many steps from the encoder's.

    Adam moves the bits' logits, the decoder gets bits, and the gradient passes straight through the rounding between
    them. Large logits are scaled down before, so that the bits of which the encoder was least sure are the first to
    change. Of all codes on the way those with the least squared error are kept, so more steps never make it larger.
    Each image is by itself. A step takes about twice as long as decoding.

    Args:
        tokenizer: is not changed.
        images: (B, 3, H, W) in [0, 1].
        logits: (B, L, K), the encoder's `Tokenizer.bit_logits` of them.
        steps: 0 gives the encoder's own codes.

    Returns:
        (B, L, K) bool codes.
    """
    if steps == 0:
        return logits > 0
    with torch.inference_mode(False), torch.enable_grad():
        given = images.detach().clone()
        logits = _scaled(logits.detach().float()).requires_grad_()
        best = logits.detach() > 0
        optimizer = torch.optim.Adam([logits], lr=_RATE, betas=_BETAS)
        least = torch.full((len(given),), torch.inf, device=given.device)
        for step in range(steps + 1):
            bits = logits.detach() > 0
            soft = softsign(logits) / 2
            error = _error(tokenizer.decode(bits + soft - soft.detach()), given)
            better = error.detach() < least
            best, least = torch.where(better[:, None, None], bits, best), torch.where(better, error.detach(), least)
            if step == steps:
                break
            (logits.grad,) = torch.autograd.grad((error + _LEAST).log().sum(), logits)
            optimizer.step()
    return best


def _scaled(logits: Tensor) -> Tensor:
    """(B, L, K) logits, those of each image divided so that the median of their magnitudes is `_MOST` at most."""
    median = logits.abs().flatten(1).median(dim=1).values
    return logits * (_MOST / median.clamp_min(_MOST))[:, None, None]


def _error(made: Tensor, given: Tensor) -> Tensor:
    """The mean squared error of each image, as it is saved: (B,)."""
    return (made.float().clamp(0, 1) - given.float()).square().mean(dim=(1, 2, 3))
