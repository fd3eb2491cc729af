"""Masked modelling or next-token prediction: which draws better, and which represents better.

    python benchmarks/paper/attention.py

Small generators of one size on the same codes, with attention to all tokens or only to those before. The first settles
its tokens in a few iterations, in the order of their entropy or a fixed one; the second one token an iteration, in
raster order. Then a linear probe of every block, 16 classes. A repeat is a training with another seed, other images,
and another probe.
"""

from __future__ import annotations

from typing import Any

from comparison import QUALITY, TIME, TRAINING, Column, images, named, probe, report, trained_parser
from plotting import Panel
from small import SAMPLING, generator
from work import Work

KINDS: dict[str, dict[str, Any]] = {
    "masked": {},  # the default, and so the training of heads.py
    "next token": {"generator": {"attention": "causal"}},
}
DRAWN: dict[str, tuple[tuple[str, int, dict[str, Any]], ...]] = {  # order, iterations, and how to ask for them
    "masked": (
        ("Halton", 16, {"order": "halton"}),
        ("Halton", 64, {"order": "halton", "steps": 64}),
        ("entropy", 16, {"order": "entropy"}),
    ),
    "next token": (("raster", 64, {"order": "raster"}),),
}
PANELS = (
    Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", "order", "kind", joined=False),
    Panel("milliseconds", "recognised_%", "recognised in %", "ms per image", "order", "kind", joined=False),
    Panel("kind", "probe_%", "linear probe, % right", "", joined=False),
)


def main() -> None:
    """Train both, draw, probe, measure and report."""
    made = trained_parser(__doc__)
    made.add_argument("--probe-count", type=int, default=1000, help="images a probe learns from (default 1000)")
    made.add_argument("--probe-test", type=int, default=500, help="and is tested on (default 500)")
    options = made.parse_args()
    work = Work(options.work)
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for seed in range(options.repeats):
        for kind, changes in KINDS.items():
            name = "flip" if kind == "masked" else "causal"
            model, seconds = generator(work, name, changes, seed=seed, steps=options.steps)
            probed = probe(work, model, count=options.probe_count, test_count=options.probe_test, seed=seed)
            for order, iterations, settings in DRAWN[kind]:
                drawn = images(work, model, SAMPLING | settings, options, seed)
                rows.setdefault((kind, order, iterations), []).append({**drawn, **probed, "training": seconds})
    columns = (*QUALITY, Column("probe_%", "probe in %"), Column("layer", "best block"), TIME, TRAINING)
    about = f"trainings, {options.count} images of each"
    named_rows = named(rows, "kind", "order", "iterations")
    report("attention", named_rows, columns, options, work, repeats=about, panels=PANELS)


if __name__ == "__main__":
    main()
