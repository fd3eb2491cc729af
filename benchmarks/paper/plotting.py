"""Plots of a comparison: means as points, with the spread over the repeats as bars."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from bigr_cli.files import atomic_write

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: `y` of the repeats over `x`, which is a row's name or number, or also of the repeats.

    Rows that have the same `group` are joined by a line, and `label` is written beside them.
    """

    x: str
    y: str
    title: str
    across: str
    label: str = ""
    group: str = ""
    joined: bool = True
    logarithmic: bool = False


def write_plot(path: Path, rows: Sequence[Row], panels: Sequence[Panel]) -> None:
    """Draw the panels beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(every, panels, strict=True):
        _draw(axes, rows, panel)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    with atomic_write(path) as temporary, Image.open(stream) as image:
        image.convert("RGB").quantize(64).save(temporary, format="png", optimize=True)


def _draw(axes: Any, rows: Sequence[Row], panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    groups: dict[str, list[Row]] = {}
    for row in rows:
        value = row.get(panel.group, "")
        groups.setdefault(value if isinstance(value, str) else f"{panel.group} {value}", []).append(row)
    for name, members in groups.items():
        places = [(*_point(row, panel.x), *_point(row, panel.y), row) for row in members if _has(row, panel.y)]
        if not places:
            continue
        across, wide, up, high, shown = zip(*places, strict=True)
        style = "o-" if panel.joined else "o"
        bars = {"yerr": high, "xerr": wide if any(wide) else None}
        axes.errorbar(across, up, fmt=style, markersize=4, capsize=3, linewidth=1.2, label=name or None, **bars)
        for row, x, y in zip(shown, across, up, strict=True) if panel.label else ():
            axes.annotate(str(row[panel.label]), (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8)
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.15)
    elif panel.label:
        axes.margins(x=0.25)
    axes.set(title=panel.title, xlabel=panel.across)
    axes.tick_params(axis="x", labelrotation=30 if isinstance(rows[0].get(panel.x), str) else 0)
    axes.grid(alpha=0.25)
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8)


def _has(row: Row, key: str) -> bool:
    return key in row or any(key in repeat for repeat in row["repeats"])


def _point(row: Row, key: str) -> tuple[Any, float]:
    """Where a row is, and how far its repeats are spread around that."""
    if key in row:
        return row[key], 0.0
    values = [repeat[key] for repeat in row["repeats"] if key in repeat]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
