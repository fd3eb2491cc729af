"""The parts of the tokenizer's loss (reference section 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST = 1e-5  # squared error, 50 dB: below it a picture's logarithm would ask for ever more


def pixel_weights(focus: Tensor, strength: float) -> Tensor:
    """(B, 1, H, W) coverage of the object in [0, 1] → weights with mean 1 in each picture.

    The mean over the background hides what matters; the object's pixels weigh 1 + strength.
    """
    weights = 1 + strength * focus
    return weights / weights.mean(dim=(1, 2, 3), keepdim=True)


def log_squared_error(made: Tensor, given: Tensor, weights: Tensor) -> Tensor:
    """The mean over pictures of ln(weighted mean squared error): minus PSNR, but for a factor of 10 / ln 10."""
    squared = ((made - given).square() * weights).mean(dim=(1, 2, 3))
    return (squared + _LEAST).log().mean()


def edge_loss(made: Tensor, given: Tensor, weights: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels, along both axes."""
    rows = (made.diff(dim=2) - given.diff(dim=2)).abs() * weights[:, :, 1:]
    columns = (made.diff(dim=3) - given.diff(dim=3)).abs() * weights[:, :, :, 1:]
    return rows.mean() + columns.mean()


def usage_loss(probabilities: Tensor) -> Tensor:
    """How far the bits are from each being 1 half of the time, independently: (B, L, K) → scalar, 0 at best.

    The bits' entropy that is missing, in bits, plus the mean squared correlation between different bits.
    """
    flat = probabilities.flatten(0, 1)  # (B·L, K)
    share = flat.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    missing = 1 + share * share.log2() + (1 - share) * (1 - share).log2()
    centred = flat - share
    covariance = centred.T @ centred / len(flat)
    deviation = covariance.diagonal().clamp_min(1e-6).sqrt()
    correlation = covariance / (deviation[:, None] * deviation)
    off_diagonal = correlation - torch.diag(correlation.diagonal())
    return missing.mean() + off_diagonal.square().mean()


def certainty_loss(probabilities: Tensor) -> Tensor:
    """How far the bits of each picture are from settled: mean 4 P (1 − P), 0 at best, 1 when all is chance.

    The straight-through gradient does not see that Bernoulli noise costs the decoder; without this term the bits stay
    undecided and carry less.
    """
    return (4 * probabilities * (1 - probabilities)).mean()


def feature_loss(network: nn.Module, made: Tensor, given: Tensor) -> Tensor:
    """Squared distance of unit-length features at every place and stage, as in LPIPS without its learned weights.

    `network.features(images)` returns a list of (B, C, h, w) maps.
    """
    with torch.no_grad():
        wanted = [F.normalize(stage, dim=1) for stage in network.features(given)]  # type: ignore[operator]
    found = [F.normalize(stage, dim=1) for stage in network.features(made)]  # type: ignore[operator]
    distances = [(a - b).square().sum(dim=1).mean() for a, b in zip(found, wanted, strict=True)]
    return torch.stack(distances).mean()


class StraightThrough(torch.autograd.Function):
    """Bernoulli bits forwards; the probabilities' gradient backwards: b + P − stop_gradient(P)."""

    @staticmethod
    def forward(ctx: object, probabilities: Tensor, numbers: Tensor) -> Tensor:
        return (numbers < probabilities).to(probabilities.dtype)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
