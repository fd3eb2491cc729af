"""How well a tokenizer gives images back, and how well it uses its bits."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(made: Tensor, given: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels: (B, 3, H, W) in [0, 1] → (B,).

    `where` (B, 1, H, W) bool limits it to a part of each image.
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


class BitCounts:
    """How often each bit of K is set, and each pair of them together, over any number of tokens."""

    def __init__(self, bits: int) -> None:
        self.tokens = 0
        self._set = torch.zeros(bits, dtype=torch.float64)
        self._both = torch.zeros(bits, bits, dtype=torch.float64)

    def add(self, codes: Tensor) -> None:
        """Count the bits of codes (N, L, K)."""
        flat = codes.flatten(0, 1).float()
        self.tokens += len(flat)
        self._set += flat.sum(dim=0).double().cpu()
        self._both += (flat.T @ flat).double().cpu()

    def shares(self) -> Tensor:
        """(K,) how often each bit is 1."""
        return self._set / max(1, self.tokens)

    def entropies(self) -> Tensor:
        """(K,) entropy of each bit, at most 1."""
        share = self.shares().clamp(1e-7, 1 - 1e-7)
        return -(share * share.log2() + (1 - share) * (1 - share).log2())

    def correlations(self) -> Tensor:
        """(K, K) absolute correlation of each bit with each earlier one; zero elsewhere."""
        share = self.shares()
        covariance = self._both / max(1, self.tokens) - share[:, None] * share
        deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
        return (covariance / (deviation[:, None] * deviation)).abs().tril(-1)

    def usage(self, threshold: float = 0.8, duplicate: float = 0.9) -> dict[str, float]:
        """What `bit_usage` says."""
        entropies = self.entropies()
        return {
            "bits_used": float((entropies > threshold).double().mean()),
            "bits_entropy": float(entropies.mean()),
            "bits_duplicated": float((self.correlations() > duplicate).any(dim=1).double().mean()),
        }

    def correlation(self) -> dict[str, float]:
        """The mean and the largest correlation of two bits, whatever its sign."""
        found = self.correlations()
        pairs = max(1, len(found) * (len(found) - 1) // 2)
        return {"bits_correlation_mean": float(found.sum() / pairs), "bits_correlation_max": float(found.max())}


def bit_usage(codes: Tensor, threshold: float = 0.8, duplicate: float = 0.9) -> dict[str, float]:
    """Use of the bits over all tokens: (N, L, K) bool codes.

    Returns `bits_used`, the share of bits with an entropy above `threshold` bit; `bits_entropy`, the mean entropy;
    `bits_duplicated`, the share of bits that correlate with an earlier one by more than `duplicate`.
    """
    counts = BitCounts(codes.shape[-1])
    counts.add(codes)
    return counts.usage(threshold, duplicate)
