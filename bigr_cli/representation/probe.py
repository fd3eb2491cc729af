"""Linear probes: how well the classes of images can be read off features, by logistic regression."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bigr_cli.core.representation import middle_layer
from bigr_cli.errors import UsageError
from bigr_cli.plain_text import short_repr
from bigr_cli.representation.classifiers import AT_ONCE, Attentive, Linear, attentive_classifiers, classifiers
from bigr_cli.representation.features import ALL, Wanted, default_pool, wanted_features
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
    from bigr_cli.loaded import LoadedModel
    from bigr_cli.zoo.config import ModelConfig

ProbePool = Literal["mean", "grid2", "grid3", "grid4", "attention"]
ATTENTION = "attention"

DECAYS = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4, 1e-5)
NEIGHBOURS = 10
_HELD_OUT = 0.2
_OVERFITTED = 1.3  # times the least loss on the images held out


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
    """How well one kind of `features` does: "generator", of the block `layer`, or one to compare with, without one.

    Several blocks side by side are "4,6".
    """

    features: str
    layer: int | str | None
    score: Score

    def record(self) -> dict[str, Any]:
        """Plain data: shares of the test images."""
        score = self.score
        shares = {"top1": score.top1, "top5": score.top5, "knn": score.neighbours, "held_out": score.held_out}
        rounded = {key: None if value is None else round(value, 6) for key, value in shares.items()}
        return {"features": self.features, "layer": self.layer, **rounded, "weight_decay": score.decay}


@dataclass(frozen=True)
class Probed:
    """A row for each kind of features, the classifiers of the generator's rows (`linear`), and the classes' names.

    `familiar` is what the training images are like in each of these rows. `pool` is how tokens were pooled.

    `train` and `test` are numbers of images.
    """

    rows: tuple[Row, ...]
    linear: tuple[Linear | Attentive, ...]
    familiar: tuple[Familiar | None, ...]
    labels: tuple[str, ...]
    train: int
    test: int
    pool: str = "mean"

    __repr__ = short_repr

    @property
    def best(self) -> Row:
        """The layer that does best on the training images that were held out."""
        layers = [row for row in self.rows if row.layer is not None]
        return max(layers, key=lambda row: (row.score.held_out, -row.score.held_out_loss))

    @property
    def layer(self) -> int | str:
        """The best layer, or the layers that were asked for together."""
        return self.best.layer or 0

    def record(self) -> dict[str, Any]:
        """Plain data: the counts, the best row and all rows."""
        sizes = {"train": self.train, "test": self.test, "classes": len(self.labels), "pool": self.pool}
        return {**sizes, "best": self.best.record(), "rows": [row.record() for row in self.rows]}

    def classifier(self, model: LoadedModel) -> Probe:
        """The best layer's classifier, for `save_probe` and `Model.classify`."""
        from bigr_cli.representation.features import provenance_of

        known = provenance_of(
            probe_features(model.config, self.layer, self.pool), model.config, model.name, model.folder
        )
        place = [row.layer for row in self.rows if row.layer is not None].index(self.layer)
        weight, bias, *query = self.linear[place].folded()
        return Probe(weight, bias, self.labels, known, self.familiar[place], *query)


Steps = Callable[[str, int], Callable[[int], None]]
"""Told what is done next and of how many steps; gives what is told of those done."""


def probe_features(config: ModelConfig, layer: int | str | None, pool: str | None) -> Wanted:
    """The features that probes of so pooled tokens read.

    Args:
        layer: a block, several side by side ("4,6"), or "all", each by itself; None is all, with attention the model's
            default.
        pool: one of `ProbePool`; None is the model's default.

    Raises:
        UsageError: there is no such layer or pool; attention over the tokens of all blocks.
    """
    pool = default_pool(config) if pool is None else pool
    if pool not in get_args(ProbePool):
        raise UsageError(f"pool: expected {', '.join(get_args(ProbePool))}, got {pool!r}")
    if pool != ATTENTION:
        return wanted_features(config, layer=ALL if layer is None else layer, pool=pool)
    if layer == ALL:
        raise UsageError("attention needs all tokens of its blocks in memory: name one block, or two", hint="--layer N")
    return wanted_features(config, layer=layer, pool="tokens")


