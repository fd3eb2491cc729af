"""Every task on photographs at their full size: whether they come through, and unchanged where nothing was asked for.

    python benchmarks/photographs.py photo.jpg other.png --output out/

A box in the middle (a fifth of each side) is inpainted and edited, the canvas widened by a tenth, the whole edited at
strength 0.3, enriched, and the way to the first photograph taken. Prints seconds for each, and how many pixels outside
changed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tables import show

from bigr_cli.data.images import read_image
from bigr_cli.model import Model, load


def tried(model: Model, image: Image.Image, first: Image.Image) -> dict[str, Image.Image]:
    """What every task makes of a photograph."""
    width, height = image.size
    mask = np.zeros((height, width), dtype=bool)
    mask[2 * height // 5 : 3 * height // 5, 2 * width // 5 : 3 * width // 5] = True
    label: Any = model.labels[0] if model.labels else 0
    return {
        "inpaint": model.inpaint(image, mask, seed=0),
        "edit": model.edit(image, label, mask, seed=0),
        "outpaint": model.outpaint(image, right=max(1, width // 10), seed=0),
        "edit-whole": model.edit(image, label, strength=0.3, seed=0),
        "enrich": model.enrich(image, seed=0),
        "interpolate": model.interpolate([first, image], frames=3, seed=0)[1],
    }


def changed_outside(before: Image.Image, after: dict[str, Image.Image]) -> int:
    """Pixels that inpaint, edit and outpaint have changed though nothing was asked for there."""
    width, height = before.size
    kept = np.ones((height, width), dtype=bool)
    kept[2 * height // 5 : 3 * height // 5, 2 * width // 5 : 3 * width // 5] = False
    old = np.asarray(before).reshape(height, width, -1)
    count = 0
    for task in ("inpaint", "edit"):
        new = np.asarray(after[task]).reshape(height, width, -1)
        count += int((new != old).any(axis=-1)[kept].sum())
    wide = np.asarray(after["outpaint"].crop((0, 0, width, height))).reshape(height, width, -1)
    return count + int((wide != old).any(axis=-1).sum())


def main() -> None:
    """Try and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--output", type=Path, help="write what was made into this folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load(options.model)
    originals = [read_image(path) for path in options.photographs]
    rows = []
    for path, original in zip(options.photographs, originals, strict=True):
        start = time.perf_counter()
        made = tried(model, original.image, originals[0].image)
        rows.append(
            {
                "photograph": path.name,
                "size": "×".join(map(str, original.size)),
                "mode": original.mode,
                "seconds": round(time.perf_counter() - start, 1),
                "changed_outside": changed_outside(original.image, made),
                "modes_kept": all(made[task].mode == original.mode for task in made if task != "interpolate"),
            }
        )
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            for task, image in made.items():
                image.save(options.output / f"{path.stem}-{task}.png")
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
