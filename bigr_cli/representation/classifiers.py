"""Classifiers that probes train: linear ones, and ones that attend to some tokens more than to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

AT_ONCE = 1024

_STEPS = 300  # of the solver, at most, for each classifier
_TOLERANCE = 1e-5  # of the loss, for a step of the solver; with less, the same images are told apart
_NUMBERS = 1 << 24  # of tokens' features at once


@dataclass(frozen=True)
class Linear:
    """A classifier: `weight` (D, C), `bias` (C,), trained with a weight decay.

    It reads features less their `mean` (D,), in units of their `deviation` (D,).
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    decay: float

    def scaled(self, features: Tensor) -> Tensor:
        """(N, D) of any number type → (N, D) float32, as the classifier reads them, on its device."""
        return (features.to(self.mean) - self.mean) / self.deviation

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) → (N, C)."""
        return torch.addmm(self.bias, self.scaled(features), self.weight)

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For features as they are: weight (C, D) and bias (C,)."""
        weight = self.weight / self.deviation[:, None]
        return weight.T.contiguous().cpu().numpy(), (self.bias - self.mean @ weight).cpu().numpy()


def classifiers(
    features: Tensor, targets: Tensor, decays: Sequence[float], classes: int, *, device: torch.device
) -> Iterator[Linear]:
    """A classifier for each weight decay, of the same standardised features; each is trained when it is asked for.

    The loss is the mean cross-entropy plus λ/2 · |W|². It is convex: L-BFGS finds its minimum, and nothing is left to
    chance. Each begins where the one before has ended, so that it is quick to go from strong decays to weak ones.

    Args:
        features: (N, D), any number type.
        targets: (N,) int64, below `classes`.
        decays: λ of each classifier.
        device: where to compute.
    """
    mean, deviation = (part.to(device) for part in moments(features))
    problem = _Problem((features.to(mean) - mean) / deviation, targets.to(device), classes)
    last = np.zeros((features.shape[1] + 1) * classes)
    for decay in decays:
        last = problem.solve(last, decay)
        both = torch.from_numpy(last).to(mean).view(-1, classes)  # (D + 1, C)
        yield Linear(both[:-1], both[-1], mean, deviation, decay)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature: (D,) float32; a feature that never changes counts as 1."""
    total = square = torch.zeros(1)
    for some in features.split(AT_ONCE):
        rows = some.double()
        total, square = total + rows.sum(dim=0), square + rows.square().sum(dim=0)
    mean = total / len(features)
    deviation = (square / len(features) - mean.square()).clamp_min(0).sqrt()
    steady = deviation <= 1e-6 * (1 + mean.abs())
    return mean.float(), torch.where(steady, 1.0, deviation).float()


class _Problem:
    """The loss of a classifier of (N, D) float32 features, as SciPy wants it: of one flat array, with its gradient."""

    def __init__(self, features: Tensor, targets: Tensor, classes: int) -> None:
        self.features, self.targets, self.classes = features, targets, classes

    def solve(self, start: NDArray[Any], decay: float) -> NDArray[Any]:
        limits = {"maxiter": _STEPS, "ftol": _TOLERANCE, "gtol": 1e-5}
        found = minimize(self.loss, start, args=(decay,), jac=True, method="L-BFGS-B", options=limits)
        solution: NDArray[Any] = found.x
        return solution

    def loss(self, flat: NDArray[Any], decay: float) -> tuple[float, NDArray[Any]]:
        both = torch.from_numpy(flat).to(self.features).view(-1, self.classes)  # (D + 1, C): the weights, the bias
        weight, bias = both[:-1], both[-1]
        likely = torch.addmm(bias, self.features, weight).log_softmax(dim=1)  # (N, C)
        places = self.targets[:, None]
        value = 0.5 * decay * weight.double().square().sum() - likely.gather(1, places).double().mean()
        error = likely.exp_().scatter_add_(1, places, likely.new_full(places.shape, -1)) / len(places)
        gradient = torch.cat([self.features.T @ error + decay * weight, error.sum(dim=0, keepdim=True)])
        return float(value), gradient.double().cpu().numpy().ravel()


@dataclass(frozen=True)
class Attentive:
    """A classifier of tokens x: a class's logit is the mean of x · weight, weighted by the softmax of x · query.

    `weight` and `query` (D, C), `bias` (C,), trained with a weight decay. It reads tokens less their `mean` (D,), in
    units of their `deviation` (D,). With queries of zero it is a linear classifier of the mean over the tokens.
    """

    weight: Tensor
    query: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    decay: float

    def scaled(self, features: Tensor) -> Tensor:
        """(N, L, D) of any number type → the mean over the tokens as the classifier reads them, (N, D) float32."""
        return (features.to(self.mean).mean(dim=1) - self.mean) / self.deviation

    def logits(self, features: Tensor) -> Tensor:
        """(N, L, D) → (N, C)."""
        tokens = (features.to(self.mean) - self.mean) / self.deviation
        return attended(tokens, self.weight, self.query) + self.bias

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """For tokens as they are: weight (C, D), bias (C,) and query (C, D)."""
        weight, query = (part / self.deviation[:, None] for part in (self.weight, self.query))
        bias = self.bias - self.mean @ weight  # what a query says of all tokens alike cancels in the softmax
        return weight.T.contiguous().cpu().numpy(), bias.cpu().numpy(), query.T.contiguous().cpu().numpy()


def attended(tokens: Tensor, weight: Tensor, query: Tensor) -> Tensor:
    """(N, L, D) tokens, weight and query (D, C) → (N, C)."""
    scores, values = (tokens @ torch.cat([query, weight], dim=1)).chunk(2, dim=-1)  # (N, L, C) each
    return (scores.softmax(dim=1) * values).sum(dim=1)


def attentive_classifiers(
    features: Tensor, targets: Tensor, decays: Sequence[float], classes: int, *, device: torch.device
) -> Iterator[Attentive]:
    """A classifier for each weight decay, of the same standardised tokens; each is trained when it is asked for.

    The loss is the mean cross-entropy plus λ/2 · (|W|² + |Q|²). It is not convex; but L-BFGS begins at zero, that is
    at the mean over all tokens, and each goes on where the one before has ended, so that nothing is left to chance.

    Args:
        features: (N, L, D), any number type.
        targets: (N,) int64, below `classes`.
        decays: λ of each classifier, from strong to weak.
        device: where to compute.
    """
    mean, deviation = (part.to(device) for part in moments(features.flatten(0, 1)))
    width, problem = features.shape[2], _TokenProblem(features, targets.to(device), mean, deviation, classes)
    last = np.zeros((2 * width + 1) * classes)
    for decay in decays:
        last = problem.solve(last, decay)
        weight, query, bias = torch.from_numpy(last).to(mean).view(-1, classes).split((width, width, 1))
        yield Attentive(weight, query, bias[0], mean, deviation, decay)


class _TokenProblem(_Problem):
    """The loss of a classifier of (N, L, D) tokens, likewise."""

    def __init__(self, features: Tensor, targets: Tensor, mean: Tensor, deviation: Tensor, classes: int) -> None:
        super().__init__(features, targets, classes)
        self.mean, self.deviation = mean, deviation
        self.rows = max(1, _NUMBERS // (features.shape[1] * features.shape[2]))

    @torch.enable_grad()
    def loss(self, flat: NDArray[Any], decay: float) -> tuple[float, NDArray[Any]]:
        width, value = self.features.shape[2], 0.0
        both = torch.from_numpy(flat).to(self.mean).view(-1, self.classes).requires_grad_()  # (2D + 1, C)
        for rows, wanted in zip(self.features.split(self.rows), self.targets.split(self.rows), strict=True):
            weight, query, bias = both.split((width, width, 1))
            tokens = (rows.to(self.mean) - self.mean) / self.deviation
            logits = attended(tokens, weight, query) + bias
            part = F.cross_entropy(logits, wanted, reduction="sum") / len(self.targets)
            part.backward()
            value += float(part.detach())
        gradient = torch.zeros_like(both) if both.grad is None else both.grad
        decayed = both.detach()[: 2 * width]
        gradient[: 2 * width] += decay * decayed
        value += 0.5 * decay * float(decayed.double().square().sum())
        return value, gradient.double().cpu().numpy().ravel()
