"""How far images are from those that a model was trained on.

Two statistics of an image are compared with their distribution over the images that were held out of the training: how
well the tokenizer reconstructs it, and how likely the generator finds its tokens. The reconstruction alone tells
photographs and other people's drawings from what a small model knows, and needs no more than decoding; the likelihood,
one pass of the generator, decides where it is in doubt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from bigr_cli.core.conditions import Condition
from bigr_cli.core.held_out import Familiarity, HeldOut, compare
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.network import Generator
from bigr_cli.core.representation import token_scores

FEWEST = 32  # images without which quantiles of one in a hundred mean nothing
_RARE, _MEDIAN = 0.01, 0.5
_LEAST_KNOWN = 8  # of an image an eighth of the tokens has to be known, or it is not compared


class Look:
    """What a model has been shown of an image so far, window by window.

    `usual` None, of models that have no such statistics, compares nothing and costs nothing.
    """

    def __init__(self, model: BinaryModel) -> None:
        self._model, self._usual = model, model.held_out
        self._errors, self._likelihoods = _Mean(), _Mean()
        self._enough = 0

    def add(
        self, image: Tensor, codes: Tensor, known: Tensor | None = None, made: Tensor | None = None
    ) -> Familiarity | None:
        """Another window: (3, S, S) in [0, 1], its codes (L, K), and which tokens show what is known of the image (L,).

        `made` (3, S, S) are codes with the same known tokens that were decoded already; None decodes these.

        Returns the verdict on this window alone, or None if too little of it is known.
        """
        if self._usual is None:
            return None
        known = torch.ones(len(codes), dtype=torch.bool, device=codes.device) if known is None else known
        tokens = int(known.sum())
        self._enough = max(1, len(codes) // _LEAST_KNOWN)
        if tokens == 0:
            return None
        made = (
            self._model.tokenizer.decode(codes[None].to(self._model.tokenizer.embed.device))[0]
            if made is None
            else made
        )
        error = float(token_errors(image[None], made[None], self._model.tokenizer.config.grid)[0][known].mean())
        self._errors.add(error, tokens)
        likelihood = None
        if _psnr(error) < self._usual.psnr[0] and self._usual.likelihood is not None:
            nothing = self._model.conditions([None])
            found, hidden = _hidden_scores(self._model.generator, nothing, codes[None], known[None])
            if hidden.any():
                likelihood = float(found[hidden].mean())
                self._likelihoods.add(likelihood, int(hidden.sum()))
        return compare(self._usual, _psnr(error), likelihood) if tokens >= self._enough else None

    @property
    def verdict(self) -> Familiarity | None:
        """That on all that was shown; None if it was too little, or there is nothing to compare with."""
        if self._usual is None or not self._errors.count or self._errors.count < self._enough:
            return None
        likelihood = self._likelihoods.value if self._likelihoods.count else None
        return compare(self._usual, _psnr(self._errors.value), likelihood)


@dataclass
class _Mean:
    value: float = 0.0
    count: int = 0

    def add(self, value: float, count: int) -> None:
        self.count += count
        self.value += (value - self.value) * count / self.count


@torch.inference_mode()
def token_errors(images: Tensor, made: Tensor, grid: int) -> Tensor:
    """The mean squared error of each token's pixels between images (B, 3, S, S) and their reconstructions: (B, L)."""
    squared = (made.float().clamp(0, 1) - images.to(made.device).float()).square()
    return torch.nn.functional.adaptive_avg_pool2d(squared.mean(dim=1, keepdim=True), grid).flatten(1)


def _hidden_scores(generator: Generator, nothing: Condition, codes: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (B, L) of the known tokens on the black fields of a chessboard, the others seen; and which those are.

    `nothing` are B conditions of no label, `codes` (B, L, K) and `known` (B, L) bool; see `likelihood.token_scores`.
    """
    place = torch.arange(generator.config.grid, device=codes.device)
    black = ((place[:, None] + place) % 2 == 0).flatten()
    seeds = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    hidden = known & black
    # What is unknown stays hidden too, but is not scored: its codes say nothing.
    return token_scores(generator, codes, nothing, hidden | ~known, seeds), hidden


@torch.inference_mode()
def held_out_statistics(model: BinaryModel, batches: Iterable[Tensor]) -> HeldOut | None:
    """The statistics of held-out images, given as batches (B, 3, S, S) in [0, 1]; None if there are too few."""
    errors, likelihoods = [], []
    for images in batches:
        codes = model.tokenizer.encode(images.to(model.tokenizer.embed.device))
        errors.append(token_errors(images, model.tokenizer.decode(codes), model.tokenizer.config.grid).mean(dim=1))
        likelihoods.append(mean_likelihoods(model.generator, model.conditions([None] * len(codes)), codes))
    return summary(torch.cat(errors), torch.cat(likelihoods)) if errors else None


def mean_likelihoods(generator: Generator, nothing: Condition, codes: Tensor) -> Tensor:
    """The likelihood of each of codes (B, L, K) that are known whole, of no label: (B,); empty for causal attention."""
    if generator.config.attention == "causal":
        return torch.empty(0, device=codes.device)
    known = torch.ones(codes.shape[:2], dtype=torch.bool, device=codes.device)
    scores, hidden = _hidden_scores(generator, nothing, codes, known)
    return scores[hidden].view(len(codes), -1).mean(dim=1)


def summary(errors: Tensor, likelihoods: Tensor) -> HeldOut | None:
    """Statistics of images out of each one's mean squared error (N,) and likelihood (N,) or (0,); None for too few."""
    if len(errors) < FEWEST:
        return None
    psnr = quantiles(-10 * errors.double().clamp_min(1e-10).log10())
    return HeldOut(
        images=len(errors), psnr=psnr, likelihood=quantiles(likelihoods.double()) if len(likelihoods) else None
    )


def quantiles(values: Tensor) -> tuple[float, float]:
    """The 1 % quantile and the median of (N,) numbers, as `HeldOut` has them."""
    rare, median = (round(float(values.quantile(share)), 4) for share in (_RARE, _MEDIAN))
    return rare, median


def _psnr(error: float) -> float:
    return float(-10 * torch.tensor(max(error, 1e-10), dtype=torch.float64).log10())
