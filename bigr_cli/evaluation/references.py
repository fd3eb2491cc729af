"""What samples are compared with: a folder, scenes, or a file of statistics, features or images."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bigr_cli.data.array_files import array_names, read_arrays, splits_of
from bigr_cli.data.sources import SCENES
from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.evaluation.extractors import Extractor, load_tensors
from bigr_cli.evaluation.fidelity import Features, Reference, Statistics, check_finite, extract
from bigr_cli.evaluation.image_sets import ImageSet, array, folder, of_other_size, scenes
from bigr_cli.evaluation.metrics import GENERATION, by_key, named
from bigr_cli.files import atomic_write, writing
from bigr_cli.home import Cache, intact, save_arrays
from bigr_cli.imaging.files import existing
from bigr_cli.version import __version__

MANY = 10_000  # scenes, unless another number is asked for
SUFFIXES = (".npz", ".pt")
_AT_ONCE = 64  # images
_FEATURES = Cache("references", "features of a reference, which are computed anew each time,", durable=True)


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
    ) -> Reference:
        """With features computed where they are needed; UsageError if they are not finite or of another network."""
        statistics = self.file.statistics
        features: Features = {}
        _check_extractor(statistics, extractor, self.where)
        done_with = ("nothing", "statistics") if statistics else ("nothing",)
        needed = [metric for metric in metrics if by_key(metric).needs not in done_with]
        if self.file.features is not None:
            check_finite(self.file.features, f"{self.where}: features")
            features = {extractor.layers[metric]: self.file.features for metric in needed}
        elif self.images is not None and needed:
            layers = sorted({extractor.layers[metric] for metric in needed})
            features = _features(self.images, network, extractor, layers, device, batch)
        return Reference(features, statistics, self._provenance(features))

    def identity(self) -> str:
        """The same text means the same reference."""
        if self.images is not None and self.images.identity:
            return self.images.identity
        status = Path(self.where).expanduser().stat()
        return f"{Path(self.where).expanduser().resolve()}:{status.st_size}:{status.st_mtime_ns}"

    def _provenance(self, features: Features) -> dict[str, Any]:
        if self.images is not None:
            return self.images.record()
        statistics = self.file.statistics
        count = len(next(iter(features.values()))) if features else statistics.count if statistics else None
        kind = "features" if self.file.features is not None else "statistics"
        return {"source": kind, "path": self.where, "count": count, "size": None, "classes": None, "per_class": None}


def _features(
    images: ImageSet, network: nn.Module, extractor: Extractor, layers: list[str], device: torch.device, batch: int
) -> Features:
    """The features of all images, which are kept for the next time where images and network can be told apart."""
    if not images.identity or not extractor.provenance.get("weights"):
        return extract(network, images, device, batch)
    of_images = (images.identity, images.count, images.width, images.height)
    versions = (__version__, torch.__version__, device.type)
    kept = _FEATURES.path([of_images, extractor.name, extractor.provenance, layers, versions], ".npz")

    def read(path: Path) -> Features | None:
        with np.load(path) as arrays:
            found = {name: torch.from_numpy(arrays[name]) for name in layers}
        return found if all(len(each) == images.count for each in found.values()) else None

    features = intact(read, kept)
    if features is None:
        features = extract(network, images, device, batch)
        arrays = {name: each.numpy() for name, each in features.items()}
        _FEATURES.write(kept, lambda path: save_arrays(path, **arrays))
    return features


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


@dataclass(frozen=True)
class StatisticsFile:
    """What a file holds of a reference: statistics, features (N, D) or images (N, H, W, 3) uint8, or several."""

    statistics: Statistics | None = None
    features: Tensor | None = None
    images: NDArray[np.uint8] | None = None


def read_statistics(path: Path) -> StatisticsFile:
    """A `.npz` with `mu` and `sigma`, or images as `arr_0`, or both; or a `.pt` out of torch-fidelity's cache.

    Raises:
        UsageError: there is no such file, or nothing of that in it, or it is not finite or of odd shapes.
        ModelFormatError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    found = _from_cache(path) if path.suffix.lower() == ".pt" else _from_npz(path)
    if found.statistics is not None:
        _check(found.statistics, path)
    if found.features is not None and not bool(torch.isfinite(found.features).all()):
        raise UsageError(f"{path}: its features are not finite")
    return found


def write_statistics(path: Path, statistics: Statistics, *, overwrite: bool = False) -> None:
    """`mu` and `sigma`, beside them `extractor` and `count`; errors as `write_samples`."""
    arrays = {
        "mu": statistics.mu,
        "sigma": statistics.sigma,
        "extractor": np.array(statistics.extractor or ""),
        "count": np.array(statistics.count or 0),
    }
    with _written(path, overwrite=overwrite) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def write_samples(path: Path, images: ImageSet, *, overwrite: bool = False) -> None:
    """Images in their order as `arr_0` (N, H, W, 3) uint8, one batch in memory at a time.

    Raises:
        UsageError: there is something at `path`, and `overwrite` is not set.
        RunError: it cannot be written.
    """
    shape = (images.count, images.height, images.width, 3)
    header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    with (
        _written(path, overwrite=overwrite) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as stream,
    ):
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in images.batches(_AT_ONCE):
            stream.write(batch.permute(0, 2, 3, 1).contiguous().numpy().tobytes())


@contextmanager
def _written(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, which becomes `path`."""
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, replace=overwrite) as temporary:
                yield temporary
        except FileExistsError as error:
            raise existing(path) from error


def _from_npz(path: Path) -> StatisticsFile:
    names = set(array_names(path))
    known = ({"arr_0"}, {"mu", "sigma"}, {"extractor"}, {"count"})
    found = read_arrays(path, sorted(name for some in known if some <= names for name in some))
    images, statistics = found.get("arr_0"), None
    try:
        if {"mu", "sigma"} <= names:
            mu, sigma = (np.asarray(found[name], np.float64) for name in ("mu", "sigma"))
            extractor, count = str(found.get("extractor", "")), int(found.get("count", 0))
            statistics = Statistics(mu, sigma, extractor or None, count or None)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ModelFormatError(f"{path}: not a .npz file of numbers ({error})") from error
    if images is None and statistics is None:
        listed = ", ".join(sorted(names)) or "nothing"
        raise UsageError(f"{path}: expected mu and sigma, or images as arr_0, found {listed}")
    return StatisticsFile(statistics, images=images)


def _from_cache(path: Path) -> StatisticsFile:
    found = load_tensors(path)
    if isinstance(found, torch.Tensor) and found.ndim == 2:
        return StatisticsFile(features=found.float())
    try:
        mu, sigma = (np.asarray(found[name], np.float64) for name in ("mu", "sigma"))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"{path}: neither mu and sigma nor features, as torch-fidelity keeps them") from error
    return StatisticsFile(Statistics(mu, sigma))


def _check(statistics: Statistics, path: Path) -> None:
    mu, sigma = statistics.mu, statistics.sigma
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise UsageError(f"{path}: expected mu (D,) and sigma (D, D), got {mu.shape} and {sigma.shape}")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UsageError(f"{path}: mu and sigma are not finite")
