"""How well a tokenizer reconstructs images, and how well it uses its bits: a row for each metric.

As in `metrics`, torch and NumPy are imported when something is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bigr_cli.evaluation.metrics import Column, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from bigr_cli.evaluation.tokenizers import Pairs, Seen

_USED, _DUPLICATE = 0.8, 0.9  # entropy of a bit, correlation with an earlier one


def psnr(made: Tensor, given: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels: (B, 3, H, W) in [0, 1] → (B,).

    `where` (B, 1, H, W) bool limits it to a part of each image.
    """
    import torch

    error = (made.clamp(0, 1) - given).square().mean(dim=1, keepdim=True)
    weight = torch.ones_like(error) if where is None else where.to(error.dtype)
    mse = (error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp_min(1)
    return -10 * mse.clamp_min(1e-10).log10()


def boxes(foreground: Tensor) -> Tensor:
    """(B, 1, H, W) uint8 coverage of an object → bool, True inside the box around what it covers by half or more."""
    covered = foreground >= 128
    return _span(covered.any(dim=3, keepdim=True), 2) & _span(covered.any(dim=2, keepdim=True), 3)


def _span(marked: Tensor, dim: int) -> Tensor:
    """True from the first to the last True along `dim`."""
    count = marked.int()
    return (count.cumsum(dim) > 0) & (count.flip(dim).cumsum(dim).flip(dim) > 0)


class BitCounts:
    """How often each bit of K is set, and each pair of them together, over any number of tokens."""

    def __init__(self, bits: int) -> None:
        import torch

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

    def usage(self) -> dict[str, float]:
        """What `bit_usage` says."""
        entropies = self.entropies()
        return {
            "bits_used": float((entropies > _USED).double().mean()),
            "bits_entropy": float(entropies.mean()),
            "bits_duplicated": float((self.correlations() > _DUPLICATE).any(dim=1).double().mean()),
        }

    def correlation(self) -> dict[str, float]:
        """The mean and the largest correlation of two bits, whatever its sign."""
        found = self.correlations()
        pairs = max(1, len(found) * (len(found) - 1) // 2)
        return {"bits_correlation_mean": float(found.sum() / pairs), "bits_correlation_max": float(found.max())}


def bit_usage(codes: Tensor) -> dict[str, float]:
    """Use of the bits over all tokens: (N, L, K) bool codes.

    Returns `bits_used`, the share of bits with an entropy above 0.8 bit; `bits_entropy`, the mean entropy;
    `bits_duplicated`, the share of bits that correlate with an earlier one by more than 0.9.
    """
    counts = BitCounts(codes.shape[-1])
    counts.add(codes)
    return counts.usage()


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Structural similarity of two images (H, W, 3), with the window of the paper: a Gaussian of 1.5 pixels."""
    from skimage.metrics import structural_similarity

    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(one, other, channel_axis=2, data_range=255, **window))


@dataclass(frozen=True)
class ReconstructionMetric(Metric):
    """A metric of a tokenizer, from images and their reconstructions.

    Attributes:
        needs: the network without which it is left out: "lpips", "features", or none.
        each: what is kept of a batch of pairs, an entry for each or one for all.
        whole: figures by column, when all batches are through.
    """

    whole: Callable[[Seen], dict[str, float]]
    each: Callable[[Pairs], Iterable[Any]] | None = None
    needs: Literal["", "lpips", "features"] = ""


def _psnr(pairs: Pairs) -> Iterable[float]:
    from bigr_cli.data.loading import as_floats

    values: list[float] = psnr(as_floats(pairs.made), as_floats(pairs.given)).tolist()
    return values


def _ssim(pairs: Pairs) -> Iterable[float]:
    return [ssim(one, two) for one, two in zip(*pairs.arrays(), strict=True)]


def _lpips(pairs: Pairs) -> Iterable[float]:
    return pairs.through_lpips().flatten().double().tolist()


def _mean(name: str) -> Callable[[Seen], dict[str, float]]:
    return lambda seen: {name: sum(seen.values[name]) / len(seen.values[name])}


def _mean_and_exceeded(name: str) -> Callable[[Seen], dict[str, float]]:
    """The mean, and what 95 % of the images exceed."""

    def whole(seen: Seen) -> dict[str, float]:
        import numpy as np

        values = seen.values[name]
        return {name: float(np.mean(values)), f"{name}_95": float(np.percentile(values, 5))}

    return whole


def _rfid(seen: Seen) -> dict[str, float]:
    import torch

    from bigr_cli.evaluation.fidelity import check_finite, frechet_distance

    given, made = (torch.cat(parts) for parts in zip(*seen.values["rfid"], strict=True))
    check_finite(given, f"{seen.what}: features")
    check_finite(made, f"{seen.what}: features of what came back")
    return {"rfid": frechet_distance(made.numpy(), given.numpy())}


RECONSTRUCTION: dict[str, ReconstructionMetric] = {
    metric.name: metric
    for metric in (
        ReconstructionMetric(
            name="psnr",
            help="peak signal-to-noise ratio",
            columns=(
                Column("psnr", "PSNR in dB", "PSNR dB", "higher"),
                Column("psnr_95", "PSNR in dB that 95 % of the images exceed", "95 % exceed"),
            ),
            each=_psnr,
            whole=_mean_and_exceeded("psnr"),
        ),
        ReconstructionMetric(
            name="ssim",
            help="structural similarity",
            columns=(
                Column("ssim", "structural similarity (SSIM)", "SSIM", "higher"),
                Column("ssim_95", "SSIM that 95 % of the images exceed", "95 % exceed", shown=False),
            ),
            each=_ssim,
            whole=_mean_and_exceeded("ssim"),
        ),
        ReconstructionMetric(
            name="lpips",
            help="perceptual distance",
            columns=(Column("lpips", "perceptual distance (LPIPS)", "LPIPS", "lower"),),
            each=_lpips,
            whole=_mean("lpips"),
            needs="lpips",
        ),
        ReconstructionMetric(
            name="rfid",
            help="Fréchet distance of the reconstructions",
            columns=(Column("rfid", "Fréchet distance (rFID)", "rFID", "lower"),),
            each=lambda pairs: [pairs.features()],
            whole=_rfid,
            needs="features",
        ),
        ReconstructionMetric(
            name="bits",
            help="use of the bits",
            columns=(
                Column("bits_used", "bits with an entropy above 0.8", "bits used", "higher", percent=True),
                Column("bits_entropy", "mean entropy of a bit", "entropy of a bit", "higher"),
                Column("bits_duplicated", "bits that another one repeats", "duplicates", "lower", percent=True),
                Column("bits_correlation_mean", "mean correlation of two bits", "correlation"),
                Column("bits_correlation_max", "largest correlation of two bits", "largest"),
            ),
            whole=lambda seen: {**seen.counts.usage(), **seen.counts.correlation()},
        ),
    )
}
