"""Whether tokens that look unlikely beside the others should be sampled anew, at equal cost, and in which orders.

    python benchmarks/paper/corrections.py
    python benchmarks/paper/corrections.py --first 100 --repeats 1 --json      # other seeds, to choose settings with

The same weights and seeds; nothing is trained. A row is an order, so many iterations, and so many corrections after
them, each of which samples the unlikeliest share of the tokens in a few iterations. All else is as the model's own
defaults say. All rows have 16 iterations in all, so that they cost about the same; see the milliseconds.
"""

from __future__ import annotations

from typing import Any

from comparison import QUALITY, TIME, Column, images, named, parser, report
from plotting import Panel
from work import Work

NONE = (0, 0.4, 4)
ROWS: tuple[tuple[str, int, tuple[int, float, int]], ...] = (  # order, iterations, (corrections, share, iterations)
    ("entropy", 16, NONE),
    ("entropy", 8, (2, 0.4, 4)),
    ("random", 16, NONE),
    ("random", 8, (2, 0.4, 4)),
)
PANELS = (Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", "corrections", "order"),)


def main() -> None:
    """Sample with each, measure and report."""
    made = parser(__doc__, count=320, repeats="sets of seeds")
    made.add_argument("--model", default="scenes-64", help="name or folder (default scenes-64)")
    made.add_argument("--first", type=int, default=0, help="number of the first set (default 0)")
    options = made.parse_args()
    work = Work(options.work)
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {(order, steps, *each): [] for order, steps, each in ROWS}
    for number in range(options.first, options.first + options.repeats):
        for order, steps, (corrections, share, iterations) in ROWS:
            settings: dict[str, Any] = {"order": order, "steps": steps}
            if corrections:
                settings |= {"corrections": corrections, "correction_share": share, "correction_steps": iterations}
            found = images(work, options.model, settings, options, number)
            rows[order, steps, corrections, share, iterations].append(found)
    columns = (*QUALITY, Column("strict_%", "strict judge in %"), Column("nearest", "nearest two of 64", 2), TIME)
    table = named(rows, "order", "steps", "corrections", "share", "iterations of each")
    about = f"sets of {options.count} images"
    report("corrections", table, columns, options, work, repeats=about, panels=PANELS)


if __name__ == "__main__":
    main()
