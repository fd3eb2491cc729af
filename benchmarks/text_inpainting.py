"""How well a model that reads texts puts into a hole what a text asks for.

    python benchmarks/text_inpainting.py --model scenes-64-text
    python benchmarks/text_inpainting.py --model scenes-64-text --guidance 2 4 8 --count 100 --start 1000000

Of unseen scenes, 64 pixels large, the object's box is masked with a margin around it, and painted anew by the scene's
caption, such as "a red house on grass at night". The judge, a network that nothing was trained against, says which
object it sees, and in which colour. Pairs of a colour and an object that the model was never trained on are a row of
their own. Said too: standard errors, and how many images have a pixel that changed outside the mask.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from generation import open_model
from judging import SIZE, UNSEEN, answers
from scipy.ndimage import maximum_filter
from tables import show
from zero_shot import as_judged, boxes_of, inpainted

from bigr_cli.data import scenes
from bigr_cli.data.sources import color_and_label
from bigr_cli.model import Model
from bigr_cli.prompts import reads_text


def unseen(model: Model, start: int, *, held_out: bool) -> Iterator[scenes.Scene]:
    """Scenes that no training reaches, of the pairs that the model was trained on, or of the others."""
    apart = frozenset(map(color_and_label, model.config.provenance.without))
    for index in itertools.count(UNSEEN + start):
        scene = scenes.describe(0, index)
        if ((scene.color, scene.label) in apart) == held_out:
            yield scene


def measured(model: Model, options: argparse.Namespace, guidance: float | None, *, held_out: bool) -> dict[str, Any]:
    """One row: the scenes of one kind, painted anew."""
    some = list(itertools.islice(unseen(model, options.start, held_out=held_out), options.count))
    drawn = [scenes.render_with_mask(scene, SIZE) for scene in some]
    images = np.stack([np.asarray(image) for image, _ in drawn])
    masks = np.stack(
        [
            maximum_filter(box, 2 * options.margin + 1)
            for box in boxes_of(np.stack([foreground for _, foreground in drawn]))
        ]
    )
    sampling = {} if guidance is None else {"guidance": guidance}
    made = inpainted(model, images, masks, [scene.caption for scene in some], options.blend, **sampling)
    kept = (made == images).all(axis=-1) | masks
    seen = answers(as_judged(made))
    row: dict[str, Any] = {
        "captions": "held out" if held_out else "seen",
        "scenes": len(some),
        "margin": options.margin,
    }
    row["guidance"] = model.settings(painting=True, **sampling).guidance
    for name, names, wanted in (
        ("object", scenes.LABELS, [scene.label for scene in some]),
        ("color", scenes.COLORS, [scene.color for scene in some]),
    ):
        right = np.array([names[number] for number in seen[name]]) == wanted
        row[f"{name}_%"], row[f"{name}_error"] = 100 * right.mean(), 100 * right.std() / len(some) ** 0.5
    return row | {"changed_outside": int((~kept).any(axis=(1, 2)).sum())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or folder of a model that reads texts; or the default model")
    parser.add_argument("--count", type=int, default=300, help="scenes of each kind (default 300)")
    parser.add_argument("--start", type=int, default=0, help="the first scene's number among unseen ones (default 0)")
    parser.add_argument("--margin", type=int, default=8, help="around the object's box, in pixels (default 8)")
    parser.add_argument("--guidance", type=float, nargs="+", default=[None], help="or the model's own for painting")
    parser.add_argument("--blend", default="poisson")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    options.real = options.count
    model = open_model(parser, options)
    if not reads_text(model.config):
        parser.error(f"{model.config.name} reads no texts")
    kinds = (False, True) if model.config.provenance.without else (False,)
    rows = [
        measured(model, options, guidance, held_out=held_out)
        for guidance, held_out in itertools.product(options.guidance, kinds)
    ]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
