"""A light tokenizer for small images.

Pixels are folded into channels before the first convolution and unfolded after the last one, so no layer works at the
image's own resolution; most of the work is done by transformer blocks on the token grid.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.config import CompactConfig
from bigr_cli.core.layers import SelfBlock


class ConvBlock(nn.Module):
    """Normalisation, 3×3 convolution, SiLU, 3×3 convolution, plus the input; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(self.norm(x))))  # type: ignore[no-any-return]


class GridBlock(SelfBlock):
    """A transformer block over all places of a feature map; starts as the identity."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, C, h, w) → the same."""
        tokens = super().forward(x.flatten(2).transpose(1, 2), keep)
        return tokens.transpose(1, 2).reshape(x.shape)


def _level(config: CompactConfig, level: int, blocks: tuple[int, ...]) -> list[nn.Module]:
    """The blocks of one resolution: convolutions, and on the last level, the token grid, transformer blocks.

    The convolutions around the grid's blocks tell them, by their zero padding, where a token lies.
    """
    channels = config.channels[level]
    if level < len(config.channels) - 1:
        return [ConvBlock(channels) for _ in range(blocks[level])]
    return [ConvBlock(channels), *(GridBlock(channels, config.attention_heads) for _ in range(blocks[level]))]


class CompactEncoder(nn.Module):
    """(B, 3, H, W) images in [0, 1] → (B, channels[-1], h, w) features."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for level, width in enumerate(config.channels):
            blocks += [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)]
            blocks += _level(config, level, config.encoder_blocks)
            channels = width
        blocks.append(nn.GroupNorm(8, channels))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(2 * images - 1)  # type: ignore[no-any-return]


class CompactDecoder(nn.Module):
    """(B, channels[-1], h, w) features → (B, 3, H, W) images, not clamped."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        channels = config.channels[-1]
        blocks: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1)]
        for level in reversed(range(len(config.channels))):
            blocks += _level(config, level, config.decoder_blocks)
            width = config.channels[level - 1] if level > 0 else 3
            if level == 0:
                blocks += [nn.GroupNorm(8, channels), nn.SiLU()]
            blocks += [nn.Conv2d(channels, 4 * width, 3, padding=1), nn.PixelShuffle(2)]
            channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, features: Tensor) -> Tensor:
        return 0.5 + 0.5 * self.blocks(features)  # type: ignore[no-any-return]

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight whose gradients balance the adversarial loss."""
        return self.blocks[-2].weight  # type: ignore[return-value]
