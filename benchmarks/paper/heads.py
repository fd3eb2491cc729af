"""What the transcoder should predict: the flip, x_0, the bits at once (direct), or masked bits in a few rounds.

    python benchmarks/paper/heads.py

Small generators that differ in their head alone, trained on the same codes of scenes-64's tokenizer with the same
settings (`generator.yaml`). Each draws in Halton order, which does not depend on the head, with several numbers of
timesteps, which are rounds to `masked_bits` and nothing to `direct`. A repeat is a training with another seed, and
another set of images.
"""

from __future__ import annotations

from typing import Any

from comparison import QUALITY, TIME, TRAINING, images, named, report, trained_parser
from plotting import Panel
from small import SAMPLING, generator
from work import Work

# `flip` is the default. Without the key, its training is that of attention.py too.
HEADS: dict[str, dict[str, Any]] = {
    "flip": {},
    **{name: {"generator": {"head": name}} for name in ("x0", "direct", "masked_bits")},
}
TIMESTEPS = {"flip": (2, 5, 10), "x0": (2, 5, 10), "direct": (1,), "masked_bits": (2, 4, 8)}
PANELS = (
    Panel("milliseconds", "frechet", "Fréchet distance", "ms per image", "timesteps", "head"),
    Panel("milliseconds", "recognised_%", "recognised in %", "ms per image", "timesteps", "head"),
)


def main() -> None:
    """Train with each head, draw, measure and report."""
    options = trained_parser(__doc__).parse_args()
    work = Work(options.work)
    rows = {(head, timesteps): [] for head in HEADS for timesteps in TIMESTEPS[head]}
    for seed in range(options.repeats):
        for head, changes in HEADS.items():
            model, seconds = generator(work, head, changes, seed=seed, steps=options.steps)
            for timesteps in TIMESTEPS[head]:
                found = images(work, model, SAMPLING | {"timesteps": timesteps}, options, seed)
                rows[head, timesteps].append({**found, "training": seconds})
    columns = (*QUALITY, TIME, TRAINING)
    about = f"trainings, {options.count} images of each"
    report("heads", named(rows, "head", "timesteps"), columns, options, work, repeats=about, panels=PANELS)


if __name__ == "__main__":
    main()
