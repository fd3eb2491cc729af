"""How well a tokenizer gives pictures back, and how well it uses its bits."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(made: Tensor, given: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each picture in decibels: (B, 3, H, W) in [0, 1] → (B,).

    `where` (B, 1, H, W) bool limits it to a part of each picture.
    """
    error = (made.clamp(0, 1) - given).square().mean(dim=1, keepdim=True)
    weight = torch.ones_like(error) if where is None else where.to(error.dtype)
    mse = (error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp_min(1)
    return -10 * mse.clamp_min(1e-10).log10()


def boxes(focus: Tensor) -> Tensor:
    """(B, 1, H, W) uint8 coverage of an object → bool, True inside the box around what it covers by half or more."""
    covered = focus >= 128
    return _span(covered.any(dim=3, keepdim=True), 2) & _span(covered.any(dim=2, keepdim=True), 3)


def _span(marked: Tensor, dim: int) -> Tensor:
    """True from the first to the last True along `dim`."""
    count = marked.int()
    return (count.cumsum(dim) > 0) & (count.flip(dim).cumsum(dim).flip(dim) > 0)


def bit_usage(codes: Tensor, threshold: float = 0.8, duplicate: float = 0.9) -> dict[str, float]:
    """Use of the bits over all tokens: (N, L, K) bool codes.

    Returns `bits_used`, the share of bits with an entropy above `threshold` bit; `bits_entropy`, the mean entropy;
    `bits_duplicated`, the share of bits that correlate with an earlier one by more than `duplicate`.
    """
    flat = codes.flatten(0, 1).float()
    share = flat.mean(dim=0).clamp(1e-7, 1 - 1e-7)
    entropy = -(share * share.log2() + (1 - share) * (1 - share).log2())
    centred = flat - share
    covariance = centred.T @ centred / len(flat)
    deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
    correlation = (covariance / (deviation[:, None] * deviation)).abs().tril(-1)
    return {
        "bits_used": float((entropy > threshold).float().mean()),
        "bits_entropy": float(entropy.mean()),
        "bits_duplicated": float((correlation > duplicate).any(dim=1).float().mean()),
    }
