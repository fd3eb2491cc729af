"""A report: a page that needs nothing but itself, its plots as files, a table in Markdown, and all results as JSON."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from bigr_cli import console
from bigr_cli.errors import RunError, UsageError
from bigr_cli.evaluation.plots import require_matplotlib
from bigr_cli.files import check_writable, whole_directory
from bigr_cli.imaging.files import check_targets, existing
from bigr_cli.plain_text import in_markdown
from bigr_cli.version import __version__

PAGE, TABLE, RESULTS = "index.html", "table.md", "results.json"
_SMALLEST = 900  # pixels that a sheet is enlarged to, at least nearly

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #e6e6e6; vertical-align: top; }
th { font-weight: 600; } .facts th { white-space: nowrap; font-weight: 400; color: #666; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0 1.5rem; }
figure { margin: 1rem 0; } figcaption { color: #666; font-size: .9rem; }
svg { max-width: 100%; height: auto; } img { max-width: 100%; image-rendering: pixelated; }
pre { background: #f5f5f5; padding: .6rem .8rem; overflow-x: auto; font-size: .85rem; } .best { font-weight: 700; }
p.when { color: #666; margin-top: .2rem; }
"""


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


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title, summary: its heading and the line below.
        table: the figures.
        facts: what they depend on, a name and a text each.
        results: all of it as JSON holds it.
        plots: SVG by file name (without the suffix) with a caption: name → (caption, svg).
        pictures: a caption and a picture each.
        command: what makes it again.
    """

    title: str
    summary: str
    table: Table
    facts: Sequence[tuple[str, str]]
    results: Any
    plots: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pictures: Sequence[tuple[str, Image.Image]] = ()
    command: str = ""


def check_report_folder(folder: Path, *, overwrite: bool) -> Path:
    """The folder, if a report can come to be there.

    Raises:
        UsageError: it holds a report that must not be replaced, or files but no report; no matplotlib.
    """
    require_matplotlib("a report")
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
    try:
        own = _own_files(folder)
        with whole_directory(folder, own) as hidden:
            (hidden / PAGE).write_text(page(report), encoding="utf-8")
            (hidden / TABLE).write_text(_markdown(report), encoding="utf-8")
            (hidden / RESULTS).write_text(json.dumps(report.results, indent=2) + "\n", encoding="utf-8")
            for name, (_, svg) in report.plots.items():
                if f"{name}.svg" not in own and (folder / f"{name}.svg").exists():
                    console.warn(
                        f"{folder / name}.svg: is no plot of the earlier report and stays; the page has the new one"
                    )
                else:
                    (hidden / f"{name}.svg").write_text(svg, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error


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
        shown = (folder / PAGE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        shown = ""
    drawings = [path for path in folder.glob("*.svg") if path.is_file()] if shown else []
    return [PAGE, TABLE, RESULTS, *(path.name for path in drawings if (text := _text_of(path)) and text in shown)]


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def page(report: Report) -> str:
    """The whole page as HTML: it refers to no other file and no address."""
    parts = [
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="when">{_text(report.summary)}</p>',
        _table(report.table),
        '<div class="plots">',
        *(f"<figure>{svg}<figcaption>{_text(caption)}</figcaption></figure>" for caption, svg in report.plots.values()),
        "</div>",
        *(_picture(caption, image) for caption, image in report.pictures),
        "<h2>What the figures depend on</h2>",
        _facts(report.facts),
    ]
    if report.command:
        parts += ["<h2>To make it again</h2>", f"<pre>{_text(report.command)}</pre>"]
    parts += ["<h2>All results</h2>", f"<details><summary>{RESULTS}</summary>"]
    parts += [f"<pre>{_text(json.dumps(report.results, indent=2))}</pre></details>"]
    title = f"<title>{_text(report.title)}</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}<style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def made_by() -> str:
    """The package and its version, for a summary."""
    return f"bigr-cli {__version__}"


def _markdown(report: Report) -> str:
    facts = "\n".join(f"- {in_markdown(name)}: {in_markdown(text)}" for name, text in report.facts)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", report.command)), 3)
    command = f"\n{fence}\n{report.command}\n{fence}\n" if report.command else ""
    return f"# {in_markdown(report.title)}\n\n{report.table.markdown()}\n{facts}\n{command}"


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in table.columns)
    rows = [
        "".join(
            f'<td class="best">{_text(cell)}</td>' if (r, c) in table.best else f"<td>{_text(cell)}</td>"
            for c, cell in enumerate(row)
        )
        for r, row in enumerate(table.rows)
    ]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(text)}</td></tr>" for name, text in facts)
    return f'<table class="facts">{rows}</table>'


def _picture(caption: str, image: Image.Image) -> str:
    factor = max(1, _SMALLEST // image.width)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size = f'width="{image.width * factor}" height="{image.height * factor}"'
    shown = f'<img {size} alt="{_text(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{shown}<figcaption>{_text(caption)}</figcaption></figure>"


def _text(text: str) -> str:
    return html.escape(str(text))
