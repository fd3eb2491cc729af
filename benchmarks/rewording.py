"""What an edit without a mask makes of a text with one other word: for the object, its colour, the ground or the time.

    python benchmarks/rewording.py --count 24
    python benchmarks/rewording.py --count 24 --known --strength 0.4

Scenes that no network of ours has seen are edited by a model of texts, whose prompt is the scene's caption with one
word changed. The evaluation classifier says whether the image shows that word now (`changed_%`), and the other three as
before (`kept_%`). With `--known` the caption of the scene is given as well, as `--from-class` does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generation import add_common, open_model
from PIL import Image
from tables import show
from zero_shot import all_done, originals

from bigr_cli.data import scenes
from bigr_cli.data.sources import ScenesSource
from bigr_cli.editing.requests import STRENGTH, UNSURE_STRENGTH, Edit
from bigr_cli.evaluation.agreement import FIRST, QUESTIONS, Captions, answers_of, scenes_evaluator
from bigr_cli.evaluation.classifier import load_classifier
from bigr_cli.evaluation.image_sets import array
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model

_CHANGED = 8  # levels by which a pixel has to differ to count as changed


def reworded(scene: scenes.Scene, question: str, answers: tuple[str, ...], random: Any) -> scenes.Scene:
    """The scene with another answer to one question."""
    others = [answer for answer in answers if answer != answers_of(scene)[question]]
    field = "label" if question == "object" else question
    return replace(scene, **{field: others[int(random.integers(len(others)))]})


def edited(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each question, of as many scenes each."""
    evaluate, answers = scenes_evaluator(torch.device("cpu")), load_classifier().answers
    random = np.random.default_rng(options.seed)
    found = [scenes.describe(options.seed, FIRST + index) for index in range(options.count)]
    source = ScenesSource(64, options.seed, FIRST, options.count)
    images = np.stack([source.image(index).pixels for index in range(options.count)])
    rows = []
    for question in QUESTIONS:
        wanted = [reworded(scene, question, answers[question], random) for scene in found]
        coroutines = [
            model.request(
                Edit,
                label=new.caption,
                from_label=old.caption if options.known else None,
                strength=options.strength,
            ).paint(model.network, Original(Image.fromarray(image)), index)
            for index, (old, new, image) in enumerate(zip(found, wanted, images, strict=True))
        ]
        made = originals(all_done(model, coroutines, f"another {question}"))
        captions = Captions(question, tuple(new.caption for new in wanted), tuple(map(answers_of, wanted)))
        right = evaluate(captions, array(made, Path(question)), lambda count: None)
        rows.append(
            {
                "another": question,
                "images": len(made),
                "changed_%": 100 * right[question],
                "kept_%": 100 * np.mean([right[name] for name in QUESTIONS if name != question]),
                "pixels_%": 100 * (np.abs(made.astype(int) - images).max(axis=-1) > _CHANGED).mean(),
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common(parser, count=24)
    parser.set_defaults(model="scenes-64-text")
    parser.add_argument("--strength", type=float, help=f"of the edits (default {STRENGTH} or {UNSURE_STRENGTH})")
    parser.add_argument("--known", action="store_true", help="say what the scene shows, too")
    options = parser.parse_args()
    show(edited(open_model(parser, options), options), as_json=options.json)


if __name__ == "__main__":
    main()
