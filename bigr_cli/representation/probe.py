"""Linear probes: how well the classes of pictures can be read off their features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bigr_cli.representation.logistic import Linear, classifiers
from bigr_cli.representation.probe_data import parted

DECAYS = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4, 1e-5)
NEIGHBOURS = 10

_HELD_OUT = 0.2
_OVERFITTED = 1.3  # times the least loss on the pictures held out
_AT_ONCE = 1024


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

    Its weight decay is the one of `DECAYS` that does best on a fifth of the training pictures, chosen by the seed; then
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
    """How often the nearest training pictures, by the cosine of standardised features, vote for the right class."""
    known = F.normalize(scaling.scaled(train), dim=1)
    votes_of = F.one_hot(targets, classes).to(known)
    right = 0
    for rows, wanted in zip(test.split(_AT_ONCE), test_targets.split(_AT_ONCE), strict=True):
        likeness = F.normalize(scaling.scaled(rows), dim=1) @ known.T  # (B, N)
        near = likeness.topk(min(NEIGHBOURS, len(known)))
        votes = (votes_of[near.indices] * near.values.clamp_min(0)[..., None]).sum(dim=1)
        right += int((votes.argmax(dim=1).cpu() == wanted).sum())
    return right / len(test_targets)
