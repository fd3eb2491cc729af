"""What samples are compared with: a folder, scenes, or a file of statistics, features or images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bigr_cli.data.array_files import splits_of
from bigr_cli.data.sources import SCENES
from bigr_cli.errors import UsageError
from bigr_cli.evaluation.extractors import Extractor
from bigr_cli.evaluation.fidelity import Reference, check_finite, extract
from bigr_cli.evaluation.image_sets import ImageSet, array, folder, scenes
from bigr_cli.evaluation.metrics import GENERATION, by_key, named
from bigr_cli.evaluation.preflight import of_other_size
from bigr_cli.evaluation.statistics import SUFFIXES, Statistics, StatisticsFile, read_statistics

MANY = 10_000  # scenes, unless another number is asked for


@dataclass(frozen=True)
class Opened:
    """A reference before any feature is computed: images, or what a file holds, or both."""

    where: str
    images: ImageSet | None
    file: StatisticsFile

    def allows(self, metric: str) -> bool:
        """Whether it has what a metric (by torch-fidelity's name) needs."""
        whole = self.images is not None or self.file.features is not None
        needs = by_key(metric).needs
        return whole or needs == "nothing" or (needs == "statistics" and self.file.statistics is not None)

    def read(
        self,
        network: nn.Module,
        extractor: Extractor,
        metrics: Sequence[str],
        device: torch.device,
        batch: int,
        advance: Callable[[int], None],
    ) -> Reference:
        """With features computed where they are needed; UsageError if they are not finite or of another network."""
        statistics, features = self.file.statistics, {}
        _check_extractor(statistics, extractor, self.where)
        done_with = ("nothing", "statistics") if statistics else ("nothing",)
        needed = [metric for metric in metrics if by_key(metric).needs not in done_with]
        if self.file.features is not None:
            check_finite(self.file.features, f"{self.where}: features")
            features = {extractor.layers[metric]: self.file.features for metric in needed}
        elif self.images is not None and needed:
            features = extract(network, self.images, device, batch, advance)
        return Reference(features, statistics, self._about(features))

    def identity(self) -> str:
        """The same text means the same reference."""
        if self.images is not None and self.images.identity:
            return self.images.identity
        status = Path(self.where).expanduser().stat()
        return f"{Path(self.where).expanduser().resolve()}:{status.st_size}:{status.st_mtime_ns}"

    def _about(self, features: dict[str, Any]) -> dict[str, Any]:
        if self.images is not None:
            return self.images.record()
        statistics = self.file.statistics
        count = len(next(iter(features.values()))) if features else statistics.count if statistics else None
        kind = "features" if self.file.features is not None else "statistics"
        return {"source": kind, "path": self.where, "count": count, "size": None, "classes": None, "per_class": None}


def open_reference(where: str, size: tuple[int, int], *, count: int | None, resize: int | None) -> Opened:
    """What `--reference` names, its images of the samples' size.

    Args:
        where: `scenes`, a folder or what else `image_sets.folder` takes, or a .npz or .pt file of statistics.
        size: width and height of the samples, after any resizing.
        count: how many of its images; None is all, or 10,000 scenes.
        resize: the side that images are fitted to.

    Raises:
        UsageError: it is not there, is empty, is of another size, or has too few images.
        ModelFormatError: a file cannot be read.
    """
    nothing = StatisticsFile()
    if where == SCENES:
        if size[0] != size[1]:
            raise UsageError(f"scenes are square, the samples have {size[0]} × {size[1]} pixels", hint="--resize N")
        return Opened(where, scenes(size[0], count or MANY), nothing)
    path = Path(where).expanduser()
    if path.suffix.lower() in SUFFIXES and not path.is_dir() and not splits_of(path):
        file = read_statistics(path)
        found = None
        if file.images is not None:
            shown = file.images if count is None else file.images[:count]
            found = _of_size(array(shown, path).resized(resize), size)
        return Opened(where, found, replace(file, images=None))
    return Opened(where, _of_size(folder(where, count=count, resize=resize), size), nothing)


def choose_metrics(wanted: str | None, extractor: Extractor, reference: Opened | None) -> list[str]:
    """The metrics by torch-fidelity's names: those asked for, or all that can be computed.

    Raises:
        UsageError: there is no metric of that name, or it lacks a reference or class probabilities.
    """
    chosen = []
    for metric in named(wanted, GENERATION):
        reason = _obstacle(metric.key, extractor, reference)
        if reason is None:
            chosen.append(metric.key)
        elif wanted is not None:
            raise UsageError(f"{metric.name}: {reason}")
    return chosen


def _obstacle(metric: str, extractor: Extractor, reference: Opened | None) -> str | None:
    if metric not in extractor.layers:
        return f"{extractor.name} gives no class probabilities"
    if by_key(metric).needs != "nothing" and reference is None:
        return "needs --reference"
    if reference is not None and not reference.allows(metric):
        doing = ", ".join(row.name for row in GENERATION.values() if row.needs == "statistics")
        return f"{reference.where} holds statistics only, which do for {doing}"
    return None


def _of_size(images: ImageSet, size: tuple[int, int]) -> ImageSet:
    if (images.width, images.height) != size:
        raise of_other_size(images.what, (images.width, images.height), size)
    return images


def _check_extractor(statistics: Statistics | None, extractor: Extractor, where: str) -> None:
    if statistics is not None and statistics.extractor not in (None, extractor.name):
        raise UsageError(f"{where}: was made with {statistics.extractor}, not {extractor.name}", hint="see --features")