def probe_layers(
    model: LoadedModel,
    split: Split,
    *,
    batch: int,
    seed: int,
    steps: Steps,
    layer: int | str | None = None,
    pool: str | None = None,
) -> Probed:
    """Train and test a classifier on each layer's features, and on others to compare with.

    Args:
        layer: which blocks; see `probe_features`. `pool` likewise.

    Raises:
        UsageError: there is no such layer or pool.
        ImageError: an image cannot be read.
        ModelError: features are not finite.
    """
    pool = default_pool(model.config) if pool is None else pool
    wanted = probe_features(model.config, layer, pool)
    middle = middle_layer(model.generator.config.layers)
    random = untrained(model.generator, seed)
    looked = steps("looking at images", len(split.train) + len(split.test))
    train, test = (
        collect(model.network, random, part, batch=batch, layer=middle, wanted=wanted, advance=looked)
        for part in (split.train, split.test)
    )
    targets, test_targets = torch.from_numpy(split.train.targets), torch.from_numpy(split.test.targets)
    rows: list[Row] = []
    layers: list[Linear | Attentive] = []
    known_images: list[Familiar | None] = []
    order = np.random.default_rng(seed).permutation(len(targets))
    trained = steps("training classifiers", sum(map(len, train.values())))
    for name in (PIXELS, CODES, ENCODER, RANDOM, LAYERS):
        for known, unknown in zip(train.pop(name), test.pop(name), strict=True):
            score, linear = probe(
                known, targets, unknown, test_targets, len(split.labels), seed=seed, device=model.device
            )
            read = wanted.layers[len(layers)] if wanted.every else wanted.layer
            rows.append(Row("generator", read, score) if name == LAYERS else Row(name, None, score))
            if name == LAYERS:
                layers.append(linear)
                known_images.append(familiar(wanted.averaged(known.float().numpy()[order])))
            trained(1)
    counts = len(split.train), len(split.test)
    return Probed(tuple(rows), tuple(layers), tuple(known_images), split.labels, *counts, pool)


def probe(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    test_targets: Tensor,
    classes: int,
    *,
    seed: int,
    device: torch.device,
) -> tuple[Score, Linear | Attentive]:
    """Train a classifier of features, and test it.

    Its weight decay is the one of `DECAYS` that does best on a fifth of the training images, chosen by the seed; then
    it is trained on all of them.

    Args:
        train: (N, D) with `targets` (N,); `test` (M, D) with `test_targets` (M,). Of tokens, (N, L, D) and (M, L, D),
            it attends to those that count.
    """
    solved = attentive_classifiers if train.ndim == 3 else classifiers
    kept, apart = map(torch.from_numpy, parted(targets.numpy(), round(_HELD_OUT * len(targets)), seed))
    best, held, least = DECAYS[0], (-1.0, 0.0), math.inf
    for tried in solved(train[kept], targets[kept], DECAYS, classes, device=device):
        accuracy, _, loss = measure(tried, train[apart], targets[apart])
        best, held = max((best, held), (tried.decay, (accuracy, -loss)), key=lambda pair: pair[1])
        least = min(least, loss)
        if loss > _OVERFITTED * least and accuracy < held[0]:
            break  # weaker decays take the longest, and would be still worse
    (final,) = solved(train, targets, [best], classes, device=device)
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


def measure(model: Linear | Attentive, features: Tensor, targets: Tensor) -> tuple[float, float, float]:
    """Top-1 and top-5 accuracy and mean cross-entropy of a classifier on (N, D), or tokens (N, L, D)."""
    total = torch.zeros(3, dtype=torch.float64)
    for rows, wanted in zip(features.split(AT_ONCE), targets.split(AT_ONCE), strict=True):
        logits = model.logits(rows).cpu()  # (B, C)
        hit = logits.topk(min(5, logits.shape[1])).indices == wanted[:, None]
        losses = F.cross_entropy(logits, wanted, reduction="none")
        total += torch.stack([hit[:, 0], hit.any(dim=1), losses], dim=1).double().sum(dim=0)
    top1, top5, loss = (total / len(targets)).tolist()
    return top1, top5, loss


def neighbour_accuracy(
    scaling: Linear | Attentive, train: Tensor, targets: Tensor, test: Tensor, test_targets: Tensor, classes: int
) -> float:
    """How often the nearest training images, by the cosine of standardised features, vote for the right class."""
    known = F.normalize(scaling.scaled(train), dim=1)
    votes_of = F.one_hot(targets, classes).to(known)
    right = 0
    for rows, wanted in zip(test.split(AT_ONCE), test_targets.split(AT_ONCE), strict=True):
        similarity = F.normalize(scaling.scaled(rows), dim=1) @ known.T  # (B, N)
        near = similarity.topk(min(NEIGHBOURS, len(known)))
        votes = (votes_of[near.indices] * near.values.clamp_min(0)[..., None]).sum(dim=1)
        right += int((votes.argmax(dim=1).cpu() == wanted).sum())
    return right / len(test_targets)
