"""Plots as SVG, by matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli.errors import UsageError
from bigr_cli.imaging.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Line = tuple[Sequence[float], Sequence[float]]

_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bigr",  # the same plot is the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_SIZE = (6.0, 3.6)  # inches
_LETTERS = 70  # of a line of the legend
_COLOURS, _MARKERS = 10, "os^Dv"

KINDS = (".svg", ".png")


def lines(series: Mapping[str, Line], *, x: str, y: str, names: Sequence[str] = (), marker: str = "o") -> str:
    """Lines with a dot at each value, one for each name; `names` are those of the values 0, 1, … along x."""

    def draw(axes: Axes) -> None:
        for name, (across, up) in series.items():
            axes.plot(across, up, marker=marker, label=name)
        if names:
            axes.set_xticks(range(len(names)), names)

    return _svg(draw, x, y)


def dots(places: Line, names: Sequence[str], *, x: str, y: str) -> str:
    """A dot at each place, with its name in the legend."""

    def draw(axes: Axes) -> None:
        for number, (name, across, up) in enumerate(zip(names, *places, strict=True)):
            marker = _MARKERS[number // _COLOURS % len(_MARKERS)]
            axes.plot(across, up, marker=marker, linestyle="none", color=f"C{number % _COLOURS}", label=name)
        axes.margins(0.1)

    return _svg(draw, x, y, beside=True)


def histogram(series: Mapping[str, Sequence[float]], *, x: str, y: str, bins: int = 40) -> str:
    """How values are spread, an outline for each name."""

    def draw(axes: Axes) -> None:
        together = [value for values in series.values() for value in values]
        edges = (min(together), max(together) + 1e-9)
        for name, values in series.items():
            axes.hist(list(values), bins=bins, range=edges, histtype="stepfilled", alpha=0.5, label=name)
        axes.locator_params(axis="y", integer=True)

    return _svg(draw, x, y)


def bars(series: Mapping[str, Sequence[float]], *, x: str, y: str, limit: float | None = None) -> str:
    """A step for each number of a row, one row of them for each name; `limit` is a line across."""

    def draw(axes: Axes) -> None:
        for name, values in series.items():
            axes.step(range(len(values)), list(values), where="mid", label=name)
        if limit is not None:
            axes.axhline(limit, color="#888888", linewidth=1, linestyle="--")

    return _svg(draw, x, y)


def _svg(draw: Any, x: str, y: str, *, beside: bool = False) -> str:
    """The plot, with a legend outside of it where there are several names."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) > 1:
            columns = 1 if beside else max(1, _LETTERS // (max(map(len, labels)) + 4))
            figure.legend(handles, labels, loc="outside right upper" if beside else "outside upper left", ncols=columns)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    # What stands before the element names addresses on the network, and has no place inside a page.
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)


def check_plot(path: Path) -> None:
    """Raise UsageError unless a plot can have this name."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: expected a name that ends with {' or '.join(KINDS)}")


def write_layer_plot(
    path: Path,
    curves: Mapping[str, Sequence[float]],
    baselines: Mapping[str, float],
    *,
    best: int,
    title: str,
    overwrite: bool = False,
) -> None:
    """Draw shares of right answers by layer; the same numbers give the same file.

    Args:
        curves: by name, one number from 0 to 1 for each layer.
        baselines: by name, what has no layers.
        best: the layer that is marked, on the first curve.

    Raises:
        UsageError: as `check_plot`, or there is something at `path`.
        RunError: it cannot be written.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, (name, shares) in enumerate(curves.items()):
        percent = [100 * share for share in shares]
        axes.plot(range(len(shares)), percent, "o--" if index else "o-", markersize=4, color="C0", label=name)
    first = next(iter(curves.values()))
    axes.plot(best, 100 * first[best], "o", markersize=10, markerfacecolor="none", color="C0")
    for index, (name, share) in enumerate(baselines.items(), start=1):
        axes.axhline(100 * share, color=f"C{index}", linewidth=1.2, linestyle=":", label=f"{name}, {100 * share:.1f} %")
    axes.set(xlabel="block of the generator", ylabel="accuracy (%) ↑", title=title, ylim=(0, None))
    axes.set_xticks(range(len(first)))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    stream = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    with rc_context({"svg.hashsalt": "bigr"}):  # otherwise the names inside an SVG are drawn by lot
        figure.savefig(stream, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {})
    write_bytes(path, stream.getvalue(), overwrite=overwrite)
