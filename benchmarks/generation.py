"""Whether generated scenes show what was asked for, and how much they look like real ones.

    python benchmarks/generation.py --model scenes-64 --count 1600 --grid grid.png
    python benchmarks/generation.py --count 320 --guidance 1 2 3 --steps 8 16

All 16 labels in turn. The share in which the judge sees the object that was asked for, in all and by label, and that in
which the strict judge does, which has seen sharp scenes only; the Fréchet distance, in the judge's embedding, from
unseen real scenes; the nearest two of 64 images (in any group of 64), by the root mean square of their pixels'
difference (0 to 1) and by the distance of their embeddings; seconds an image. The row "real" says what other unseen
scenes, as many, get. (A Fréchet distance falls with the number of images: compare only rows of the same --count and
--real.) Each sampling setting may be given several values: all of their combinations are measured. Without any, the
model's own defaults.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judging import SIZE, STRICT, UNSEEN, answers, embeddings, load_judge, real_images
from numpy.typing import NDArray
from tables import add_record, record, show
from torch import Tensor

from bigr_cli.core.config import SamplingConfig
from bigr_cli.data import scenes
from bigr_cli.data.loading import as_floats
from bigr_cli.editing.generate import plan
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.imaging.arrays import to_images
from bigr_cli.imaging.montage import grid
from bigr_cli.model import Model, load
from bigr_cli.progress import progress_bar

GROUP = 64  # no two of so many should be alike
ROWS = 8


def draw(
    model: Model, count: int, settings: SamplingConfig, *, seed: int, batch_size: int | None
) -> tuple[Tensor, Tensor, float]:
    """`count` images (N, 3, H, W) uint8 of the labels in turn, the labels' numbers (N,), seconds an image."""
    numbers = torch.arange(count) % len(scenes.LABELS)
    jobs = plan(model.config, [scenes.LABELS[number] for number in numbers.tolist()], seed=seed)
    pixels, seconds = [], 0.0
    with progress_bar(count, "drawing") as bar:
        for made in model.make(jobs, settings, batch_size=batch_size):
            pixels.append(torch.from_numpy(np.array(made.image)).permute(2, 0, 1))
            seconds += made.seconds
            bar.advance()
    return torch.stack(pixels), numbers, seconds / count


@cache
def reference(count: int, device: str) -> NDArray[np.float64]:
    """The embeddings of unseen scenes."""
    return embeddings(real_images(count)[0], load_judge(device))


def judged(images: Tensor, numbers: Tensor, *, real: int, device: str) -> dict[str, Any]:
    """What is measured of images (N, 3, H, W) uint8 that should show these labels (N,)."""
    judge = load_judge(device)
    embedded = embeddings(images, judge)
    right, strictly = (
        (answers(images, each)["object"] == numbers).double() for each in (judge, load_judge(device, STRICT))
    )
    pixel, feature = nearest_pair(images, torch.from_numpy(embedded))
    return {
        "recognised_%": 100 * float(right.mean()),
        "strict_%": 100 * float(strictly.mean()),
        "frechet": frechet_distance(embedded, reference(real, device)),
        "nearest_pixels": pixel,
        "nearest_embedding": feature,
        "by_label": _by_label(right, numbers),
        "strict_by_label": _by_label(strictly, numbers),
    }


def _by_label(right: Tensor, numbers: Tensor) -> dict[str, float]:
    """The share of each label that there is, in %."""
    return {
        label: round(100 * float(right[numbers == number].mean()), 1)
        for number, label in enumerate(scenes.LABELS)
        if bool((numbers == number).any())
    }


def nearest_pair(images: Tensor, embedded: Tensor) -> tuple[float, float]:
    """The least distance between two images of a group of 64, over all whole groups: by pixels, by embedding."""
    whole = max(GROUP, len(images) // GROUP * GROUP)  # what is left over would be compared with fewer
    flat = as_floats(images[:whole]).flatten(1)
    pixels = [float(torch.pdist(group).min()) for group in flat.split(GROUP)]
    features = [float(torch.pdist(group).min()) for group in embedded[:whole].split(GROUP)]
    return min(pixels) / flat.shape[1] ** 0.5, min(features)


def real_row(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """What unseen scenes get that are not those of the reference."""
    images, numbers = real_images(options.count, start=UNSEEN + options.real)
    return judged(images, numbers, real=options.real, device=device)


def add_common(parser: argparse.ArgumentParser, *, count: int) -> None:
    """The options that this script and presets.py share."""
    parser.add_argument("--model", help="name or folder of a model, or a run of train-generator; or the default model")
    parser.add_argument("--count", type=int, default=count, help=f"images a row (default {count})")
    parser.add_argument("--real", type=int, default=4096, help="real scenes to compare with (default 4096)")
    parser.add_argument("--seed", type=int, default=0, help="of the first image (default 0)")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")


def add_sampling(parser: argparse.ArgumentParser, leave_out: Sequence[str] = ()) -> None:
    """An option for each setting of the sampler, with any number of values."""
    for setting in fields(SamplingConfig):
        if setting.name not in leave_out:
            kind = _interval if setting.name == "guidance_interval" else type(setting.default)
            parser.add_argument("--" + setting.name.replace("_", "-"), nargs="+", type=kind, metavar="VALUE")


def combinations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All combinations of the values that were given for the sampler's settings."""
    names = [setting.name for setting in fields(SamplingConfig) if getattr(options, setting.name, None)]
    given: dict[str, list[Any]] = {name: getattr(options, name) for name in names}
    return [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]


def open_model(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Model:
    """The model to be measured; ends the program if its images are not what the judge reads."""
    model = load(options.model, device=options.device, dtype=options.dtype)
    if model.config.image_size != SIZE:
        parser.error(f"the judge reads images of {SIZE} pixels; {model.config.name} has {model.config.image_size}")
    if options.count < 2 or options.real < 2:
        parser.error("--count and --real: expected at least 2")
    return model


def _interval(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> None:
    """Draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common(parser, count=1600)
    add_sampling(parser)
    parser.add_argument("--grid", type=Path, help=f"write a sheet, {ROWS} of each label, to this file (first row only)")
    add_record(parser)
    options = parser.parse_args()
    model = open_model(parser, options)
    device, rows = str(model.device), []
    for number, values in enumerate(combinations(options)):
        settings = model.settings(**values)
        images, labels, seconds = draw(model, options.count, settings, seed=options.seed, batch_size=options.batch_size)
        if options.grid and number == 0:
            sheet = grid(to_images(as_floats(images[: ROWS * len(scenes.LABELS)])), columns=len(scenes.LABELS))
            sheet.save(options.grid)
        named = {"images": model.config.name, **values} if values else {"images": model.config.name}
        row = named | judged(images, labels, real=options.real, device=device) | {"seconds": seconds}
        rows.append(row)
        if options.json:
            show([row], as_json=True)
    named = {"recognised_%": "label_recognised", "frechet": "frechet", "by_label": "by_label"}
    record(options.record, {"images": options.count} | {there: rows[0][here] for here, there in named.items()})
    rows.append({"images": "real"} | real_row(options, device))
    if options.json:
        show(rows[-1:], as_json=True)
        return
    show([{name: value for name, value in row.items() if not name.endswith("by_label")} for row in rows])
    for title, name in (("recognised_%", "by_label"), ("strict_%", "strict_by_label")):
        print()
        show([{title: row["images"], **row[name]} for row in rows])


if __name__ == "__main__":
    main()
