"""A linear classifier of features, in a file and at work: `bigr evaluate probe` keeps it, `bigr classify` uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.errors import BigrError, ModelFormatError, UsageError
from bigr_cli.imaging.files import write_bytes
from bigr_cli.plain_text import short_repr
from bigr_cli.representation.features import FeatureProvenance, parse_provenance
from bigr_cli.runtime.memory import Batches

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel
    from bigr_cli.representation.features import Wanted
    from bigr_cli.representation.items import Item
    from bigr_cli.zoo.config import ModelConfig

SUFFIX = ".safetensors"
FEWEST = 100  # training images, without which nothing is said of others
_SHRINKAGE, _EXCEEDED = 0.1, 99.0


@dataclass(frozen=True)
class Familiar:
    """What the features of training images are like: their `mean` (D,), and `whitener` (D, D), float32 both.

    A distance is that of Mahalanobis (Lee et al. 2018, arXiv 1807.03888), in units of `scale`, the distance that one in
    a hundred of the held-out training images exceeds.
    """

    mean: NDArray[np.float32]
    whitener: NDArray[np.float32]
    scale: float

    __repr__ = short_repr

    def distances(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(N, D) → (N,): above 1 where an image is farther from the training images than nearly all of these are."""
        away = (features.astype(np.float64) - self.mean) @ self.whitener.astype(np.float64)
        found: NDArray[np.float64] = np.sqrt(np.square(away).mean(axis=1)) / self.scale
        return found


