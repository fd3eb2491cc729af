"""What a report on tokenizers shows: one table of them all, how well single images come back, how bits are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigr_cli.evaluation.metrics import RECONSTRUCTION, Column, by_key, columns_of
from bigr_cli.evaluation.plots import bars, histogram
from bigr_cli.evaluation.report import Report, Table, made_by
from bigr_cli.evaluation.tokenizers import Reconstructions

Record = dict[str, Any]

SIZE = Column("bits_per_pixel", "size of the code in bits a pixel", "bits a pixel")


def table(records: Sequence[Record]) -> Table:
    """A row for each tokenizer; what is best among several stands out."""
    columns = [SIZE, *columns_of(RECONSTRUCTION, records)]
    headings = ["tokenizer", "tokens × bits", *(one.heading for one in columns)]
    rows = [
        [str(record["model"]), f"{record['tokens']} × {record['bits']}", *(one.cell(record) for one in columns)]
        for record in records
    ]
    best = {(row, place) for place, one in enumerate(columns, start=2) for row in one.best(records)}
    return Table(headings, rows, frozenset(best))


def facts(record: Record) -> list[tuple[str, str]]:
    """What the figures depend on: a name and a text each."""
    images = record["pictures"]
    where = images.get("path", "")
    found = [("pictures", f"{images['count']:,} of {images['source']} {where}".rstrip())]
    fitting = "the square in the middle, scaled to each tokenizer's size (Lanczos)"
    drawn = "drawn at each tokenizer's size"
    found.append(("size", drawn if images["source"] == "scenes" else fitting))
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
        table=table(records),
        facts=facts(records[0]),
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
