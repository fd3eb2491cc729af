"""How much one set of pictures looks like another: every figure comes out of torch-fidelity.

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
from torch_fidelity.defaults import DEFAULTS
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.extractors import Extractor
from bigr_cli.evaluation.image_sets import PictureSet
from bigr_cli.evaluation.statistics import Statistics
from bigr_cli.runtime.batches import Batches

METRICS = {"fid": "fid", "is": "isc", "kid": "kid", "prc": "prc"}  # as users name them, as torch-fidelity does
BINARY = ("fid", "kid", "prc")  # those that compare with a reference
_FEWEST = {"fid": 2, "isc": DEFAULTS["isc_splits"], "kid": 2, "prc": DEFAULTS["prc_neighborhood"] + 1}

Features = Mapping[str, Tensor]


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: features by name, or for the Fréchet distance statistics alone."""

    features: Features
    statistics: Statistics | None
    about: dict[str, Any]

    @property
    def count(self) -> int | None:
        """How many pictures there are in it, if that is known."""
        for found in self.features.values():
            return len(found)
        return self.statistics.count if self.statistics else None

    def allows(self, metric: str) -> bool:
        """Whether it has what the metric needs."""
        return bool(self.features) or metric not in BINARY or (metric == "fid" and self.statistics is not None)


def extract(
    network: nn.Module, pictures: PictureSet, device: torch.device, batch: int, advance: Callable[[int], None]
) -> dict[str, Tensor]:
    """The features (N, D) of all pictures by name, on the CPU.

    Raises:
        UsageError: they are not finite.
    """
    parts: dict[str, list[Tensor]] = {}
    batches = Batches(batch)
    with torch.inference_mode():
        for images in pictures.batches(batch):
            for some, made in batches.run(images, lambda some: network(some.to(device))):
                for name, found in network.convert_features_tuple_to_dict(made).items():  # type: ignore[operator]
                    parts.setdefault(name, []).append(found.float().cpu())
                advance(len(some))
    whole = {name: torch.cat(found) for name, found in parts.items()}
    for name, found in whole.items():
        check_finite(found, f"{pictures.what}: features {name}")
    return whole


def check_finite(features: Tensor, what: str) -> None:
    """UsageError if there is a number in them that is none."""
    wrong = (~torch.isfinite(features)).any(dim=1).nonzero().flatten()
    if len(wrong):
        raise UsageError(f"{what} are not finite, first at picture {int(wrong[0])} of {len(features)}")


def check_counts(metrics: Sequence[str], counts: Sequence[tuple[str, int]]) -> None:
    """UsageError if one of these sets, each a name and a number of pictures, is too small for a metric."""
    for what, count in counts:
        for metric in metrics:
            if count < _FEWEST[metric]:
                pictures = f"{count} picture{'' if count == 1 else 's'}"
                raise UsageError(f"{what}: {pictures}; {metric} needs at least {_FEWEST[metric]}")


def subset_size(*counts: int | None) -> int:
    """How many pictures each of KID's subsets has: torch-fidelity's 1,000, or as many as there are."""
    return min([int(DEFAULTS["kid_subset_size"]), *(count for count in counts if count is not None)])


def measure(
    samples: Features, reference: Reference | None, extractor: Extractor, metrics: Sequence[str]
) -> dict[str, float]:
    """The figures, by torch-fidelity's names.

    Args:
        samples: what `extract` gave for them.
        reference: what they are compared with; None if no metric does.
        extractor: what gave the features.
        metrics: by torch-fidelity's names: "isc", "fid", "kid", "prc".

    Raises:
        UsageError: the features differ in width.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        layer = extractor.layers[metric]
        ours = samples[layer]
        if metric == "isc":
            found |= isc_features_to_metric(ours)
            continue
        if reference is None or not reference.allows(metric):
            raise UsageError(f"{metric}: needs a reference with pictures or features")
        if metric == "fid":
            found |= frechet(ours, reference.statistics or reference.features[layer])
            continue
        theirs = reference.features[layer]
        _same_width(ours.shape[1], theirs.shape[1])
        if metric == "kid":
            size = subset_size(len(ours), len(theirs))
            found |= kid_features_to_metric(ours, theirs, kid_subset_size=size, verbose=False)
        else:
            found |= prc_features_to_metric(ours, theirs, verbose=False)
    return found


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
