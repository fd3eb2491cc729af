"""report.html of a training, and how near its samples are to images that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli import console
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import Source
from bigr_cli.evaluation.report import lines
from bigr_cli.files import atomic_write, writing
from bigr_cli.pages import Shown, rendered, shown
from bigr_cli.training.reports import metrics

_BATCH = 64
_MOST = 20_000  # training images that are compared
_NEAR_SHARE = 0.05  # of the held-out images that are nearer to a training image than the limit

PAGE = "report.html"
_CURVES = {
    "tokenizer": (("psnr", "PSNR in dB ↑", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
    "generator": (("loss", "loss ↓", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
}
_SHEETS = (
    ("Samples", "generator", "the first classes or captions in turn, always with the same seeds"),
    ("Reconstructions", "tokenizer", "held-out images in one row, their reconstructions in the row below"),
)
_REFRESH = 60  # seconds


@dataclass(frozen=True)
class Nearest:
    """Of each sample the number of its nearest training image, and their root mean squared distance, 0 to 1.

    `limit` is the distance below which a twentieth of the held-out images are to theirs.
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float64]
    limit: float
    compared: int

    @property
    def share(self) -> float:
        """Of samples that are nearly training images."""
        return float((self.distances < self.limit).mean())

    def line(self) -> str:
        """For a person to read."""
        near, total = int((self.distances < self.limit).sum()), len(self.distances)
        return (
            f"{near} of {total} samples are nearer to a training image than 19 of 20 held-out images are "
            f"({self.compared:,} training images compared)"
        )


def nearest(samples: Tensor, held_out: Tensor, training: Source) -> Nearest:
    """Compare samples (N, 3, S, S) and held-out images (M, 3, S, S), both in [0, 1], with training images.

    Images are compared as they are, and mirrored; small shifts count as differences.
    """
    count = min(len(training), _MOST)
    both = torch.cat([samples, held_out]).flatten(1)
    best = torch.full((len(both),), torch.inf)
    places = torch.zeros(len(both), dtype=torch.int64)
    with console.progress(count, "comparing samples with training images") as bar:
        done = 0
        for batch in all_batches(training, _BATCH, count=count):
            images = as_floats(batch.images)
            for flat in (images.flatten(1), images.flip(3).flatten(1)):
                distances = torch.cdist(both, flat)
                least, where = distances.min(dim=1)
                places = torch.where(least < best, where + done, places)
                best = torch.minimum(best, least)
            done += len(images)
            bar.advance(len(images))
    found = (best / both.shape[1] ** 0.5).double().numpy()
    limit = float(np.quantile(found[len(samples) :], _NEAR_SHARE))
    return Nearest(places[: len(samples)].numpy(), found[: len(samples)], limit, count)


def write_pairs(path: Path, samples: Tensor, training: Source, found: Nearest) -> None:
    """A sheet: samples in one row, the nearest training image of each in the row below. OSError if that cannot be."""
    from bigr_cli.imaging.arrays import to_images
    from bigr_cli.imaging.montage import grid

    def rows() -> Iterator[Tensor]:
        theirs = np.stack([training.image(int(place)).pixels for place in found.places])
        given = as_floats(torch.from_numpy(theirs).permute(0, 3, 1, 2))
        for mine, nearest_to in zip(samples.split(8), given.split(8), strict=True):
            yield from (mine, nearest_to)

    sheet = grid(to_images(torch.cat(list(rows()))), columns=8)
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


NEAREST = "nearest.png"


def write_page(folder: Path, name: str, plan: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write the page anew from what the stages' folders hold.

    Args:
        plan: in lines.
        notes: what was found at the end.

    Raises:
        RunError: it cannot be written.
    """
    sheets = []
    for title, stage, caption in _SHEETS:
        newest = max((folder / stage / "samples").glob("step-*.png"), default=None)
        if newest is not None:
            step = int(newest.stem.removeprefix("step-"))
            sheets.append((title, _shown(newest, f"{caption}; after {step:,} steps")))
    if (folder / NEAREST).is_file():
        caption = "samples in one row, the nearest training image of each in the row below"
        sheets.append(("Nearest training images", _shown(folder / NEAREST, caption)))
    found = {stage: [_curve(folder / stage, *curve) for curve in _CURVES[stage]] for stage in _CURVES}
    curves = [
        (stage.capitalize(), plotted) for stage, several in found.items() if (plotted := list(filter(None, several)))
    ]
    page = rendered(
        "training.html",
        title=name,
        plan="\n".join(plan),
        notes=notes,
        sheets=sheets,
        curves=curves,
        refresh=_REFRESH,
    )
    with writing(folder / PAGE), atomic_write(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(path: Path, caption: str) -> Shown:
    with Image.open(path) as image:
        return shown(caption, image)


def _curve(run: Path, key: str, label: str, what: str, kind: str) -> tuple[str, str] | None:
    """The caption and the SVG of a value over the steps; None without two of them."""
    points = [
        (record["step"], record[key]) for record in metrics(run, kind) if isinstance(record.get(key), int | float)
    ]
    if len(points) < 2:
        return None
    steps, values = zip(*points, strict=True)
    return f"{label}, {what}", lines({what: (steps, values)}, x="step", y=label, marker="" if len(points) > 50 else "o")
