"""Linear classifiers of fixed features: multinomial logistic regression, solved to its optimum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

_STEPS = 300  # of the solver, at most, for each classifier
_TOLERANCE = 1e-5  # of the loss, for a step of the solver; with less, the same pictures are told apart
_AT_ONCE = 1024


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
    for some in features.split(_AT_ONCE):
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
