"""A report: a page that needs nothing but itself, its plots as SVG, a table in Markdown and CSV, and all as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.files import check_writable, writing
from bigr_cli.folders import whole_directory
from bigr_cli.imaging.files import check_targets, existing
from bigr_cli.pages import rendered, shown
from bigr_cli.plain_text import in_markdown
from bigr_cli.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE, TABLE, VALUES, RESULTS = "index.html", "table.md", "table.csv", "results.json"
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


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; `best` are the places (row, column) that stand out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [[in_markdown(column) for column in self.columns], ["---"] * len(self.columns)]
        for r, row in enumerate(self.rows):
            cells = map(in_markdown, row)
            lines.append([f"**{cell}**" if (r, c) in self.best else cell for c, cell in enumerate(cells)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def csv(self) -> str:
        """As spreadsheets read it."""
        stream = io.StringIO()
        csv.writer(stream).writerows([self.columns, *self.rows])
        return stream.getvalue()


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title, summary: its heading and the line below.
        table: the figures.
        facts: what they depend on, a name and a text each.
        results: all of it as JSON holds it.
        plots: SVG by file name (without the suffix) with a caption: name → (caption, svg).
        images: a caption and an image each.
        command: what makes it again.
    """

    title: str
    summary: str
    table: Table
    facts: Sequence[tuple[str, str]]
    results: Any
    plots: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    images: Sequence[tuple[str, Image.Image]] = ()
    command: str = ""


def check_report_folder(folder: Path, *, overwrite: bool) -> Path:
    """The folder, if a report can come to be there.

    Raises:
        UsageError: it holds a report that must not be replaced, or files but no report.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not _is_report(folder):
            raise UsageError(f"{folder}: is a folder of something else than a report, and stays as it is")
        if not overwrite:
            raise existing(folder)
    elif not folder.is_dir():
        check_targets([folder], overwrite=False)
    check_writable(Path(os.path.realpath(folder)).parent)
    return folder


def write_report(folder: Path, report: Report, *, overwrite: bool = False) -> None:
    """Write it, whole or not at all. Of an earlier report its own files are replaced, all others in the folder stay.

    Raises:
        UsageError: as `check_report_folder`.
        RunError: it cannot be written.
    """
    check_report_folder(folder, overwrite=overwrite)
    with writing(folder):
        own = _own_files(folder)
        with whole_directory(folder, own) as temporary:
            (temporary / PAGE).write_text(page(report), encoding="utf-8")
            (temporary / TABLE).write_text(_markdown(report), encoding="utf-8")
            (temporary / VALUES).write_text(report.table.csv(), encoding="utf-8", newline="")
            (temporary / RESULTS).write_text(json.dumps(report.results, indent=2) + "\n", encoding="utf-8")
            for name, (_, svg) in report.plots.items():
                if f"{name}.svg" not in own and (folder / f"{name}.svg").exists():
                    console.warn(
                        f"{folder / name}.svg: is no plot of the earlier report and stays; the page has the new one"
                    )
                else:
                    (temporary / f"{name}.svg").write_text(svg, encoding="utf-8")


def _is_report(folder: Path) -> bool:
    """Whether a folder holds what `write_report` makes."""
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(results, dict) and {"command", "records"} <= results.keys() and (folder / PAGE).is_file()


def _own_files(folder: Path) -> list[str]:
    """The files of the report in a folder; of the drawings there those alone that its page shows."""
    try:
        before = (folder / PAGE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        before = ""
    drawings = [path for path in folder.glob("*.svg") if path.is_file()] if before else []
    names = [path.name for path in drawings if (text := _text_of(path)) and text in before]
    return [PAGE, TABLE, VALUES, RESULTS, *names]


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def page(report: Report) -> str:
    """The whole page as HTML: it refers to no other file and no address."""
    return rendered(
        "report.html",
        title=report.title,
        report=report,
        images=[shown(caption, image) for caption, image in report.images],
        results=json.dumps(report.results, indent=2),
        refresh=0,
    )


def made_by() -> str:
    """The package and its version, for a summary."""
    return f"bigr-cli {__version__}"


def _markdown(report: Report) -> str:
    facts = "\n".join(f"- {in_markdown(name)}: {in_markdown(text)}" for name, text in report.facts)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", report.command)), 3)
    command = f"\n{fence}\n{report.command}\n{fence}\n" if report.command else ""
    return f"# {in_markdown(report.title)}\n\n{report.table.markdown()}\n{facts}\n{command}"


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


def histogram(series: Mapping[str, Sequence[float]], *, x: str, y: str) -> str:
    """How values are spread, an outline for each name."""

    def draw(axes: Axes) -> None:
        together = [value for values in series.values() for value in values]
        edges = (min(together), max(together) + 1e-9)
        for name, values in series.items():
            axes.hist(list(values), bins=40, range=edges, histtype="stepfilled", alpha=0.5, label=name)
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
