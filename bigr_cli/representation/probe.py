"""Linear probes: how well the classes of images can be read off features, by logistic regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from bigr_cli.core.representation import middle_layer
from bigr_cli.representation.probe_data import (
    CODES,
    ENCODER,
    LAYERS,
    PIXELS,
    RANDOM,
    Split,
    collect,
    parted,
    untrained,
)
from bigr_cli.representation.probe_files import Familiar, Probe, familiar

if TYPE_CHECKING:
    from bigr_cli.model import Model


_STEPS = 300  # of the solver, at most, for each classifier
_TOLERANCE = 1e-5  # of the loss, for a step of the solver; with less, the same images are told apart
_AT_ONCE = 1024

DECAYS = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4, 1e-5)
NEIGHBOURS = 10
_HELD_OUT = 0.2
_OVERFITTED = 1.3  # times the least loss on the images held out


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


@dataclass(frozen=True)
class Score:
    """How well one set of features does; shares of the images. `decay` was chosen by `held_out`, not by the test.

    `top5` is None with five classes or fewer.
    """

    top1: float
    top5: float | None
    neighbours: float
    held_out: float
    held_out_loss: float
    decay: float


@dataclass(frozen=True)
class Row:
    """How well one kind of `features` does: "generator", of the block `layer`, or one to compare with, without one."""

    features: str
    layer: int | None
    score: Score

    def record(self) -> dict[str, Any]:
        """Plain data: shares of the test images."""
        score = self.score
        shares = {"top1": score.top1, "top5": score.top5, "knn": score.neighbours, "held_out": score.held_out}
        rounded = {key: None if value is None else round(value, 6) for key, value in shares.items()}
        return {"features": self.features, "layer": self.layer, **rounded, "weight_decay": score.decay}


@dataclass(frozen=True)
class Probed:
    """A row for each kind of features, the classifiers of the generator's layers (`linear`), and the classes' names.

    `familiar` is what the training images are like in each layer.

    `train` and `test` are numbers of images.
    """

    rows: tuple[Row, ...]
    linear: tuple[Linear, ...]
    familiar: tuple[Familiar | None, ...]
    labels: tuple[str, ...]
    train: int
    test: int

    @property
    def best(self) -> Row:
        """The layer that does best on the training images that were held out."""
        layers = [row for row in self.rows if row.layer is not None]
        return max(layers, key=lambda row: (row.score.held_out, -row.score.held_out_loss))

    @property
    def layer(self) -> int:
        """The best layer."""
        return int(self.best.layer or 0)

    def record(self) -> dict[str, Any]:
        """Plain data: the counts, the best row and all rows."""
        sizes = {"train": self.train, "test": self.test, "classes": len(self.labels)}
        return {**sizes, "best": self.best.record(), "rows": [row.record() for row in self.rows]}

    def classifier(self, model: Model) -> Probe:
        """The best layer's classifier, for `save_probe` and `Model.classify`."""
        from bigr_cli.representation.features import wanted_features
        from bigr_cli.representation.items import about

        known = about(wanted_features(model.config, layer=self.layer), model.config, model.name, model.folder)
        weight, bias = self.linear[self.layer].folded()
        return Probe(weight, bias, self.labels, known, self.familiar[self.layer])


Steps = Callable[[str, int], Callable[[int], None]]
"""Told what is done next and of how many steps; gives what is told of those done."""


