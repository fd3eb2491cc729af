"""What a report on generated images shows: a table, plots of a sweep, the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from bigr_cli.evaluation.metrics import GENERATION, Column, columns_of
from bigr_cli.evaluation.plots import dots, lines
from bigr_cli.evaluation.report import Report, Table, made_by

Record = dict[str, Any]

REAL = "real images"  # the row of some of the reference against the rest


def facts(record: Record) -> list[tuple[str, str]]:
    """What the figures of a record depend on, in words: a name and a text each."""
    found = [("samples", _set(record["samples"]))]
    if record.get("reference"):
        found.append(("reference", _set(record["reference"])))
    if "extractor" in record:
        evaluator = record["extractor"]
        layers = ", ".join(dict.fromkeys(evaluator["layers"].values()))
        found.append(
            ("features", f"{evaluator['name']} ({evaluator['from']}), {layers}" if layers else evaluator["name"])
        )
        resize = record["resize"]
        found.append(("resizing", f"to {resize['to']}: {resize['how']}" if resize else "none"))
        for name, counts in record.get("biased", {}).items():
            few = f"{evaluator['name']} features, {counts['images']:,} images"
            found.append((GENERATION[name].columns[0].short, f"{few}: biased; {counts['needed']:,} needed"))
        if real := record.get("real"):
            found.append((REAL, f"{real['images']:,} of the reference against {real['reference']:,} others of it"))
        settings = ", ".join(f"{name} {value}" for name, value in record["settings"].items())
        found.append(("settings", settings))
    return found


def _set(about: Record) -> str:
    kind = about["source"]
    where = about.get("path") or about.get("model") or ""
    count = "an unknown number of" if about.get("count") is None else f"{about['count']:,}"
    size = f" of {about['size'][0]} × {about['size'][1]}" if about.get("size") else ""
    each = about.get("per_class")
    spread = "" if each is None else f", {each if isinstance(each, int) else f'{each[0]} to {each[1]}'} a class"
    seed = f", seed {about['seed']}" if "seed" in about else ""
    return f"{count} images{size}: {kind} {where}".rstrip() + spread + seed


def generation_report(records: Sequence[Record], sheets: Sequence[Image.Image], command: str) -> Report:
    """The page about samples: `records` as `--json` prints them, a sheet of images for each."""
    swept = list(records[0].get("point", {}))
    columns = columns_of(GENERATION, records)
    headings = [*swept, *(one.heading for one in columns)] if swept else ["", *(one.heading for one in columns)]
    firsts = [[str(record["point"][name]) for name in swept] or ["samples"] for record in records]
    rows = [[*first, *(one.cell(record) for one in columns)] for first, record in zip(firsts, records, strict=True)]
    real = records[0].get("real")
    if real:
        rows.append([REAL, *[""] * (len(swept) - 1), *(one.cell(real) for one in columns)])
    shift = len(headings) - len(columns)
    best = {(row, shift + place) for place, one in enumerate(columns) for row in one.best(records)}
    captions = [said(record.get("point", {})) or "the first images" for record in records]
    made = records[0]["samples"]
    return Report(
        title=f"Generated images: {made.get('model') or made.get('path')}",
        summary=f"{made['count']:,} samples{' for each row' if swept else ''}, measured by {made_by()}",
        table=Table(headings, rows, frozenset(best)),
        facts=facts(records[0]),
        results={"command": command, "records": list(records)},
        plots=_plots(records, swept, columns),
        images=list(zip(captions, sheets, strict=True)),
        command=command,
    )


def said(point: Record) -> str:
    """A point of a sweep in words."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


def _plots(records: Sequence[Record], swept: Sequence[str], columns: Sequence[Column]) -> dict[str, tuple[str, str]]:
    """Each figure over the first setting of the sweep, a line for each combination of the others."""
    found: dict[str, tuple[str, str]] = {}
    if not swept or len(records) < 2:
        return found
    first, others = swept[0], swept[1:]
    numeric = all(isinstance(record["point"][first], int | float) for record in records)
    names = list(dict.fromkeys(str(record["point"][first]) for record in records))
    for column in (column for column in columns if column.better and column.plotted):
        series: dict[str, tuple[list[float], list[float]]] = {}
        for record in records:
            name = said({other: record["point"][other] for other in others})
            across, up = series.setdefault(name, ([], []))
            value = record["point"][first]
            across.append(float(value) if numeric else names.index(str(value)))
            up.append(float(record[column.key]))
        svg = lines(series, x=first.replace("_", " "), y=column.heading, names=() if numeric else names)
        found[column.key] = (f"{column.name}: {column.better} is better", svg)
    if "precision" in records[0]:
        both = ([float(record["precision"]) for record in records], [float(record["recall"]) for record in records])
        svg = dots(both, [said(record["point"]) for record in records], x="precision ↑", y="recall ↑")
        found["precision_recall"] = ("Precision and recall of every point", svg)
    return found
