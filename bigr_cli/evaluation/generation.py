"""Samples against a reference: the figures, and everything that figures depend on beside the images."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.defaults import DEFAULTS

from bigr_cli import console
from bigr_cli.data.sources import SCENES
from bigr_cli.errors import UsageError
from bigr_cli.evaluation.extractors import Extractor, open_extractor
from bigr_cli.evaluation.fidelity import check_counts, extract, measure, real_against_real, statistics_of
from bigr_cli.evaluation.image_sets import ImageSet
from bigr_cli.evaluation.metrics import by_key
from bigr_cli.evaluation.references import Opened, choose_metrics, open_reference, write_samples, write_statistics
from bigr_cli.progress import progress_bar
from bigr_cli.version import __version__

COUNT = 10_000  # samples, unless another number is asked for
AT_ONCE = 64  # images that an extractor looks at, unless another number is asked for
_PACKAGES = ("torch", "torch-fidelity", "torchvision", "numpy", "scipy", "pillow")

Advance = Callable[[int], None]


class LoadedEvaluator:
    """An extractor, metrics and a reference, ready to evaluate any number of samples."""

    def __init__(
        self,
        extractor: Extractor,
        reference: Opened | None,
        metrics: Sequence[str],
        *,
        device: torch.device | str = "cpu",
        batch: int | None = None,
        resize: int | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        """Loads the network and computes what it says of the reference.

        Args:
            metrics: by torch-fidelity's names.
            batch: images at once.
            resize: the side that samples are fitted to.
            extra: metrics whose features are wanted of the samples without their figures.

        Raises:
            UsageError, ModelError, RunError: as `Extractor.network` and `Opened.read`.
        """
        self.extractor, self.metrics, self.resize = extractor, list(metrics), resize
        self.device, self.batch = torch.device(device), batch or AT_ONCE
        needed = tuple(dict.fromkeys([*metrics, *extra]))
        self._network = extractor.network(needed, self.device) if needed else None
        binary = [metric for metric in metrics if by_key(metric).needs != "nothing"]
        self.reference = None
        self._reals: dict[int, dict[str, Any] | None] = {}
        if reference is not None and binary and self._network is not None:
            network = extractor.network(tuple(binary), self.device)
            self.reference = reference.read(network, extractor, binary, self.device, self.batch)

    def features(self, samples: ImageSet, advance: Advance = lambda count: None) -> dict[str, Tensor]:
        """What the network says of samples; UsageError if there are too few, or it is not finite."""
        counts = [(samples.what, samples.count)]
        if self.reference is not None and self.reference.features:
            counts.append((str(self.reference.provenance["source"]), self.reference.count or 0))
        check_counts(self.metrics, counts)
        if self._network is None:
            return {}
        return extract(self._network, samples.resized(self.resize), self.device, self.batch, advance)

    def figures(self, features: dict[str, Tensor]) -> dict[str, float]:
        """The metrics, by torch-fidelity's names."""
        return measure(features, self.reference, self.extractor, self.metrics)

    def record(self, samples: ImageSet, figures: dict[str, float]) -> dict[str, Any]:
        """Figures with everything that they depend on."""
        theirs = self.reference.count if self.reference else None
        settings: dict[str, Any] = {"rng_seed": DEFAULTS["rng_seed"]}
        for metric in self.metrics:
            settings |= by_key(metric).settings(samples.count, theirs)
        resize = {"to": self.resize, "how": "square in the middle, Lanczos (Pillow)"} if self.resize else None
        used = {metric: self.extractor.layers[metric] for metric in self.metrics}
        return {
            **figures,
            "real": self._real(samples.count),
            "biased": biased(self.metrics, [samples.count, *([theirs] if theirs is not None else [])]),
            "samples": samples.resized(self.resize).record(),
            "reference": self.reference.provenance if self.reference else None,
            "resize": resize,
            "extractor": {**self.extractor.provenance, "registered_as": self.extractor.name, "layers": used},
            "settings": settings,
            "versions": versions(),
        }

    def _real(self, count: int) -> dict[str, Any] | None:
        """`real_against_real` for so many samples, computed once for each number of them."""
        if count not in self._reals:
            self._reals[count] = real_against_real(self.reference, self.extractor, self.metrics, count)
        return self._reals[count]


def biased(metrics: Sequence[str], counts: Sequence[int]) -> dict[str, dict[str, int]]:
    """The metrics that the smallest of these numbers of images biases, with that number and the one that is needed."""
    fewest = min(counts)
    rows = [by_key(metric) for metric in metrics]
    return {row.name: {"images": fewest, "needed": row.honest} for row in rows if fewest < row.honest}