def probe_layers(model: Model, split: Split, *, batch: int, seed: int, steps: Steps) -> Probed:
    """Train and test a classifier on each layer's features, and on others to compare with.

    Raises:
        ImageError: an image cannot be read.
        ModelError: features are not finite.
    """
    middle = middle_layer(model.generator.config.layers)
    random = untrained(model.generator, seed)
    looked = steps("looking at images", len(split.train) + len(split.test))
    train, test = (
        collect(model.network, random, part, batch=batch, layer=middle, advance=looked)
        for part in (split.train, split.test)
    )
    targets, test_targets = torch.from_numpy(split.train.targets), torch.from_numpy(split.test.targets)
    rows: list[Row] = []
    layers: list[Linear] = []
    known_images: list[Familiar | None] = []
    order = np.random.default_rng(seed).permutation(len(targets))
    trained = steps("training classifiers", sum(map(len, train.values())))
    for name in (PIXELS, CODES, ENCODER, RANDOM, LAYERS):
        for known, unknown in zip(train.pop(name), test.pop(name), strict=True):
            score, linear = probe(
                known, targets, unknown, test_targets, len(split.labels), seed=seed, device=model.device
            )
            rows.append(Row("generator", len(layers), score) if name == LAYERS else Row(name, None, score))
            if name == LAYERS:
                layers.append(linear)
                known_images.append(familiar(known.float().numpy()[order]))
            trained(1)
    return Probed(tuple(rows), tuple(layers), tuple(known_images), split.labels, len(split.train), len(split.test))


def probe(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    test_targets: Tensor,
    classes: int,
    *,
    seed: int,
    device: torch.device,
) -> tuple[Score, Linear]:
    """Train a classifier of features, and test it.

    Its weight decay is the one of `DECAYS` that does best on a fifth of the training images, chosen by the seed; then
    it is trained on all of them.

    Args:
        train: (N, D) with `targets` (N,); `test` (M, D) with `test_targets` (M,).
    """
    kept, apart = map(torch.from_numpy, parted(targets.numpy(), round(_HELD_OUT * len(targets)), seed))
    best, held, least = DECAYS[0], (-1.0, 0.0), math.inf
    for tried in classifiers(train[kept], targets[kept], DECAYS, classes, device=device):
        accuracy, _, loss = measure(tried, train[apart], targets[apart])
        best, held = max((best, held), (tried.decay, (accuracy, -loss)), key=lambda pair: pair[1])
        least = min(least, loss)
        if loss > _OVERFITTED * least and accuracy < held[0]:
            break  # weaker decays take the longest, and would be still worse
    (final,) = classifiers(train, targets, [best], classes, device=device)
    top1, top5, _ = measure(final, test, test_targets)
    score = Score(
        top1=top1,
        top5=top5 if classes > 5 else None,
        neighbours=neighbour_accuracy(final, train, targets, test, test_targets, classes),
        held_out=held[0],
        held_out_loss=-held[1],
        decay=best,
    )
    return score, final


def measure(model: Linear, features: Tensor, targets: Tensor) -> tuple[float, float, float]:
    """Top-1 and top-5 accuracy and mean cross-entropy of a classifier on (N, D)."""
    total = torch.zeros(3, dtype=torch.float64)
    for rows, wanted in zip(features.split(_AT_ONCE), targets.split(_AT_ONCE), strict=True):
        logits = model.logits(rows).cpu()  # (B, C)
        hit = logits.topk(min(5, logits.shape[1])).indices == wanted[:, None]
        losses = F.cross_entropy(logits, wanted, reduction="none")
        total += torch.stack([hit[:, 0], hit.any(dim=1), losses], dim=1).double().sum(dim=0)
    top1, top5, loss = (total / len(targets)).tolist()
    return top1, top5, loss


def neighbour_accuracy(
    scaling: Linear, train: Tensor, targets: Tensor, test: Tensor, test_targets: Tensor, classes: int
) -> float:
    """How often the nearest training images, by the cosine of standardised features, vote for the right class."""
    known = F.normalize(scaling.scaled(train), dim=1)
    votes_of = F.one_hot(targets, classes).to(known)
    right = 0
    for rows, wanted in zip(test.split(_AT_ONCE), test_targets.split(_AT_ONCE), strict=True):
        similarity = F.normalize(scaling.scaled(rows), dim=1) @ known.T  # (B, N)
        near = similarity.topk(min(NEIGHBOURS, len(known)))
        votes = (votes_of[near.indices] * near.values.clamp_min(0)[..., None]).sum(dim=1)
        right += int((votes.argmax(dim=1).cpu() == wanted).sum())
    return right / len(test_targets)
