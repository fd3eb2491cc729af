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
from typing import Any

import numpy as np
import torch
from generation import add_common, open_model
from PIL import Image
from tables import show
from zero_shot import all_done, originals

from bigr_cli.data import scenes
from bigr_cli.data.loading import as_floats
from bigr_cli.data.sources import ScenesSource
from bigr_cli.editing.requests import STRENGTH, UNSURE_STRENGTH, Edit
from bigr_cli.evaluation.agreement import QUESTIONS
from bigr_cli.evaluation.classifier import load_classifier
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model

_FIRST = 2**43  # beyond every scene that a training reaches
_FIELDS = {"object": "label"}  # of a scene, for questions that are called otherwise


def reworded(scene: scenes.Scene, question: str, answers: dict[str, tuple[str, ...]], random: Any) -> scenes.Scene:
    """The scene with another answer to one question."""
    field = _FIELDS.get(question, question)
    others = [answer for answer in answers[question] if answer != getattr(scene, field)]
    return replace(scene, **{field: others[int(random.integers(len(others)))]})


def answers_of(scene: scenes.Scene) -> dict[str, str]:
    """What the classifier should say of a scene."""
    return {question: getattr(scene, _FIELDS.get(question, question)) for question in QUESTIONS}


def edited(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each question, of as many scenes each."""
    network, random = load_classifier(), np.random.default_rng(options.seed)
    found = [scenes.describe(options.seed, _FIRST + index) for index in range(options.count)]
    source = ScenesSource(64, options.seed, _FIRST, options.count)
    images = np.stack([source.image(index).pixels for index in range(options.count)])
    rows = []
    for question in QUESTIONS:
        wanted = [reworded(scene, question, network.answers, random) for scene in found]
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
        with torch.inference_mode():
            logits = network(as_floats(torch.from_numpy(made).permute(0, 3, 1, 2)))
        said = {
            name: [network.answers[name][best] for best in logits[name].argmax(dim=1).tolist()] for name in QUESTIONS
        }
        right = {
            name: np.mean([answers_of(new)[name] == one for new, one in zip(wanted, said[name], strict=True)])
            for name in QUESTIONS
        }
        rows.append(
            {
                "another": question,
                "images": len(made),
                "changed_%": 100 * right[question],
                "kept_%": 100 * np.mean([right[name] for name in QUESTIONS if name != question]),
                "pixels_%": 100 * (np.abs(made.astype(int) - images).max(axis=-1) > 8).mean(),
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