def versions() -> dict[str, str]:
    """Of everything that has a part in the figures."""
    from importlib.metadata import version

    return {"bigr-cli": __version__, "python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """What looks at images, as it is asked for: the network by its name, and where its weights are."""

    features: str | None = None
    weights: Path | None = None
    fetch_weights: bool = False

    def open(self, *, scenes: bool) -> Extractor:
        """The extractor; without a name that of scenes where `scenes` are compared, or torch-fidelity's Inception."""
        wanted = self.features or (SCENES if scenes and self.weights is None else None)
        weights = self.weights.expanduser() if self.weights else None
        return open_extractor(wanted, weights=weights, fetch=self.fetch_weights)

    @property
    def asked(self) -> bool:
        """Whether anything of it was asked for."""
        return self.features is not None or self.weights is not None or self.fetch_weights


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What samples are compared with and by which figures, checked before a model is loaded or an image sampled.

    `resize` is the side that all images are fitted to. `statistics` and `npz` are files that are written of the
    samples: their features' mean and covariance, and the samples themselves.
    """

    extractor: Extractor | None
    reference: Opened | None
    metrics: list[str]
    resize: int | None = None
    statistics: Path | None = None
    npz: Path | None = None

    def evaluator(self, device: torch.device, batch: int | None) -> LoadedEvaluator | None:
        """Loads the network and looks at the reference; None if no figure is wanted."""
        if self.extractor is None:
            return None
        extra = ("fid",) if self.statistics else ()
        with progress_bar(None, "looking at the reference"):
            return LoadedEvaluator(
                self.extractor,
                self.reference,
                self.metrics,
                device=device,
                batch=batch,
                resize=self.resize,
                extra=extra,
            )


def open_comparison(
    samples: tuple[str, int],
    size: tuple[int, int],
    *,
    reference: str | None,
    reference_count: int | None = None,
    metrics: str | None = None,
    resize: int | None = None,
    evaluator: Evaluator,
    statistics: Path | None = None,
    npz: Path | None = None,
) -> Comparison:
    """Everything of an evaluation that can be known before it begins.

    Args:
        samples: what messages call them, and how many there are.
        size: their width and height in pixels.
        reference: real images: a folder, "scenes", or a file of statistics, features or images.
        metrics: some of fid, is, kid, prc, with commas between; None is all that can be computed.

    Raises:
        UsageError: nothing to compare with, too few images, or metrics that cannot be computed.
    """
    size = (resize, resize) if resize else size
    files: dict[str, Any] = {"resize": resize, "statistics": statistics, "npz": npz}
    if reference is None and metrics is None and npz and not statistics:
        return Comparison(extractor=None, reference=None, metrics=[], **files)
    extractor = evaluator.open(scenes=reference == SCENES)
    extractor.check_size(*size, samples[0])
    opened = None
    if reference is not None:
        opened = open_reference(reference, size, count=reference_count, resize=resize)
    elif metrics is None and not (npz or statistics):
        raise UsageError("nothing to compare with", hint="--reference DIR, scenes or FILE; --metrics is needs none")
    chosen = choose_metrics(metrics, extractor, opened)
    counts = [samples]
    if opened is not None and opened.images is not None:
        counts.append((opened.images.what, opened.images.count))
    check_counts(chosen, counts)
    return Comparison(extractor=extractor, reference=opened, metrics=chosen, **files)


def compared(
    evaluator: LoadedEvaluator | None,
    comparison: Comparison,
    samples: ImageSet,
    again: ImageSet,
    *,
    overwrite: bool = False,
    advance: Advance = lambda count: None,
) -> dict[str, Any]:
    """The record of samples: their figures and everything that these depend on. Writes the files asked for.

    `again` is the same set as `samples`, for another pass.
    """
    began = time.perf_counter()
    record: dict[str, Any]
    if evaluator is None:
        record = {"samples": again.resized(comparison.resize).record()}
    else:
        features = evaluator.features(samples, advance)
        record = evaluator.record(again, evaluator.figures(features))
        if comparison.statistics:
            found = statistics_of(features[evaluator.extractor.layers["fid"]], evaluator.extractor)
            write_statistics(comparison.statistics.expanduser(), found, overwrite=overwrite)
            console.say(f"wrote {comparison.statistics}")
    if comparison.npz:
        source = samples if evaluator is None else again
        write_samples(comparison.npz.expanduser(), source.resized(comparison.resize), overwrite=overwrite)
        console.say(f"wrote {comparison.npz}")
    return record | {"seconds": round(time.perf_counter() - began, 3)}
