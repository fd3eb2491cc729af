"""What a report on tokenizers shows: one table of them all, how well single pictures come back, how bits are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigr_cli.evaluation.plots import bars, histogram
from bigr_cli.evaluation.report import Report, Table, made_by
from bigr_cli.evaluation.tokenizers import Rebuilt

Record = dict[str, Any]

# The figure's key in a record: its heading, and which way is better.
COLUMNS = {
    "bits_per_pixel": ("bits a pixel", ""),
    "psnr": ("PSNR dB", "higher"),
    "psnr_95": ("95 % exceed", ""),
    "ssim": ("SSIM", "higher"),
    "lpips": ("LPIPS", "lower"),
    "rfid": ("rFID", "lower"),
    "bits_used": ("bits used", "higher"),
    "bits_entropy": ("entropy of a bit", "higher"),
    "bits_duplicated": ("duplicates", "lower"),
    "bits_correlation_mean": ("correlation", ""),
    "bits_correlation_max": ("largest", ""),
}
_SHARES = ("bits_used", "bits_duplicated")


def table(records: Sequence[Record]) -> Table:
    """A row for each tokenizer; what is best among several stands out."""
    columns = ["tokenizer", "tokens × bits", *(heading for heading, _ in COLUMNS.values())]
    rows = [
        [str(record["model"]), f"{record['tokens']} × {record['bits']}", *(cell(key, record[key]) for key in COLUMNS)]
        for record in records
    ]
    best = set()
    for column, (key, (_, better)) in enumerate(COLUMNS.items(), start=2):
        values = [record[key] for record in records]
        if len(records) > 1 and better and None not in values:
            wanted = min(values) if better == "lower" else max(values)
            best |= {(row, column) for row, value in enumerate(values) if value == wanted}
    return Table(columns, rows, frozenset(best))


def cell(key: str, value: float | None) -> str:
    """A figure as text, a dash where it was not measured."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if key in _SHARES else f"{value:.4g}"


def facts(record: Record) -> list[tuple[str, str]]:
    """What the figures depend on: a name and a text each."""
    pictures = record["pictures"]
    where = pictures.get("path", "")
    found = [("pictures", f"{pictures['count']:,} of {pictures['source']} {where}".rstrip())]
    fitting = "the square in the middle, scaled to each tokenizer's size (Lanczos)"
    drawn = "drawn at each tokenizer's size"
    found.append(("size", drawn if pictures["source"] == "scenes" else fitting))
    if record["refine"]:
        found.append(("codes", f"looked for in {record['refine']} steps from the encoder's"))
    found.append(("rounding", "what comes back is clamped and rounded to 8 bits before it is compared"))
    found.append(("SSIM", "scikit-image; Gaussian window of 1.5 pixels"))
    found.append(("LPIPS", record["lpips_by"] or "not measured: its weights are not here (--fetch-weights)"))
    extractor = record["extractor"]
    if extractor is None:
        found.append(("rFID", "not measured"))
    else:
        found.append(
            ("rFID", f"torch-fidelity, features {extractor['name']} ({extractor['from']}), {extractor['layer']}")
        )
    return found


def reconstruction_report(records: Sequence[Record], rebuilt: Mapping[str, Rebuilt], command: str) -> Report:
    """The page about tokenizers, by name."""
    spread = histogram({name: made.psnr for name, made in rebuilt.items()}, x="PSNR in dB", y="pictures")
    shares = {name: sorted(made.counts.shares().tolist()) for name, made in rebuilt.items()}
    entropies = {name: sorted(made.counts.entropies().tolist()) for name, made in rebuilt.items()}
    largest = {name: sorted(made.counts.correlations().max(dim=1).values.tolist()) for name, made in rebuilt.items()}
    order = "bits, in the order of this value"
    return Report(
        title="What tokenizers give back",
        summary=f"{records[0]['pictures']['count']:,} pictures, measured by {made_by()}",
        table=table(records),
        facts=facts(records[0]),
        results={"command": command, "records": list(records)},
        plots={
            "psnr": ("How the pictures' PSNR is spread", spread),
            "shares": ("How often each bit is 1", bars(shares, x=order, y="share", limit=0.5)),
            "entropies": ("The entropy of each bit", bars(entropies, x=order, y="bit", limit=0.8)),
            "correlations": (
                "Each bit's largest correlation with an earlier one",
                bars(largest, x=order, y="correlation", limit=0.9),
            ),
        },
        pictures=[(f"{name}: the worst pictures, originals above", made.sheet()) for name, made in rebuilt.items()],
        command=command,
    )
