"""How the time of a draw grows with tokens, iterations, timesteps and images, beside what its operations say.

    python benchmarks/costs.py --plot docs/images/costs.png

A generator with random weights, on one thread: 6 blocks of width 256, a transcoder of width 256, 24 bits. One quantity
is varied, the others stay as the table says. Time is that of the processor, so that other programs have little say in
it; each point is the fastest of several draws. An exponent is the slope of a straight line through the logarithms; the
expected one is that of the same line through the operations, which torch counts. `constant` is what a straight line
through the times themselves leaves at zero, as a share of the largest point, and what the operations say of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tables import show

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.runtime.meter import TRANSCODER, TRANSFORMER, Meter, operations

WHOLE = "whole draw"
SIZES = GeneratorConfig(grid=8, bits=24, classes=16, layers=6, heads=8, dim=256, ffn_multiple=64, transcoder_width=256)
SETTINGS = SamplingConfig(steps=4, timesteps=10, guidance=2.0)
Series = dict[str, list[float]]


@dataclass(frozen=True)
class Point:
    """What is drawn."""

    grid: int = 8
    steps: int = SETTINGS.steps
    timesteps: int = SETTINGS.timesteps
    batch: int = 1


def curves() -> dict[str, dict[int, Point]]:
    """The points of each curve, by the number along its axis."""
    return {
        "tokens": {grid * grid: Point(grid) for grid in (8, 11, 16, 23, 32)},
        "iterations": {steps: Point(steps=steps, grid=16) for steps in (4, 8, 16, 32, 64)},
        "timesteps": {timesteps: Point(timesteps=timesteps, grid=16) for timesteps in (4, 8, 16, 32, 64)},
        "images at once": {batch: Point(batch=batch) for batch in (1, 2, 4, 8, 16, 32)},
    }


def measured(point: Point, repeats: int) -> tuple[dict[str, float], dict[str, int]]:
    """Processor seconds of the two networks and of the whole draw, and operations likewise."""
    torch.manual_seed(0)
    config = replace(SIZES, grid=point.grid)
    generator = Generator(config).eval().requires_grad_(False)
    settings = replace(SETTINGS, steps=point.steps, timesteps=point.timesteps)
    labels, seeds = torch.zeros(point.batch, dtype=torch.int64), torch.arange(point.batch)
    image, token = operations(config)
    best: dict[str, float] = {}
    for _ in range(repeats):
        meter = Meter(torch.device("cpu"), clock=time.process_time)
        with meter.attached(generator):
            start = time.process_time()
            sample(generator, labels, seeds, settings)
            found = {**meter.seconds, WHOLE: time.process_time() - start}
        best = {part: min(seconds, best.get(part, seconds)) for part, seconds in found.items()}
    counted = {TRANSFORMER: image * meter.rows[TRANSFORMER], TRANSCODER: token * meter.rows[TRANSCODER]}
    return best, counted | {WHOLE: sum(counted.values())}


def exponent(along: Sequence[float], values: Sequence[float]) -> float:
    """The power of x that values grow with: the slope of their logarithms, to two decimals."""
    return round(float(np.polyfit(np.log(along), np.log(values), 1)[0]), 2) + 0.0  # no -0.0


def constant(along: Sequence[float], values: Sequence[float]) -> float:
    """What a straight line through the values has at zero, as a share of the last of them."""
    return round(float(np.polyfit(along, values, 1)[1] / values[-1]), 2) + 0.0


def rows(name: str, along: list[float], seconds: Series, counted: Series) -> list[dict[str, object]]:
    """A row of the table for each part."""
    found = []
    for part in (WHOLE, TRANSFORMER, TRANSCODER):
        ends: dict[str, object] = {"first ms": 1e3 * seconds[part][0], "last ms": 1e3 * seconds[part][-1]}
        powers = {"exponent": exponent(along, seconds[part]), "expected": exponent(along, counted[part])}
        left = {"constant": constant(along, seconds[part]), "expected constant": constant(along, counted[part])}
        if name == "tokens":  # attention bends it: a straight line through it means nothing
            left = {}
        found.append({"along": f"{name} {along[0]:g} to {along[-1]:g}", "part": part, **ends, **powers, **left})
    return found


def plot(path: Path, curves: dict[str, tuple[list[float], Series, Series]]) -> None:
    """A panel for each curve: dots are what was measured, lines what the operations say, through the last dot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, (along, seconds, counted)) in zip(figure.subplots(2, 2).flat, curves.items(), strict=True):
        for part in (WHOLE, TRANSFORMER, TRANSCODER):
            (dots,) = axes.loglog(along, seconds[part], "o", label=f"{part}: {exponent(along, seconds[part]):.2f}")
            rate = seconds[part][-1] / counted[part][-1]
            axes.loglog(along, [rate * each for each in counted[part]], "-", color=dots.get_color(), alpha=0.6)
        axes.set_xticks(along, [f"{each:g}" for each in along])
        axes.minorticks_off()
        axes.set_xlabel(name)
        axes.set_ylabel("processor seconds")
        axes.grid(color="#e6e6e6")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, title="measured exponent", fontsize=9, title_fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves too: .png, .svg or .pdf")
    parser.add_argument("--repeats", type=int, default=3, help="draws at each point (default 3)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured(Point(), 1)  # the first time, libraries set themselves up
    table: list[dict[str, object]] = []
    shown: dict[str, tuple[list[float], Series, Series]] = {}
    for name, points in curves().items():
        seconds, counted = Series(), Series()
        for point in points.values():
            took, operated = measured(point, options.repeats)
            for part, value in took.items():
                seconds.setdefault(part, []).append(value)
            for part, count in operated.items():
                counted.setdefault(part, []).append(count)
        along = [float(each) for each in points]
        table += rows(name, along, seconds, counted)
        shown[name] = along, seconds, counted
    show(table, as_json=options.json)
    if options.plot:
        plot(options.plot, shown)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)


if __name__ == "__main__":
    main()
