"""Files of what is compared: means and covariances as ADM's evaluator names them, samples as it reads them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.data.array_files import array_names, read_arrays
from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.evaluation.image_sets import ImageSet
from bigr_cli.evaluation.pretrained import load_tensors
from bigr_cli.files import atomic_write, writing
from bigr_cli.imaging.files import existing

SUFFIXES = (".npz", ".pt")
_AT_ONCE = 64  # images


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
    with _written(path, overwrite=overwrite) as hidden, hidden.open("wb") as stream:
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
        _written(path, overwrite=overwrite) as hidden,
        zipfile.ZipFile(hidden, "w") as archive,
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
