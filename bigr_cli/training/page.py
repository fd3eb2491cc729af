"""report.html in a training's folder: the plan, curves, samples, reconstructions; it needs nothing but itself."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bigr_cli.errors import RunError
from bigr_cli.files import whole_file

PAGE = "report.html"
NEAREST = "nearest.png"

_WIDTH, _HEIGHT, _LEFT, _BELOW = 420, 170, 52, 22  # of a curve, in pixels, and the room for its numbers
_CURVES = {
    "tokenizer": (("psnr", "PSNR of held-out images, dB", "validation"), ("loss", "loss", "train")),
    "generator": (("loss", "loss on held-out images", "validation"), ("loss", "loss", "train")),
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; } h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
figure { display: inline-block; margin: .5rem 1.5rem .5rem 0; vertical-align: top; }
figcaption { color: #666; font-size: .9rem; } img { min-width: 24rem; max-width: 100%; image-rendering: pixelated; }
polyline { fill: none; stroke: #2a6f97; stroke-width: 1.5; } text { font-size: 11px; fill: #666; }
line { stroke: #ddd; } pre { background: #f5f5f5; padding: .6rem .8rem; overflow-x: auto; font-size: .85rem; }
"""


def write_page(folder: Path, name: str, lines: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write the page anew from what the stages' folders hold.

    Args:
        lines: the plan.
        notes: what was found at the end.

    Raises:
        RunError: it cannot be written.
    """
    parts = [f"<h1>{html.escape(name)}</h1>", f"<pre>{html.escape(chr(10).join(lines))}</pre>"]
    if notes:
        parts.append("<h2>At the end</h2>" + "".join(f"<p>{html.escape(note)}</p>" for note in notes))
    for title, stage, caption in (
        ("Samples", "generator", "the first classes or captions in turn, always with the same seeds"),
        ("Reconstructions", "tokenizer", "held-out images in one row, what came back in the row below"),
    ):
        newest = max((folder / stage / "samples").glob("step-*.png"), default=None)
        if newest is not None:
            step = int(newest.stem.removeprefix("step-"))
            parts.append(f"<h2>{title}</h2>{_figure(newest, f'{caption}; after {step:,} steps')}")
    if (folder / NEAREST).is_file():
        caption = "samples in one row, the nearest training image of each in the row below"
        parts.append(f"<h2>Nearest training images</h2>{_figure(folder / NEAREST, caption)}")
    for stage, curves in _CURVES.items():
        drawn = [_curve(folder / stage / "metrics.jsonl", *curve) for curve in curves]
        if any(drawn):
            parts.append(f"<h2>{stage.capitalize()}</h2>{''.join(drawn)}")
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
    page = f'{head}<meta http-equiv="refresh" content="60"><style>{_STYLE}</style>{"".join(parts)}</html>\n'
    try:
        with whole_file(folder / PAGE) as hidden:
            hidden.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder / PAGE}: cannot be written: {error.strerror or error}") from error


def _figure(image: Path, caption: str) -> str:
    data = base64.b64encode(image.read_bytes()).decode()
    shown = f'<img src="data:image/png;base64,{data}" alt="">'
    return f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _curve(metrics: Path, key: str, caption: str, kind: str) -> str:
    """An SVG of a value over the steps; empty without two of them."""
    points = []
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else ():
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut off
            record = json.loads(line)
            if record["kind"] == kind and isinstance(record[key], int | float):
                points.append((int(record["step"]), float(record[key])))
    if len(points) < 2:
        return ""
    steps, values = zip(*points, strict=True)
    low, high, first, last = min(values), max(values), min(steps), max(steps)

    def place(step: int, value: float) -> str:
        x = _LEFT + (step - first) / max(1, last - first) * (_WIDTH - _LEFT - 8)
        y = 8 + (high - value) / max(high - low, 1e-12) * (_HEIGHT - _BELOW - 16)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, value) for step, value in points)
    bottom = _HEIGHT - _BELOW
    axis = f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{bottom}" y2="{bottom}"/>'
    numbers = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in (
            (_LEFT - 6, 14, "end", f"{high:.3g}"),
            (_LEFT - 6, bottom - 4, "end", f"{low:.3g}"),
            (_LEFT, _HEIGHT - 6, "start", f"{first:,}"),
            (_WIDTH, _HEIGHT - 6, "end", f"{last:,} steps"),
        )
    )
    shown = f'<svg width="{_WIDTH}" height="{_HEIGHT}">{axis}<polyline points="{line}"/>{numbers}</svg>'
    return f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"
