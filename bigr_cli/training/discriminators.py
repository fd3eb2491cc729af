"""The discriminators that tell a tokenizer's images from real ones, and the adversarial loss (reference section 1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.training.loss_config import AdversarialConfig

_HEAD_WIDTH = 64
_PROBE_SIDE = 64  # pixels of the noise by which a network's maps are scaled


def discriminator_for(config: AdversarialConfig, network: nn.Module | None) -> nn.Module:
    """The discriminator of a training: (B, 3, H, W) images in [0, 1] → a list of logits (B, 1, h, w).

    `network` has `features(images)`, as that of `perceptual_network`; None is enough for `patches`.
    """
    if config.discriminator == "patches":
        return PatchDiscriminator(config)
    if network is None:
        raise ValueError("a discriminator of features needs a network that makes them")
    features = FeatureDiscriminator(network)
    return features if config.discriminator == "features" else _Both(PatchDiscriminator(config), features)


class _Both(nn.Module):
    """What two discriminators say."""

    def __init__(self, patches: nn.Module, features: nn.Module) -> None:
        super().__init__()
        self.patches, self.features = patches, features

    def forward(self, images: Tensor) -> list[Tensor]:
        return [*self.patches(images), *self.features(images)]


class FeatureDiscriminator(nn.Module):
    """A few convolutions on each map of a frozen network (projected GAN, Sauer et al. 2021, without its mixing)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network: list[Any] = [network]  # a list hides it from the module tree
        noise = torch.rand(2, 3, _PROBE_SIDE, _PROBE_SIDE, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            maps: list[Tensor] = network.features(noise)  # type: ignore[operator]
        self.scales: Tensor
        self.register_buffer("scales", torch.stack([1 / each.std().clamp_min(1e-3) for each in maps]))
        self.heads = nn.ModuleList([_head(each.shape[1]) for each in maps])

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] → logits (B, 1, h, w) for each map."""
        maps = self._network[0].to(images.device).features(images)
        return [head(scale * each) for head, scale, each in zip(self.heads, self.scales, maps, strict=True)]


def _head(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, _HEAD_WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(_HEAD_WIDTH, _HEAD_WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(_HEAD_WIDTH, 1, 1),
    )


class PatchDiscriminator(nn.Module):
    """Convolutions that classify overlapping patches: (B, 3, H, W) in [0, 1] → logits (B, 1, h, w), one of one."""

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        channels = config.channels
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, config.layers + 1):
            width = config.channels * min(2**level, 8)
            stride = 2 if level < config.layers else 1
            blocks += [nn.Conv2d(channels, width, 4, stride=stride, padding=1, bias=False)]
            blocks += [nn.GroupNorm(8, width), nn.LeakyReLU(0.2)]
            channels = width
        blocks.append(nn.Conv2d(channels, 1, 4, padding=1))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.blocks(2 * images - 1)]


def discriminator_loss(discriminator: nn.Module, given: Tensor, made: Tensor, *, augment: bool) -> Tensor:
    """Hinge loss of the discriminator, the mean over its parts; `made` must be detached from the tokenizer."""
    if augment:
        given, made = augmented(given, made)
    pairs = zip(discriminator(given), discriminator(made), strict=True)
    parts = [(F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2 for real, fake in pairs]
    return torch.stack(parts).mean()


def deception_loss(discriminator: nn.Module, made: Tensor) -> Tensor:
    """The tokenizer's part of the hinge loss: how far its images are from passing for real ones."""
    return -torch.stack([logits.mean() for logits in discriminator(made)]).mean()


def adaptive_share(other: Tensor, adversarial: Tensor, last_layer: nn.Parameter, cap: float) -> Tensor:
    """The ratio of both losses' gradients at the decoder's last layer, at most `cap`."""
    (of_other,) = torch.autograd.grad(other, last_layer, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    share: Tensor = of_other.norm() / (of_adversarial.norm() + 1e-4)
    return share.clamp(0, cap).detach()


def augmented(*batches: Tensor) -> tuple[Tensor, ...]:
    """The same random colours and translation for each batch (DiffAugment, Zhao et al. 2020)."""
    first = batches[0]
    brightness, saturation, contrast = torch.rand(3, len(first), 1, 1, 1, device=first.device)
    reach = max(1, first.shape[-1] // 8)
    dx, dy = (int(torch.randint(-reach, reach + 1, ())) for _ in range(2))
    results = []
    for images in batches:
        x = images + brightness - 0.5
        x = (x - x.mean(dim=1, keepdim=True)) * 2 * saturation + x.mean(dim=1, keepdim=True)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (contrast + 0.5) + mean
        padded = F.pad(x, (reach, reach, reach, reach))
        height, width = images.shape[-2:]
        results.append(padded[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width])
    return tuple(results)
