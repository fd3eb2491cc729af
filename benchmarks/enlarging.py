"""Whether `bigr enrich --scale 2` enlarges better than Lanczos does: scenes that were reduced, and their originals.

    python benchmarks/enlarging.py --count 300
    python benchmarks/enlarging.py --count 100 --reduced-by Lanczos

Unseen scenes are the truth; they are reduced by two, by the means of 2 × 2 pixels or by Lanczos, and enlarged again by
`enrich` with its defaults, and by Lanczos. `to` is the size of the truth: the model's own, and twice that, where the
model sees parts of a scene as if they were whole ones. PSNR to the truth, and the Fréchet distance to it in the
evaluator's features, of images of 64 pixels (larger ones are cut into four).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judging import UNSEEN, embeddings
from numpy.typing import NDArray
from PIL import Image
from tables import add_record, record, show
from zero_shot import all_done

from bigr_cli import console
from bigr_cli.data.scenes import scene
from bigr_cli.editing.requests import Enrich
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model, load

_EXAMPLES = 4
_FEWER = 3  # scenes of twice the size are a third as many


def compared(model: Model, size: int, count: int, kernel: str, folder: Path | None) -> list[dict[str, Any]]:
    """A row for enrich and one for Lanczos."""
    truth = [scene(0, UNSEEN + index, size)[0] for index in range(count)]
    half = (size // 2, size // 2)
    given = [image.reduce(2) if kernel == "means" else image.resize(half, Image.Resampling.LANCZOS) for image in truth]
    request = model.request(Enrich, scale=2)
    made = all_done(
        model,
        [request.paint(model.network, Original(image), seed) for seed, image in enumerate(given)],
        f"enriched to {size}",
    )
    images = {
        "enrich": [one.image for one in made],
        "Lanczos": [image.resize((size, size), Image.Resampling.LANCZOS) for image in given],
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(_EXAMPLES):
            row = [
                given[index].resize((size, size), Image.Resampling.NEAREST),
                *(each[index] for each in images.values()),
            ]
            np_row = np.concatenate([np.asarray(one) for one in (*row, truth[index])], axis=1)
            Image.fromarray(np_row).save(folder / f"{size}-{kernel}-{index}.png")
    console.say(f"enlarged to {size}")
    real = embeddings(_parts(truth))
    left = sum(one.left for one in made) / max(1, sum(one.windows for one in made))
    return [
        {
            "to": size,
            "images": count,
            "reduced_by": kernel,
            "enlarged_by": name,
            "PSNR": float(np.mean([_psnr(one, other) for one, other in zip(every, truth, strict=True)])),
            "worst": float(np.min([_psnr(one, other) for one, other in zip(every, truth, strict=True)])),
            "Frechet_distance": frechet_distance(embeddings(_parts(every)), real),
            "windows_left": 100 * left if name == "enrich" else None,
            "same_as_Lanczos": sum(one == other for one, other in zip(every, images["Lanczos"], strict=True)),
        }
        for name, every in images.items()
    ]


def _psnr(one: Image.Image, other: Image.Image) -> float:
    squared = (np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)) ** 2
    return float(10 * np.log10(255**2 / max(squared.mean(), 1e-9)))


def _parts(images: Sequence[Image.Image]) -> torch.Tensor:
    """(N, 3, 64, 64) uint8: images of 64 pixels as they are, larger ones in squares."""
    stacked: NDArray[np.uint8] = np.stack([np.asarray(image) for image in images])
    count, size = len(stacked), stacked.shape[1] // 64
    cut = stacked.reshape(count, size, 64, size, 64, 3).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 3, 64, 64)
    return torch.from_numpy(np.ascontiguousarray(cut))


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--reduced-by", choices=("means", "Lanczos"), default="means")
    parser.add_argument("--output", type=Path, help="write examples: given, enriched, Lanczos, truth")
    parser.add_argument("--json", action="store_true")
    add_record(parser)
    options = parser.parse_args()
    model = load(options.model)
    rows = [
        row
        for factor, count in ((1, options.count), (2, options.count // _FEWER))
        for row in compared(model, factor * model.config.image_size, count, options.reduced_by, options.output)
    ]
    record(options.record, {"count": options.count, "rows": rows})
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
