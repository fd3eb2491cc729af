"""A linear classifier of features, in a file and at work: `bigr evaluate probe` keeps it, `bigr classify` uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bigr_cli.errors import BigrError, ModelFormatError, UsageError
from bigr_cli.imaging.files import write_bytes
from bigr_cli.representation.provenance import About, parse_about
from bigr_cli.runtime.batches import Batches

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.representation.features import Wanted
    from bigr_cli.representation.items import Item
    from bigr_cli.zoo.config import ModelConfig

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Probe:
    """`weight` (C, D) and `bias` (C,) float32, the names of the classes, and which features they read."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    labels: tuple[str, ...]
    about: About

    def probabilities(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(N, D) → (N, C), each row adding up to 1."""
        logits = features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return result


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The likeliest label of an image, and how likely the classifier takes it to be, from 0 to 1."""

    path: str
    label: str
    probability: float

    def record(self) -> dict[str, Any]:
        """Plain data."""
        return {"label": self.label, "probability": round(self.probability, 6)}


def wanted_by(probe: Probe, config: ModelConfig, *, source: str, model: str) -> Wanted:
    """The features that a probe reads; ModelFormatError, naming its file, if the model gives others."""
    wanted = probe.about.wanted(config)
    if wanted.shape != probe.weight.shape[1:]:
        raise ModelFormatError(f"{source}: does not read features of the shape that {model} gives")
    return wanted


def likeliest(probe: Probe, features: NDArray[Any], paths: Sequence[str]) -> list[Classified]:
    """The likeliest label of each of (N, D) features, whose images are called `paths`."""
    return [
        Classified(path=path, label=probe.labels[int(row.argmax())], probability=float(row.max()))
        for path, row in zip(paths, probe.probabilities(features), strict=True)
    ]


def classified(
    model: Model,
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
        yield from likeliest(probe, features, [item.name for item, _ in there])
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
    write_bytes(path, save({"weight": probe.weight, "bias": probe.bias}, metadata=texts), overwrite=overwrite)


def load_probe(path: Path) -> Probe:
    """Read a probe.

    Raises:
        UsageError: there is no such file.
        ModelFormatError: it is something else, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", hint="bigr evaluate probe --save FILE makes one")
    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        labels = tuple(map(str, json.loads(texts["labels"])))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, ArithmeticError) as error:
        raise ModelFormatError(f"{path}: is not a probe, or damaged ({' '.join(str(error).split())})") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or len(labels) != len(bias):
        raise ModelFormatError(f"{path}: its weights do not fit its labels")
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in (weight, bias)):
        raise ModelFormatError(f"{path}: its weights hold NaN or infinite numbers, or none at all")
    return Probe(weight, bias, labels, parse_about(texts.get("about", ""), str(path)))
