"""report.html in a training's folder: the plan, curves, samples, reconstructions; it needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from bigr_cli.evaluation.plots import lines
from bigr_cli.files import whole_file, writing
from bigr_cli.pages import Shown, rendered, shown

PAGE = "report.html"
NEAREST = "nearest.png"

_CURVES = {
    "tokenizer": (("psnr", "PSNR in dB ↑", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
    "generator": (("loss", "loss ↓", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
}
_SHEETS = (
    ("Samples", "generator", "the first classes or captions in turn, always with the same seeds"),
    ("Reconstructions", "tokenizer", "held-out images in one row, their reconstructions in the row below"),
)
_REFRESH = 60  # seconds


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
    found = {stage: [_curve(folder / stage / "metrics.jsonl", *curve) for curve in _CURVES[stage]] for stage in _CURVES}
    curves = [(stage.capitalize(), drawn) for stage, several in found.items() if (drawn := list(filter(None, several)))]
    page = rendered(
        "training.html",
        title=name,
        plan="\n".join(plan),
        notes=notes,
        sheets=sheets,
        curves=curves,
        refresh=_REFRESH,
    )
    with writing(folder / PAGE), whole_file(folder / PAGE) as hidden:
        hidden.write_text(page, encoding="utf-8")


def _shown(path: Path, caption: str) -> Shown:
    with Image.open(path) as image:
        return shown(caption, image)


def _curve(metrics: Path, key: str, label: str, what: str, kind: str) -> tuple[str, str] | None:
    """The caption and the SVG of a value over the steps; None without two of them."""
    points = []
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else ():
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut off
            record = json.loads(line)
            if record["kind"] == kind and isinstance(record[key], int | float):
                points.append((int(record["step"]), float(record[key])))
    if len(points) < 2:
        return None
    steps, values = zip(*points, strict=True)
    return f"{label}, {what}", lines({what: (steps, values)}, x="step", y=label, marker="" if len(points) > 50 else "o")
