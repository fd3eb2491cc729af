"""Linear probes: how well the classes of pictures can be read off their features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.evaluation.probe_data import parted

DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = 10

_RATE = 0.01
_BATCH = 512
_EPOCHS = 20
_STEPS = (300, 5000)  # at least, at most
_HELD_OUT = 0.2
_AT_ONCE = 1024


@dataclass(frozen=True)
class Linear:
    """F sets of features, S classifiers of each: `weight` (F, D, S·C), `bias` (F, 1, S·C).

    They read features less their `mean` (F, 1, D), in units of their `deviation` (F, 1, D).
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    classes: int

    def logits(self, features: Tensor) -> Tensor:
        """(F, N, D) → (F, N, S, C)."""
        scaled = (features.to(self.mean) - self.mean) / self.deviation
        found: Tensor = torch.baddbmm(self.bias, scaled, self.weight).unflatten(2, (-1, self.classes))
        return found

    def folded(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The only classifier of set `index` for features as they are: weight (C, D) and bias (C,)."""
        weight = self.weight[index] / self.deviation[index].T  # (D, C)
        bias = self.bias[index, 0] - self.mean[index, 0] @ weight
        return weight.T.contiguous().cpu().numpy(), bias.cpu().numpy()


@dataclass(frozen=True)
class Score:
    """How well one set of features does; shares of the pictures. `decay` was chosen by `held_out`, not by the test.

    `top5` is None with five classes or fewer.
    """

    top1: float
    top5: float | None
    neighbours: float
    held_out: float
    held_out_loss: float
    decay: float


def fit(features: Tensor, targets: Tensor, decays: Tensor, classes: int, *, seed: int, device: torch.device) -> Linear:
    """Multinomial logistic regression, many side by side, by Adam on standardised features.

    Args:
        features: (F, N, D), any number type.
        targets: (N,) int64, below `classes`.
        decays: (F, S), the weight λ of λ/2 · |W|² in each classifier's loss.
        seed: of the order of the pictures.
        device: where to compute.
    """
    sets, count, width = features.shape
    settings = decays.shape[1]
    mean, deviation = (part.to(device) for part in _moments(features))
    penalty = decays.to(device).repeat_interleave(classes, dim=1)[:, None]  # (F, 1, S·C)
    weight = torch.zeros(sets, width, settings * classes, device=device, requires_grad=True)
    bias = torch.zeros(sets, 1, settings * classes, device=device, requires_grad=True)
    model = Linear(weight, bias, mean, deviation, classes)
    optimiser = torch.optim.Adam([weight, bias], lr=_RATE)
    batch = min(_BATCH, count)
    steps = min(max(_STEPS[0], _EPOCHS * -(-count // batch)), _STEPS[1])
    order = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.int64)
    with torch.enable_grad():
        for step in range(steps):
            if len(waiting) < batch:
                waiting = torch.cat([waiting, torch.randperm(count, generator=order)])
            chosen, waiting = waiting[:batch], waiting[batch:]
            optimiser.param_groups[0]["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            logits = model.logits(features[:, chosen].to(device))
            wanted = targets[chosen].to(device)[None, :, None].expand(logits.shape[:3])
            loss = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="sum") / batch
            loss = loss + 0.5 * (penalty * weight.square()).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return Linear(weight.detach(), bias.detach(), mean, deviation, classes)


def probe(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    test_targets: Tensor,
    classes: int,
    *,
    seed: int,
    device: torch.device,
) -> tuple[list[Score], Linear]:
    """Train a classifier on each of F sets of features, and test it.

    Its weight decay is the one of `DECAYS` that does best on a fifth of the training pictures; then it is trained on
    all of them.

    Args:
        train: (F, N, D) with `targets` (N,); `test` (F, M, D) with `test_targets` (M,).

    Returns:
        a score for each set, and the classifiers, one of each set.
    """
    kept, apart = map(torch.from_numpy, parted(targets.numpy(), round(_HELD_OUT * len(targets)), seed))
    decays = torch.tensor(DECAYS).expand(len(train), -1)
    tried = fit(train[:, kept], targets[kept], decays, classes, seed=seed, device=device)
    held, _, losses = accuracies(tried, train[:, apart], targets[apart])  # (F, S)
    best = [max(range(len(DECAYS)), key=lambda s: (float(held[f, s]), -float(losses[f, s]))) for f in range(len(train))]
    chosen = torch.tensor([[DECAYS[index]] for index in best])
    final = fit(train, targets, chosen, classes, seed=seed, device=device)
    top1, top5, _ = accuracies(final, test, test_targets)
    near = neighbour_accuracy(train, targets, test, test_targets, classes, final, device=device)
    scores = [
        Score(
            top1=float(top1[index, 0]),
            top5=float(top5[index, 0]) if classes > 5 else None,
            neighbours=near[index],
            held_out=float(held[index, best[index]]),
            held_out_loss=float(losses[index, best[index]]),
            decay=DECAYS[best[index]],
        )
        for index in range(len(train))
    ]
    return scores, final


def accuracies(model: Linear, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Top-1 and top-5 accuracy and mean cross-entropy of each classifier: (F, S) each."""

    def measured(logits: Tensor, wanted: Tensor) -> Tensor:
        best = logits.topk(min(5, logits.shape[-1])).indices  # (F, B, S, 5)
        hit = best == wanted[None, :, None, None]
        loss = -logits.log_softmax(dim=-1).gather(3, wanted[None, :, None, None].expand(*logits.shape[:3], 1))[..., 0]
        return torch.stack([hit[..., 0].float(), hit.any(dim=-1).float(), loss]).sum(dim=2)

    device = model.weight.device
    return _mean(
        lambda rows: measured(model.logits(features[:, rows].to(device)), targets[rows].to(device)), len(targets)
    )


def neighbour_accuracy(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    test_targets: Tensor,
    classes: int,
    scaling: Linear,
    *,
    device: torch.device,
) -> list[float]:
    """How often the nearest training pictures, by the cosine of standardised features, vote for the right class."""
    found = []
    for index in range(len(train)):
        mean, deviation = scaling.mean[index], scaling.deviation[index]

        def scaled(rows: Tensor, mean: Tensor = mean, deviation: Tensor = deviation) -> Tensor:
            return F.normalize((rows.to(mean) - mean) / deviation, dim=1)

        known = scaled(train[index])
        votes_of = F.one_hot(targets, classes).float().to(device)
        right = 0
        for start in range(0, len(test_targets), _AT_ONCE):
            wanted = test_targets[start : start + _AT_ONCE].to(device)
            likeness = scaled(test[index, start : start + _AT_ONCE]) @ known.T  # (B, N)
            near = likeness.topk(min(NEIGHBOURS, len(known)))
            votes = (votes_of[near.indices] * near.values.clamp_min(0)[..., None]).sum(dim=1)
            right += int((votes.argmax(dim=1) == wanted).sum())
        found.append(right / len(test_targets))
    return found


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature: (F, 1, D), float32; a feature that never changes counts as 1."""
    total = square = torch.zeros(1)
    for start in range(0, features.shape[1], _AT_ONCE):
        some = features[:, start : start + _AT_ONCE].double()
        total, square = total + some.sum(dim=1, keepdim=True), square + some.square().sum(dim=1, keepdim=True)
    mean = total / features.shape[1]
    deviation = (square / features.shape[1] - mean.square()).clamp_min(0).sqrt()
    steady = deviation <= 1e-6 * (1 + mean.abs())
    return mean.float(), torch.where(steady, 1.0, deviation).float()


def _mean(measured: Callable[[slice], Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over all rows of what is summed over some of them."""
    parts = [measured(slice(start, start + _AT_ONCE)) for start in range(0, count, _AT_ONCE)]
    top1, top5, loss = torch.stack(parts).sum(dim=0).cpu() / count
    return top1, top5, loss
