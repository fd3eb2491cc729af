"""Heads, objectives and orders where small models converge in minutes: on Fashion-MNIST.

    python benchmarks/paper/clothes.py --tokenizer runs/fashion

Small generators on the codes of one tokenizer that `bigr train` has made of the 60,000 training images; each differs
from the first in one thing (`clothes.yaml`). What reads and compares their samples is the classifier of `fashion.py`,
which only real images have trained. Then a linear probe of every block, tested on the test images. A repeat is a
training with another seed, other samples, and another probe. The orders, and corrections, are tried with the models of
the first kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from comparison import TIME, TRAINING, Column, Row, named, opened, probe, report, timed, trained_parser, weights
from fashion import CLASSES, FOLDER, TEST, answers, classifier, features, real, samples
from numpy.typing import NDArray
from plotting import Panel
from small import generator
from work import Work

from bigr_cli.evaluation.fidelity import frechet_distance

FIRST = "masked, flip"
KINDS: dict[str, dict[str, Any]] = {
    FIRST: {},
    "masked, x0": {"generator": {"head": "x0"}},
    "masked, direct": {"generator": {"head": "direct"}},
    "masked, masked bits": {"generator": {"head": "masked_bits"}},
    "next token, flip": {"generator": {"attention": "causal"}},
    "known bits corrupted": {"masking": {"corrupt_bits": 0.1}},
    "self-alignment": {"alignment": {"weight": 0.5}},
}
FIXED = {"order": "halton"}  # which depends on no head
ORDERS: dict[str, dict[str, Any]] = {
    "entropy": {"order": "entropy"},
    "confidence": {"order": "confidence"},
    "Halton": {"order": "halton"},
    "random": {"order": "random"},
    "raster": {"order": "raster"},
    "entropy, 8 + 1 correction": {"order": "entropy", "steps": 8, "corrections": 1},
    "random, 8 + 1 correction": {"order": "random", "steps": 8, "corrections": 1},
    "random, 8 + 2 corrections": {"order": "random", "steps": 8, "corrections": 2},
    "Halton, 8 + 2 corrections": {"order": "halton", "steps": 8, "corrections": 2},
}
QUALITY = (Column("recognised_%", "read as asked in %"), Column("frechet", "Fréchet distance", 2))
PROBE = (Column("probe_%", "probe in %"), Column("layer", "best block"))
PANELS = (Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", "kind", joined=False),)


@cache
def _judge(work: Path) -> tuple[Any, NDArray[Any]]:
    """The classifier, and its features of the test images."""
    network = classifier(work, seed=0, epochs=8)
    return network, features(network, real(test=True)[0])


def drawn(work: Work, model: str, settings: Mapping[str, Any], options: argparse.Namespace, number: int) -> Row:
    """What set `number` of a model's samples is worth, and the processor's milliseconds an image, with one thread."""
    identity = {"model": weights(model), "settings": dict(settings), "set": number, "count": options.count}

    def measure() -> Row:
        network, reference = _judge(options.work)
        (images, asked, _), milliseconds = timed(
            lambda count, seed: samples(opened(model), count, seed, **settings), CLASSES, options.count, number
        )
        return {
            "recognised_%": 100 * float((answers(network, images) == asked).double().mean()),
            "frechet": frechet_distance(features(network, images), reference),
            "milliseconds": milliseconds,
        }

    return work.measured("clothes", identity, measure)


def main() -> None:
    """Train all kinds, draw, probe, measure and report."""
    made = trained_parser(__doc__, count=1000)
    made.add_argument("--tokenizer", type=Path, required=True, help="folder of a model of Fashion-MNIST")
    made.add_argument("--probe-count", type=int, default=4000, help="images a probe learns from (default 4000)")
    made.add_argument("--only", choices=("kinds", "orders"), help="one of the two tables")
    options = made.parse_args()
    work = Work(options.work)
    kinds: dict[tuple[str], list[Row]] = {(kind,): [] for kind in KINDS}
    orders: dict[tuple[str], list[Row]] = {(order,): [] for order in ORDERS}
    for seed in range(options.repeats):
        for kind, changes in KINDS.items():
            if kind != FIRST and options.only == "orders":
                continue
            changed = {"tokenizer": str(options.tokenizer.resolve()), **changes}
            name = kind.replace(", ", "-").replace(" ", "-")
            model, seconds = generator(work, name, changed, seed=seed, steps=options.steps, file="clothes.yaml")
            if options.only != "orders":
                settings = {} if "next token" in kind else FIXED
                probed = probe(
                    work,
                    model,
                    data=str(FOLDER),
                    test=str(FOLDER / TEST),
                    count=options.probe_count,
                    test_count=2000,
                    seed=seed,
                )
                found = drawn(work, model, settings, options, seed)
                kinds[kind,].append({**found, **probed, "training": seconds})
            if kind == FIRST and options.only != "kinds":
                for order, settings in ORDERS.items():
                    orders[order,].append(drawn(work, model, settings, options, seed))
    about = f"trainings, {options.count} images of each"
    if options.only != "orders":
        rows = named(kinds, "kind")
        report("clothes", rows, (*QUALITY, *PROBE, TIME, TRAINING), options, work, repeats=about, panels=PANELS)
    if options.only != "kinds":
        rows = named(orders, "order")
        script, panels = (
            "clothes.py",
            (Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", "order", joined=False),),
        )
        report("clothes-orders", rows, (*QUALITY, TIME), options, work, repeats=about, panels=panels, script=script)


if __name__ == "__main__":
    main()
