"""Entropy, confidence, Halton, random or raster: in which order a trained model should settle its tokens.

    python benchmarks/paper/orders.py

The same weights, steps and seeds in every order; nothing is trained. A repeat is another set of seeds. Where an order
depends on what the model predicts, whole chains rank the tokens, as in the paper.
"""

from __future__ import annotations

from comparison import COUNT, QUALITY, TIME, Column, images, parser, report
from plotting import Panel
from work import Work

from bigr_cli.core.config import ORDERS

SAMPLING = {"rank_timesteps": 0, "guidance": 3.0}
PANELS = (
    Panel("order", "frechet", "Fréchet distance", "order", joined=False),
    Panel("order", "recognised_%", "recognised in %", "order", joined=False),
)


def main() -> None:
    """Draw with each order, measure and report."""
    made = parser(__doc__, count=COUNT, repeats="sets of seeds")
    made.add_argument("--model", default="scenes-64", help="name or folder (default scenes-64)")
    options = made.parse_args()
    work = Work(options.work)
    repeats: dict[str, list[dict[str, object]]] = {order: [] for order in ORDERS}
    for number in range(options.repeats):  # set by set, so that what was stopped has all orders
        for order in ORDERS:
            repeats[order].append(images(work, options.model, SAMPLING | {"order": order}, options, number))
    rows = [{"order": order, "repeats": found} for order, found in repeats.items()]
    columns = (*QUALITY, Column("nearest", "nearest two of 64", 2), TIME)
    report("orders", rows, columns, options, work, repeats=f"sets of {options.count} images", panels=PANELS)


if __name__ == "__main__":
    main()
