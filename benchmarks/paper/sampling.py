"""How much guidance, how many iterations, how many timesteps of the transcoder: sweeps over a trained model's settings.

    python benchmarks/paper/sampling.py                  # all three
    python benchmarks/paper/sampling.py timesteps

One setting changes, the others stay as the options and the model's defaults say; nothing is trained. A repeat is
another set of seeds. `timesteps` also ranks the masked tokens by chains shorter than those that draw them, which is
none of the paper's.
"""

from __future__ import annotations

import argparse
from typing import Any

from comparison import QUALITY, TIME, images, parser, report
from plotting import Panel
from work import Work

SWEEPS: dict[str, list[dict[str, Any]]] = {
    "guidance": [{"guidance": float(scale)} for scale in (1, 2, 3, 5, 8)],
    "steps": [{"steps": steps} for steps in (2, 4, 8, 16)],
    "timesteps": [
        *({"timesteps": timesteps, "rank_timesteps": 0} for timesteps in (2, 5, 10, 20, 50)),
        *({"timesteps": timesteps, "rank_timesteps": 2} for timesteps in (10, 50)),
    ],
}
PANELS = {
    "guidance": (
        Panel("guidance", "frechet", "Fréchet distance", "guidance"),
        Panel("guidance", "recognised_%", "recognised in %", "guidance"),
    ),
    "steps": (
        Panel("steps", "frechet", "Fréchet distance", "iterations", logarithmic=True),
        Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", label="steps", logarithmic=True),
    ),
    "timesteps": (
        Panel("timesteps", "frechet", "Fréchet distance", "timesteps", group="rank_timesteps", logarithmic=True),
        Panel(
            "milliseconds",
            "frechet",
            "Fréchet distance",
            "ms per image",
            label="timesteps",
            group="rank_timesteps",
            logarithmic=True,
        ),
    ),
}


def main() -> None:
    """Draw with each value, measure and report, sweep by sweep."""
    made = parser(__doc__, count=48, repeats="sets of seeds")
    made.add_argument("only", nargs="*", choices=[*SWEEPS, []], help="which sweeps (default all)")
    made.add_argument("--model", default="scenes-64", help="name or folder (default scenes-64)")
    made.add_argument("--steps", type=int, default=8, help="iterations where they are not swept (default 8)")
    made.add_argument("--timesteps", type=int, default=10, help="likewise (default 10)")
    made.add_argument("--guidance", type=float, default=3.0, help="likewise (default 3)")
    options = made.parse_args()
    for name in options.only or SWEEPS:
        sweep(name, Work(options.work), options)


def sweep(name: str, work: Work, options: argparse.Namespace) -> None:
    """One of them."""
    rows: list[dict[str, Any]] = [{**values, "repeats": []} for values in SWEEPS[name]]
    base = {"steps": options.steps, "timesteps": options.timesteps, "guidance": options.guidance, "rank_timesteps": 0}
    for number in range(options.repeats):  # set by set, so that what was stopped has all values
        for row, values in zip(rows, SWEEPS[name], strict=True):
            row["repeats"].append(images(work, options.model, base | values, options, number))
    report(
        name,
        rows,
        (*QUALITY, TIME),
        options,
        work,
        repeats=f"sets of {options.count} images",
        panels=PANELS[name],
        script=f"sampling.py {name}",
    )


if __name__ == "__main__":
    main()
