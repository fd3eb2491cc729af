"""Ways from label to label and from image to image, of nine frames, as the judge sees them.

    python benchmarks/interpolation.py labels --pairs 20 --seed 0
    python benchmarks/interpolation.py images --pairs 32

`labels`: the rank correlation of the judge's probability of the second label with the frame's number, how far frames
are from each other, and in how many ways the last one shows the second label.
`images`: pairs of unseen scenes with different objects, guided by the classes that are guessed and not guided; the
judge's probability of the likelier of both objects in the frames between, and in the worst of them; the mean step.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from judging import load_judge
from parts import add_parts, measure
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor
from zero_shot import all_done, as_judged, unseen

from bigr_cli.data import scenes
from bigr_cli.data.loading import as_floats
from bigr_cli.editing.batched_sampling import SamplingCoroutine
from bigr_cli.editing.requests import Interpolate
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model

FRAMES = 9


def labels(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Labels that change into others."""
    pairs, request = _pairs(options.pairs), model.request(Interpolate, frames=FRAMES)
    coroutines = [request.paint(model.network, pair, options.seed + index) for index, pair in enumerate(pairs)]
    chances, steps = _judged(model, coroutines)
    goal = torch.tensor([second for _, second in pairs])
    found = [
        float(spearmanr(range(FRAMES), way[:, second].numpy()).statistic)
        for way, second in zip(chances, goal.tolist(), strict=True)
    ]
    figures = {
        "rank_correlation": float(np.mean(found)),
        "standard_error": float(np.std(found)) / len(found) ** 0.5,
        "grey_levels_a_step": float(steps.mean()),
        "last_recognised_%": 100 * float((chances[:, -1].argmax(dim=1) == goal).double().mean()),
    }
    return [{"what": "labels", "pairs": len(pairs), **figures}]


def images(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scenes that change into others."""
    ends = _pairs(options.pairs)
    images, _, shown = unseen(4 * len(scenes.LABELS) * (1 + options.pairs // len(scenes.LABELS)))
    left = {label: iter(images[shown == label]) for label in range(len(scenes.LABELS))}
    pairs = [[Original(Image.fromarray(next(left[label]))) for label in pair] for pair in ends]
    rows = []
    for name, guess in (("images, classes guessed", True), ("images, not guided", False)):
        request = model.request(Interpolate, frames=FRAMES, guess=guess).between_images(model.config)
        coroutines = [request.paint(model.network, pair, options.seed + index) for index, pair in enumerate(pairs)]
        chances, steps = _judged(model, coroutines)
        goals = torch.tensor(ends)[:, None].expand(-1, FRAMES, -1)
        either = chances.gather(2, goals).amax(dim=2)[:, 1:-1]  # (N, frames between)
        figures = {
            "object_%": 100 * float(either.mean()),
            "object_in_the_worst_frame_%": 100 * float(either.amin(dim=1).mean()),
            "grey_levels_a_step": float(steps.mean()),
        }
        rows.append({"what": name, "pairs": len(pairs), **figures})
    return rows


def _pairs(number: int) -> list[tuple[int, int]]:
    """Two different labels each, whatever the number of pairs."""
    count = len(scenes.LABELS)
    return [(index % count, (index + 1 + index // count * 5 % (count - 1)) % count) for index in range(number)]


def _judged(model: Model, coroutines: Sequence[SamplingCoroutine[list[Image.Image]]]) -> tuple[Tensor, Tensor]:
    """The judge's probability of each object in each frame (N, F, objects), and the steps between frames (N, F − 1)."""
    judge, chances, steps = load_judge(), [], []
    for frames in all_done(model, coroutines, "interpolate"):
        stacked = as_judged(np.stack([np.asarray(frame) for frame in frames]))
        with torch.inference_mode():
            chances.append(judge(as_floats(stacked))["object"].softmax(1))
        steps.append(stacked.float().diff(dim=0).abs().mean(dim=(1, 2, 3)))
    return torch.stack(chances), torch.stack(steps)


PARTS = {"labels": labels, "images": images}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_parts(parser, PARTS)
    parser.add_argument("--pairs", type=int, default=20, help="of labels, or of images (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the first pair (default 0)")
    options = parser.parse_args()
    options.count = options.real = max(2, options.pairs)
    measure(parser, options, PARTS)


if __name__ == "__main__":
    main()
