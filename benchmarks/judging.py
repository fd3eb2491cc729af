"""What the benchmark scripts judge images with: a network that nothing was trained against.

The classifier in `models/scenes-classifier` lends its features to the tokenizer's loss, so it would be partial; the
one in `benchmarks/judge` has another seed, other widths and other images behind it. Images are (N, 3, 64, 64)
uint8, labels (N,) numbers into `bigr_cli.data.scenes.LABELS`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.data import scenes
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import ScenesSource, Source, open_source
from bigr_cli.evaluation.classifier import ScenesClassifier, load_classifier
from bigr_cli.evaluation.image_sets import UNSEEN

JUDGE = Path(__file__).resolve().parent / "judge"
STRICT = JUDGE / "strict"  # has seen sharp scenes only, and no setting was chosen with it
SIZE = 64


@cache
def load_judge(device: str = "cpu", folder: Path = JUDGE) -> ScenesClassifier:
    """The impartial network, or the `STRICT` one."""
    return load_classifier(folder, device)


def folder_images(folder: Path) -> tuple[Tensor, Tensor]:
    """All images of a folder and what they should show, by the subfolders' names; -1 where that is no label."""
    source = open_source(str(folder), SIZE)
    images, places = _all(source, len(source))
    numbers = [scenes.LABELS.index(label) if label in scenes.LABELS else -1 for label in source.labels] or [-1]
    return images, torch.tensor(numbers)[places]


def real_images(count: int, *, seed: int = 0, start: int = UNSEEN) -> tuple[Tensor, Tensor]:
    """Unseen scenes and what they show."""
    return _all(ScenesSource(SIZE, seed, start), count)


def answers(images: Tensor, judge: ScenesClassifier | None = None) -> dict[str, Tensor]:
    """For each head, `object` first, the number of the likeliest answer for every image (N,)."""
    judge = judge or load_judge()
    parts = [{name: logits.argmax(1) for name, logits in judge(batch).items()} for batch in _batches(images, judge)]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in judge.answers}


def accuracy(images: Tensor, labels: Tensor, judge: ScenesClassifier | None = None) -> float:
    """The share of the images in which the judge sees the object that the label names."""
    return float((answers(images, judge)["object"] == labels).double().mean())


def embeddings(images: Tensor, judge: ScenesClassifier | None = None) -> NDArray[np.float64]:
    """(N, D): what `frechet_distance` compares."""
    judge = judge or load_judge()
    return torch.cat([judge.embedding(batch) for batch in _batches(images, judge)]).double().cpu().numpy()


def _all(source: Source, count: int) -> tuple[Tensor, Tensor]:
    parts = list(all_batches(source, 256, count=count))
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def _batches(images: Tensor, judge: ScenesClassifier) -> list[Tensor]:
    device = next(judge.parameters()).device
    return [as_floats(batch.to(device)) for batch in images.split(256)]
