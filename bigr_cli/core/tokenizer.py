"""Pictures to binary codes and back, whatever the architecture in between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bigr_cli.core.architectures import imported
from bigr_cli.core.config import TokenizerConfig
from bigr_cli.core.layers import normal
from bigr_cli.core.random import Stream, uniform


class Tokenizer(nn.Module):
    """Binary autoencoder: a picture is `grid` × `grid` tokens of K bits, numbered row by row."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = imported(config.row.encoder)(config)
        self.decoder = imported(config.row.decoder)(config)
        self.to_bits = nn.Conv2d(config.width, config.bits, 1)
        self.embed = normal(config.bits, config.width, std=config.bits**-0.5)

    def bit_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) pictures in [0, 1] → (B, L, K) logits of P(bit = 1).

        Raises:
            ValueError: the pictures are not of the model's size.
        """
        size = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"images: expected (B, 3, {size}, {size}), got {tuple(images.shape)}")
        return self.to_bits(self.encoder(images)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def bit_probabilities(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) pictures in [0, 1] → (B, L, K) probabilities that a bit is 1."""
        return self.bit_logits(images).float().sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) pictures in [0, 1] → (B, L, K) bool codes, without chance: P > 0.5."""
        return self.bit_logits(images) > 0

    def sample(self, images: Tensor, seeds: Tensor) -> Tensor:
        """(B, 3, H, W) pictures and (B,) seeds → (B, L, K) bool codes drawn from Bernoulli(P)."""
        probabilities = self.bit_probabilities(images)
        batch, tokens, bits = probabilities.shape
        positions = torch.arange(tokens, device=seeds.device).repeat(batch)
        numbers = uniform(seeds.repeat_interleave(tokens), Stream.ENCODE, positions, bits)
        return numbers.view(batch, tokens, bits) < probabilities

    def decode(self, codes: Tensor) -> Tensor:
        """(B, L, K) codes (bool, or numbers from 0 to 1) → (B, 3, H, W) pictures, not clamped to [0, 1].

        Raises:
            ValueError: the codes are not of the model's grid and bits.
        """
        grid, bits = self.config.grid, self.config.bits
        if codes.ndim != 3 or codes.shape[1:] != (grid * grid, bits):
            raise ValueError(f"codes: expected (B, {grid * grid}, {bits}), got {tuple(codes.shape)}")
        features = codes.to(self.embed.dtype) @ self.embed  # (B, L, E)
        return self.decoder(features.transpose(1, 2).unflatten(2, (grid, grid)))  # type: ignore[no-any-return]
