"""How much one set of images looks like another: every figure comes out of torch-fidelity.

FID, IS, KID, precision and recall, by the names that torch-fidelity gives them, from features of any extractor that is
registered with it. What is here holds features in memory between the metrics and checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.extractors import Extractor
from bigr_cli.evaluation.image_sets import ImageSet
from bigr_cli.evaluation.metrics import by_key
from bigr_cli.runtime.memory import Batches

MOST_REAL = 10_000  # images on a side when real ones are compared with real ones

Features = Mapping[str, Tensor]


@dataclass(frozen=True)
class Statistics:
    """Mean `mu` (D,) and covariance `sigma` (D, D) of features, and what is known of where they are from.

    `extractor` and `count` are None where the file does not say.
    """

    mu: NDArray[np.float64]
    sigma: NDArray[np.float64]
    extractor: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: features by name, or for the Fréchet distance statistics alone."""

    features: Features
    statistics: Statistics | None
    provenance: dict[str, Any]

    @property
    def count(self) -> int | None:
        """How many images there are in it, if that is known."""
        for found in self.features.values():
            return len(found)
        return self.statistics.count if self.statistics else None

    def allows(self, metric: str) -> bool:
        """Whether it has what the metric needs."""
        needs = by_key(metric).needs
        return bool(self.features) or needs == "nothing" or (needs == "statistics" and self.statistics is not None)


def extract(
    network: nn.Module,
    image_set: ImageSet,
    device: torch.device,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Tensor]:
    """The features (N, D) of all images by name, on the CPU.

    Raises:
        UsageError: they are not finite.
    """
    parts: dict[str, list[Tensor]] = {}
    batches = Batches(batch)
    with torch.inference_mode():
        for images in image_set.batches(batch):
            for some, made in batches.run(images, lambda some: network(some.to(device))):
                for name, found in network.convert_features_tuple_to_dict(made).items():  # type: ignore[operator]
                    parts.setdefault(name, []).append(found.float().cpu())
                advance(len(some))
    whole = {name: torch.cat(found) for name, found in parts.items()}
    for name, found in whole.items():
        check_finite(found, f"{image_set.what}: features {name}")
    return whole


def check_finite(features: Tensor, what: str) -> None:
    """UsageError if there is a number in them that is none."""
    wrong = (~torch.isfinite(features)).any(dim=1).nonzero().flatten()
    if len(wrong):
        raise UsageError(f"{what} are not finite, first at image {int(wrong[0])} of {len(features)}")


def check_counts(metrics: Sequence[str], counts: Sequence[tuple[str, int]]) -> None:
    """UsageError if one of these sets, each a name and a number of images, is too small for a metric."""
    for what, count in counts:
        for metric in metrics:
            fewest = by_key(metric).fewest
            if count < fewest:
                image_set = f"{count} image{'' if count == 1 else 's'}"
                raise UsageError(f"{what}: {image_set}; {metric} needs at least {fewest}")


def measure(
    samples: Features, reference: Reference | None, extractor: Extractor, metrics: Sequence[str]
) -> dict[str, float]:
    """The figures, by torch-fidelity's names.

    Args:
        samples: what `extract` gave for them.
        reference: what they are compared with; None if no metric does.
        extractor: what gave the features.
        metrics: by torch-fidelity's names.

    Raises:
        UsageError: the features differ in width.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        row, layer = by_key(metric), extractor.layers[metric]
        theirs: Tensor | Statistics | None = None
        if row.needs != "nothing":
            if reference is None or not reference.allows(metric):
                raise UsageError(f"{metric}: needs a reference with images or features")
            stored = reference.statistics if row.needs == "statistics" else None
            theirs = stored or reference.features[layer]
            if isinstance(theirs, Tensor):
                _same_width(samples[layer].shape[1], theirs.shape[1])
        found |= row.compute(samples[layer], theirs)
    return found


def real_against_real(
    reference: Reference | None, extractor: Extractor, metrics: Sequence[str], count: int
) -> dict[str, Any] | None:
    """The figures of some of the reference's images against the others: what no samples can be expected to beat.

    Of the features that are there, as many as there are samples are taken by a fixed random choice, half of them at
    most, and `MOST_REAL`; the figures stand beside `images` and `reference`, the numbers of both sides. None where
    the reference has too few images, or statistics alone.
    """
    wanted = [metric for metric in metrics if by_key(metric).needs != "nothing"]
    if reference is None or not wanted or not all(extractor.layers[metric] in reference.features for metric in wanted):
        return None
    total = len(next(iter(reference.features.values())))
    ours = min(count, total // 2, MOST_REAL)
    if ours < max(by_key(metric).fewest for metric in wanted):
        return None
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    one, other = order[:ours], order[ours : ours + MOST_REAL]
    samples, rest = ({name: found[part] for name, found in reference.features.items()} for part in (one, other))
    figures = measure(samples, Reference(rest, None, reference.provenance), extractor, wanted)
    return {"images": len(one), "reference": len(other), **figures}


def frechet(samples: Tensor | Statistics, reference: Tensor | Statistics) -> dict[str, float]:
    """The Fréchet distance between features (N, D), or statistics of such, by torch-fidelity's name of it."""
    ours, theirs = _plain(samples), _plain(reference)
    _same_width(len(ours["mu"]), len(theirs["mu"]))
    if ours["mu"].dtype != theirs["mu"].dtype:  # torch-fidelity's means have the features' 32 bits, those of files 64
        ours, theirs = ({name: each.astype(np.float64) for name, each in side.items()} for side in (ours, theirs))
    found: dict[str, float] = fid_statistics_to_metric(ours, theirs, verbose=False)
    return found


def frechet_distance(samples: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]]) -> float:
    """The Fréchet distance between two sets of features (N, D)."""
    return frechet(torch.from_numpy(samples), torch.from_numpy(reference))[KEY_METRIC_FID]


def statistics_of(features: Tensor, extractor: Extractor) -> Statistics:
    """Mean and covariance of features (N, D), as torch-fidelity takes them."""
    found = fid_features_to_statistics(features)
    return Statistics(found["mu"].astype(np.float64), found["sigma"], extractor.name, len(features))


def _plain(given: Tensor | Statistics) -> dict[str, NDArray[Any]]:
    """Mean and covariance as torch-fidelity hands them around."""
    if isinstance(given, Statistics):
        return {"mu": given.mu, "sigma": given.sigma}
    found: dict[str, NDArray[Any]] = fid_features_to_statistics(given)
    return found


def _same_width(ours: int, theirs: int) -> None:
    if ours != theirs:
        raise UsageError(
            f"the reference holds features of {theirs} numbers, the extractor gives {ours}",
            hint="--features has to name the network that the reference was made with",
        )
