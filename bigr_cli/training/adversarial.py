"""The adversarial part of the tokenizer's loss: a PatchGAN critic with hinge loss (reference section 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.training.config import AdversarialConfig


class PatchCritic(nn.Module):
    """Convolutions that judge overlapping patches: (B, 3, H, W) in [0, 1] → (B, 1, h, w) logits."""

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

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.blocks(2 * images - 1)
        return logits


def critic_loss(critic: nn.Module, given: Tensor, made: Tensor, *, augment: bool) -> Tensor:
    """Hinge loss of the critic; `made` must be detached from the tokenizer."""
    if augment:
        given, made = augmented(given, made)
    return (F.relu(1 - critic(given)).mean() + F.relu(1 + critic(made)).mean()) / 2


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
