"""What the presets of a model cost and give: time and Fréchet distance of each, next to `quality`.

    python benchmarks/presets.py --model scenes-64 --count 2000

Times are those of the processor, since others may be at work on it, or of the clock (`--clock wall`): the presets draw
16 images in turn, in several rounds, and of each the median counts, with whatever decoding takes. Fréchet distances
are from unseen real scenes, in the features of the classifier that comes with the package and in those of the judge,
against which nothing was trained. All presets draw the same labels with the same seeds.
`--also steps=8,guidance_interval=[0.5,1]` tries settings that are no preset.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from generation import add_common, draw, judged, open_model
from judging import embeddings, real_images
from tables import show

from bigr_cli import yaml_text
from bigr_cli.core.config import PRESETS, SamplingConfig
from bigr_cli.editing.generate import plan
from bigr_cli.evaluation.classifier import load_classifier
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.model import Model

TIMED = 16  # images a round


def main() -> None:
    """Time, draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common(parser, count=2000)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=list(PRESETS), help="which ones (default all)")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=VALUE,…", help="settings to try beside them")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu", help="of the times (default cpu)")
    parser.add_argument("--rounds", type=int, default=3, help="of timing (default 3)")
    options = parser.parse_args()
    model = open_model(parser, options)
    tried: dict[str, dict[str, Any]] = {name: {"preset": name} for name in options.presets}
    tried |= {words: _settings(words) for words in options.also}
    settings = {name: model.settings(**values) for name, values in tried.items()}
    seconds = timed(model, settings, options)
    classifier = load_classifier(None, str(model.device))
    real = embeddings(real_images(options.real)[0], classifier)
    rows: list[dict[str, Any]] = []
    for name, chosen in settings.items():
        images, labels, _ = draw(model, options.count, chosen, seed=options.seed, batch_size=options.batch_size)
        found = judged(images, labels, real=options.real, device=str(model.device))
        distance = frechet_distance(embeddings(images, classifier), real)
        row = {"settings": name, "seconds": seconds[name], "frechet": distance}
        row |= {"frechet, judge": found["frechet"], "recognised_%": found["recognised_%"]}
        if rows:
            row |= {f"{key} / first": row[key] / rows[0][key] for key in ("seconds", "frechet", "frechet, judge")}
        rows.append(row)
        if options.json:
            show([row], as_json=True)
    if not options.json:
        show(rows)


def timed(model: Model, settings: dict[str, SamplingConfig], options: argparse.Namespace) -> dict[str, float]:
    """Seconds for an image."""
    jobs = plan(model.config, ["cat"] * TIMED, seed=options.seed)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    found: dict[str, list[float]] = {name: [] for name in settings}
    for number in range(options.rounds + 1):
        for name, chosen in settings.items():
            start = clock()
            for _ in model.make(jobs, chosen, batch_size=options.batch_size):
                pass
            if number:  # the first round only warms up
                found[name].append((clock() - start) / TIMED)
    return {name: statistics.median(times) for name, times in found.items()}


def _settings(words: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml_text.parse(f"{{{words.replace('=', ': ')}}}", source=words)
    return found


if __name__ == "__main__":
    main()
