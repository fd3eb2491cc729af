"""Encoders and decoders of the tokenizers: the published convolutional autoencoder, and a light one for small images.

The published one follows reference section 1. The light one folds pixels into channels before the first convolution and
unfolds them after the last one, so no layer works at the image's own resolution; most of the work is done by
transformer blocks on the token grid.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.architectures import AutoencoderConfig, CompactConfig
from bigr_cli.core.layers import SelfBlock


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, eps 1e-6, affine."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two normalised 3×3 convolutions plus the input."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        # In one expression, so that each map goes when the next is there: of full size they take more than all else.
        hidden = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return hidden + (x if self.conv_out is None else self.conv_out(x))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Single-head attention over all places of a feature map, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(x)
        # (B, C, h, w) → (B, hw, C)
        q, k, v = (layer(hidden).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(mixed)  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


def _level(config: AutoencoderConfig, channels: int, out_channels: int, resolution: int) -> list[nn.Module]:
    """The residual (and attention) blocks of one resolution."""
    blocks: list[nn.Module] = []
    for _ in range(config.res_blocks):
        blocks.append(ResidualBlock(channels, out_channels))
        channels = out_channels
        if resolution in config.attention_resolutions:
            blocks.append(SpatialAttention(channels))
    return blocks


def _middle(channels: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels), SpatialAttention(channels), ResidualBlock(channels, channels)]


class Encoder(nn.Module):
    """(B, 3, H, W) images in [0, 1] → (B, embedding, h, w) features."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        channels, resolution = config.channels, config.image_size
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
        for level, multiplier in enumerate(config.multipliers):
            out_channels = config.channels * multiplier
            blocks += _level(config, channels, out_channels, resolution)
            channels = out_channels
            if level < len(config.multipliers) - 1:
                blocks.append(Downsample(channels))
                resolution //= 2
        blocks += [*_middle(channels), group_norm(channels), nn.Conv2d(channels, config.embedding, 3, padding=1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(images)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """(B, embedding, h, w) features → (B, 3, H, W) images, not clamped."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        channels, resolution = config.channels * config.multipliers[-1], config.grid
        blocks: list[nn.Module] = [group_norm(config.embedding)] if config.norm_first else []
        blocks += [nn.Conv2d(config.embedding, channels, 3, padding=1), *_middle(channels)]
        for level in reversed(range(len(config.multipliers))):
            out_channels = config.channels * config.multipliers[level]
            blocks += _level(config, channels, out_channels, resolution)
            channels = out_channels
            if level > 0:
                blocks.append(Upsample(channels))
                resolution *= 2
        blocks += [group_norm(channels), nn.Conv2d(channels, 3, 3, padding=1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, features: Tensor) -> Tensor:
        return self.blocks(features)  # type: ignore[no-any-return]

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight whose gradients balance the adversarial loss."""
        return self.blocks[-1].weight  # type: ignore[return-value]


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


def _compact_level(config: CompactConfig, level: int, blocks: tuple[int, ...]) -> list[nn.Module]:
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
            blocks += _compact_level(config, level, config.encoder_blocks)
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
            blocks += _compact_level(config, level, config.decoder_blocks)
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
