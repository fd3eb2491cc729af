"""What reports and plots show: of generated images, of tokenizers, and of a probe of all layers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.metrics import GENERATION, Column, by_key, columns_of
from bigr_cli.evaluation.reconstruction import RECONSTRUCTION
from bigr_cli.evaluation.report import Report, Table, bars, dots, histogram, lines, made_by
from bigr_cli.imaging.files import write_bytes

if TYPE_CHECKING:
    from bigr_cli.evaluation.tokenizers import Reconstructions

Record = dict[str, Any]

REAL = "real images"  # the row of some of the reference against the rest
SIZE = Column("bits_per_pixel", "size of the code in bits a pixel", "bits a pixel")
KINDS = (".svg", ".png")


def generation_facts(record: Record) -> list[tuple[str, str]]:
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


def _set(images: Record) -> str:
    kind = images["source"]
    where = images.get("path") or images.get("model") or ""
    count = "an unknown number of" if images.get("count") is None else f"{images['count']:,}"
    size = f" of {images['size'][0]} × {images['size'][1]}" if images.get("size") else ""
    each = images.get("per_class")
    spread = "" if each is None else f", {each if isinstance(each, int) else f'{each[0]} to {each[1]}'} a class"
    seed = f", seed {images['seed']}" if "seed" in images else ""
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
        facts=generation_facts(records[0]),
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


def reconstruction_table(records: Sequence[Record]) -> Table:
    """A row for each tokenizer; what is best among several stands out."""
    columns = [SIZE, *columns_of(RECONSTRUCTION, records)]
    headings = ["tokenizer", "tokens × bits", *(one.heading for one in columns)]
    rows = [
        [str(record["model"]), f"{record['tokens']} × {record['bits']}", *(one.cell(record) for one in columns)]
        for record in records
    ]
    best = {(row, place) for place, one in enumerate(columns, start=2) for row in one.best(records)}
    return Table(headings, rows, frozenset(best))


def reconstruction_facts(record: Record) -> list[tuple[str, str]]:
    """What the figures depend on: a name and a text each."""
    images = record["pictures"]
    where = images.get("path", "")
    found = [("pictures", f"{images['count']:,} of {images['source']} {where}".rstrip())]
    fitting = "the square in the middle, scaled to each tokenizer's size (Lanczos)"
    rendered = "rendered at each tokenizer's size"
    found.append(("size", rendered if images["source"] == "scenes" else fitting))
    if record["refine"]:
        found.append(("codes", f"looked for in {record['refine']} steps from the encoder's"))
    found.append(("rounding", "what comes back is clamped and rounded to 8 bits before it is compared"))
    extractor = record["extractor"]
    features = extractor and f"{extractor['name']} ({extractor['from']}), {extractor['layer']}"
    needs = record["pictures"]["count"], by_key("fid").honest
    few = f"; {needs[0]:,} images: biased; {needs[1]:,} needed" if needs[0] < needs[1] else ""
    said = {
        "ssim": ("SSIM", "scikit-image; Gaussian window of 1.5 pixels"),
        "lpips": ("LPIPS", record["lpips_by"] or "not measured: its weights are not here (--fetch-weights)"),
        "rfid": ("rFID", f"torch-fidelity, features {features}{few}" if extractor else "not measured"),
    }
    return found + [said[key] for key in said if key in record]


def reconstruction_report(
    records: Sequence[Record], reconstructions: Mapping[str, Reconstructions], command: str
) -> Report:
    """The page about tokenizers, by name."""
    spread = histogram(
        {name: made.psnr for name, made in reconstructions.items()}, x="PSNR (dB) ↑", y="number of images"
    )
    shares = {name: sorted(made.counts.shares().tolist()) for name, made in reconstructions.items()}
    entropies = {name: sorted(made.counts.entropies().tolist()) for name, made in reconstructions.items()}
    largest = {
        name: sorted(made.counts.correlations().max(dim=1).values.tolist()) for name, made in reconstructions.items()
    }
    order = "bits in ascending order"
    return Report(
        title="What tokenizers reconstruct",
        summary=f"{records[0]['pictures']['count']:,} images, measured by {made_by()}",
        table=reconstruction_table(records),
        facts=reconstruction_facts(records[0]),
        results={"command": command, "records": list(records)},
        plots={
            "psnr": ("How the images' PSNR is spread", spread),
            "shares": ("How often each bit is 1", bars(shares, x=order, y="share of tokens", limit=0.5)),
            "entropies": ("The entropy of each bit", bars(entropies, x=order, y="entropy (bit)", limit=0.8)),
            "correlations": (
                "Each bit's largest correlation with an earlier one",
                bars(largest, x=order, y="absolute correlation", limit=0.9),
            ),
        },
        images=[(f"{name}: the worst images, originals above", made.sheet()) for name, made in reconstructions.items()],
        command=command,
    )


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
