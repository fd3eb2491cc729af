"""Whether it matters in which order the tokens are settled: same weights, same steps, same seeds, other order.

    python benchmarks/orders.py --model scenes-64 --count 2000

For entropy, confidence, halton, random and raster order: the share of pictures in which the judge sees the object that
was asked for, with its standard error, and the Fréchet distance from unseen real scenes in the judge's embedding (lower
is better). Other settings of the sampler are the model's defaults, or what is given. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

from generation import add_common, add_sampling, combinations, draw, judged, open_model, real_row
from tables import show

from bigr_cli.core.config import ORDERS

HIDDEN = ("by_label", "nearest_pixels", "nearest_embedding")  # in --json only


def main() -> None:
    """Draw with each order, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common(parser, count=2000)
    parser.add_argument("--order", nargs="+", default=list(ORDERS), choices=ORDERS, help="which ones (default all)")
    add_sampling(parser, leave_out=("order",))
    options = parser.parse_args()
    model = open_model(parser, options)
    device, rows = str(model.device), []
    for values in combinations(options):
        settings = model.settings(**values)
        images, labels, seconds = draw(model, options.count, settings, seed=options.seed, batch_size=options.batch_size)
        named = {"order": values["order"], **values}
        rows.append(named | judged(images, labels, real=options.real, device=device) | {"seconds": seconds})
    rows.append({"order": "(real scenes)"} | real_row(options, device))
    for row in rows:
        share = row["recognised_%"] / 100
        row["standard_error"] = 100 * (share * (1 - share) / options.count) ** 0.5
    if options.json:
        show(rows, as_json=True)
        return
    columns = [name for name in rows[0] if name not in HIDDEN]
    show([{name: row.get(name) for name in columns} for row in rows])


if __name__ == "__main__":
    main()