def familiar(features: NDArray[Any]) -> Familiar | None:
    """What (N, D) features of training images are like, in random order; None of fewer than `FEWEST`, or all the same.

    The covariance is of four fifths of them, and shrunk by a tenth towards a multiple of the identity.
    """
    if len(features) < FEWEST:
        return None
    fit, held = features[len(features) // 5 :].astype(np.float64), features[: len(features) // 5]
    covariance = np.atleast_2d(np.cov(fit.T))
    spread = float(np.trace(covariance)) / len(covariance)
    if not spread > 0:
        return None
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * spread * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(shrunk)
    whitener = (vectors / np.sqrt(values)).astype(np.float32)
    raw = Familiar(fit.mean(axis=0).astype(np.float32), whitener, 1.0)
    return replace(raw, scale=float(np.percentile(raw.distances(held), _EXCEEDED)))


@dataclass(frozen=True)
class Probe:
    """`weight` (C, D) and `bias` (C,) float32, the names of the classes, and which features they read.

    `familiar` tells images that are of none of the classes; None where that is not known. With a `query` for each class
    (C, D) the features are tokens, and the softmax over them of token · query says how much each of them counts.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    labels: tuple[str, ...]
    about: FeatureProvenance
    familiar: Familiar | None = None
    query: NDArray[np.float32] | None = None

    __repr__ = short_repr

    def probabilities(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(N, D), or with a query (N, L, D) → (N, C), each row adding up to 1."""
        rows = features.astype(np.float64)
        logits = rows @ self.weight.T.astype(np.float64)
        if self.query is not None:
            logits = (logits * _softmax(rows @ self.query.T.astype(np.float64))).sum(axis=1)
        return _softmax(logits + self.bias)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along axis 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The likeliest label of an image, and how likely the classifier takes it to be among its labels, from 0 to 1.

    `distance` is how far the image is from the training images, 1 being as far as one in a hundred of these; None where
    the probe does not say.
    """

    path: str
    label: str
    probability: float
    distance: float | None = None

    def is_none(self, threshold: float = 1.0) -> bool:
        """Whether it shows none of the classes, being farther away than `threshold`; never at 0."""
        return self.distance is not None and 0 < threshold < self.distance

    def record(self, threshold: float = 1.0) -> dict[str, Any]:
        """Plain data."""
        known = {"label": self.label, "probability": round(self.probability, 6)}
        if self.distance is None:
            return known
        return {**known, "distance": round(self.distance, 4), "none_of_these": self.is_none(threshold)}


def wanted_by(probe: Probe, config: ModelConfig, *, source: str, model: str) -> Wanted:
    """The features that a probe reads; ModelFormatError, naming its file, if the model gives others."""
    wanted = probe.about.wanted(config)
    tokens = wanted.shape[:1] if probe.query is not None and wanted.cells is None else ()
    if wanted.every or wanted.shape != (*tokens, *probe.weight.shape[1:]):
        raise ModelFormatError(f"{source}: does not read features of the shape that {model} gives")
    averages = wanted.averaged(np.zeros((1, *wanted.shape), np.float32)).shape[1]
    if probe.familiar is not None and len(probe.familiar.mean) != averages:
        raise ModelFormatError(f"{source}: what it says of its training images does not fit the features of {model}")
    return wanted


def likeliest(probe: Probe, wanted: Wanted, features: NDArray[Any], paths: Sequence[str]) -> list[Classified]:
    """The likeliest label of each of (N, …) features, whose images are called `paths`."""
    distances: list[float | None] = [None] * len(paths)
    if probe.familiar is not None:
        distances = probe.familiar.distances(wanted.averaged(features)).tolist()
    return [
        Classified(path=path, label=probe.labels[int(row.argmax())], probability=float(row.max()), distance=distance)
        for path, row, distance in zip(paths, probe.probabilities(features), distances, strict=True)
    ]


def classified(
    model: LoadedModel,
    probe: Probe,
    wanted: Wanted,
    items: Sequence[Item],
    *,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
    fail: Callable[[str, BigrError], None],
) -> Iterator[Classified]:
    """The labels of images, batch by batch; `fail` is told of each that cannot be read, which is left out."""
    from bigr_cli.representation.embedding import embed_pixels, pixels_of
    from bigr_cli.representation.items import read_batches

    batches = Batches(batch)
    for rows in read_batches(items, model.config.image_size, batches.size, model.config.ground):
        for item, read in rows:
            if isinstance(read, BigrError):
                fail(item.name, read)
        there = pixels_of(rows)
        features = embed_pixels(model, [pixels for _, pixels in there], wanted, batches)
        yield from likeliest(probe, wanted, features, [item.name for item, _ in there])
        advance(len(rows))


def check_probe_path(path: Path) -> None:
    """Raise UsageError unless a probe can have this name."""
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: expected a name that ends with {SUFFIX}")


def save_probe(path: Path, probe: Probe, *, overwrite: bool = False) -> None:
    """Write a probe; UsageError if there is something at `path`, RunError if it cannot be written."""
    from safetensors.numpy import save

    check_probe_path(path)
    texts = {"labels": json.dumps(probe.labels), "about": probe.about.to_json()}
    tensors = {"weight": probe.weight, "bias": probe.bias}
    if probe.query is not None:
        tensors["query"] = probe.query
    if probe.familiar is not None:
        tensors |= {"mean": probe.familiar.mean, "whitener": probe.familiar.whitener}
        texts["scale"] = repr(probe.familiar.scale)
    write_bytes(path, save(tensors, metadata=texts), overwrite=overwrite)


def load_probe(path: str | PathLike[str]) -> Probe:
    """Read a probe.

    Raises:
        UsageError: there is no such file.
        ModelFormatError: it is something else, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", hint="bigr evaluate probe --save FILE makes one")
    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            known, there = None, set(file.keys())
            query = file.get_tensor("query") if "query" in there else None
            if "whitener" in there:
                known = Familiar(file.get_tensor("mean"), file.get_tensor("whitener"), float(texts["scale"]))
        labels = tuple(map(str, json.loads(texts["labels"])))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, ArithmeticError) as error:
        message = f"{path}: is not a probe, or damaged ({' '.join(str(error).split())})"
        raise ModelFormatError(message, hint="bigr evaluate probe --save FILE makes one") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or len(labels) != len(bias):
        raise ModelFormatError(f"{path}: its weights do not fit its labels")
    if query is not None and query.shape != weight.shape:
        raise ModelFormatError(f"{path}: its queries do not fit its weights")
    arrays = [weight, bias, *([] if query is None else [query]), *([known.mean, known.whitener] if known else [])]
    if known is not None and known.whitener.shape != 2 * known.mean.shape:
        raise ModelFormatError(f"{path}: what it says of its training images does not fit its weights")
    if known is not None and not (0 < known.scale < np.inf):
        raise ModelFormatError(f"{path}: scale: expected a number above 0, got {known.scale}")
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in arrays):
        raise ModelFormatError(f"{path}: its weights hold NaN or infinite numbers, or none at all")
    return Probe(weight, bias, labels, parse_provenance(texts.get("about", ""), str(path)), known, query)
