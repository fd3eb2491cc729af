"""How well masks that find themselves fit the objects, and what editing without a mask makes.

    python benchmarks/masks.py --count 500
    python benchmarks/masks.py edit --count 150

`find`: the object's own label is looked for in scenes that no network of ours has seen, as `--mask-class` does; the
intersection over union with the object's true mask, its mean and its quantiles; and how often a label that is not there
is found. `edit`: another label for the whole image, at some strengths; the share in which the evaluator sees it, and
the share of the pixels that have changed, at all and by more than 8 levels. `replace`: the same under the mask that
`--mask-class` finds with the object's own label, widened by some pixels.

The settings of `bigr_cli.editing.mask_finders` were chosen on other scenes, of `--seed 7`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from judging import answers
from numpy.typing import NDArray
from parts import Part, add_parts, measure
from PIL import Image
from zero_shot import all_done, as_judged, originals, other_labels, with_foreground

from bigr_cli.data import scenes
from bigr_cli.editing.mask_finders import class_mask
from bigr_cli.editing.requests import Edit
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model
from bigr_cli.progress import progress_bar

_SEEN = 8  # levels by which a pixel has to change for an eye to see it


def real(options: argparse.Namespace) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]:
    """Scenes (N, H, W, 3), their objects' masks (N, H, W) and labels (N,)."""
    images, foreground, labels = with_foreground(options.count, seed=options.seed)
    return images, foreground >= 128, labels


def overlap(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def find(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Objects found by their labels."""
    images, truths, labels = real(options)
    found, absent = [], []
    with progress_bar(len(images), "find") as bar:
        for index, (image, truth, label, other) in enumerate(
            zip(images, truths, labels, other_labels(labels), strict=True)
        ):
            original = Original(Image.fromarray(image))
            found.append(overlap(class_mask(model.network, original, int(label)) > 0, truth))
            if index % 5 == 0:
                absent.append(bool(class_mask(model.network, original, int(other)).any()))
            bar.advance()
    values = np.array(found)
    rows = [_row("all labels", values)]
    rows += [_row(name, values[labels == index]) for index, name in enumerate(scenes.LABELS) if (labels == index).any()]
    name = "a label that is not there, found all the same"
    return [*rows, {"what": name, "images": len(absent), "found_%": 100 * float(np.mean(absent))}]


def _row(what: str, values: NDArray[np.float64]) -> dict[str, Any]:
    low, median = np.quantile(values, [0.1, 0.5])
    return {"what": what, "images": len(values), "iou": values.mean(), "iou_10_%": low, "iou_median": median}


def edit(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Other labels for whole images."""
    images, _, labels = real(options)
    others, rows = other_labels(labels), []
    for strength in options.strength or [None]:
        requests = [model.request(Edit, label=int(other), strength=strength) for other in others]
        what = "edit, default strength" if strength is None else f"edit, strength {strength:g}"
        rows.append(_edited(model, what, requests, images, labels, others))
    return rows


def replaced(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Other labels under masks that are found."""
    images, _, labels = real(options)
    others, rows = other_labels(labels), []
    for grow in options.grow or [None]:
        requests = [
            model.request(Edit, label=int(other), mask_class=int(label), mask_grow=grow)
            for label, other in zip(labels, others, strict=True)
        ]
        what = "replace, default widening" if grow is None else f"replace, widened by {grow}"
        rows.append(_edited(model, what, requests, images, labels, others))
    return rows


def _edited(
    model: Model,
    what: str,
    requests: Sequence[Edit],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    others: NDArray[np.int64],
) -> dict[str, Any]:
    """What scenes (N, H, W, 3) of some labels (N,) are worth that were edited to others (N,)."""
    coroutines = [
        request.paint(model.network, Original(Image.fromarray(image)), index)
        for index, (request, image) in enumerate(zip(requests, images, strict=True))
    ]
    made = originals(all_done(model, coroutines, "edit"))
    seen = answers(as_judged(made))["object"].numpy()
    difference = np.abs(made.astype(int) - images).max(axis=-1)
    return {
        "what": what,
        "images": len(made),
        "recognised_%": 100 * float((seen == others).mean()),
        "as_before_%": 100 * float((seen == labels).mean()),
        "changed_%": 100 * float((difference > 0).mean()),
        "changed_visibly_%": 100 * float((difference > _SEEN).mean()),
    }


PARTS: dict[str, Part] = {"find": find, "edit": edit, "replace": replaced}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_parts(parser, PARTS)
    parser.add_argument("--count", type=int, default=500, help="scenes (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default 0)")
    parser.add_argument("--strength", type=float, nargs="*", help="of the edits (the default strength)")
    parser.add_argument("--grow", type=int, nargs="*", help="of the masks that are found, in pixels (the default)")
    options = parser.parse_args()
    options.real = options.count
    measure(parser, options, PARTS)


if __name__ == "__main__":
    main()
