"""How well a tokenizer reconstructs scenes that no network of ours has seen.

    python benchmarks/reconstruction.py --model scenes-64 --count 5000 --image reconstructions.png

PSNR (the mean of the images' decibels) over whole images and inside the object's box; what the judge reads off the
originals and off what came back, and the Fréchet distance between the two; how the bits are used. All of it on images
rounded to 8 bits, as they are saved. --image shows 16 of them, originals above, four times enlarged.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from judging import SIZE, UNSEEN, answers, embeddings, load_judge
from PIL import Image
from tables import add_record, record, show
from torch import Tensor

from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data import scenes
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import ScenesSource
from bigr_cli.evaluation.classifier import ScenesClassifier
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.evaluation.reconstruction import bit_usage, boxes, psnr
from bigr_cli.evaluation.tokenizers import reconstructed
from bigr_cli.imaging.arrays import to_images
from bigr_cli.imaging.montage import grid
from bigr_cli.runtime.device import select_device
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import load_tokenizer

ZOOM = 4
SHOWN = 16


@torch.inference_mode()
def reconstruct(
    tokenizer: Tokenizer, source: ScenesSource, batch: int, refine: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Originals and what came back (N, 3, H, W) uint8, the object's coverage (N, 1, H, W), codes (N, L, K)."""
    parts = []
    for given in all_batches(source, batch):
        made, codes = reconstructed(tokenizer, given.images, refine)
        parts.append((given.images, made, given.foreground, codes))
    originals, made, foreground, codes = (torch.cat(part) for part in zip(*parts, strict=True))
    return originals, made, foreground, codes


def fidelity(originals: Tensor, made: Tensor, foreground: Tensor) -> dict[str, float]:
    """PSNR in decibels over the images and inside the objects' boxes: the mean, and what 95 % of them exceed."""
    batches = [part.split(256) for part in (originals, made, foreground)]
    pairs = [(as_floats(b), as_floats(a), boxes(c)) for a, b, c in zip(*batches, strict=True)]
    whole = torch.cat([psnr(b, a) for b, a, _ in pairs])
    inside = torch.cat([psnr(b, a, box) for b, a, box in pairs])
    return {
        "psnr": float(whole.mean()),
        "psnr_95": float(whole.quantile(0.05)),
        "psnr_object": float(inside.mean()),
        "psnr_object_95": float(inside.quantile(0.05)),
    }


def truth(judge: ScenesClassifier, source: ScenesSource) -> dict[str, Tensor]:
    """The right answer of each head for every image: (N,)."""
    shown = [scenes.describe(source.seed, source.start + index) for index in range(len(source))]
    fields = {head: "label" if head == "object" else head for head in judge.answers}
    return {
        head: torch.tensor([choices.index(getattr(scene, fields[head])) for scene in shown])
        for head, choices in judge.answers.items()
    }


def read(originals: Tensor, made: Tensor, right: dict[str, Tensor], judge: ScenesClassifier) -> dict[str, float]:
    """For each head the share of right answers, in %, on the originals and on what came back, and the difference."""
    before, after = answers(originals, judge), answers(made, judge)
    measures: dict[str, float] = {}
    for head, wanted in right.items():
        one, other = (100 * float((each[head] == wanted).double().mean()) for each in (before, after))
        measures |= {f"{head}_original": one, f"{head}_made": other, f"{head}_points": other - one}
    return measures


def image(originals: Tensor, made: Tensor) -> Image.Image:
    """Eight columns: a row of originals, below it what came back, and so on; every pixel four times enlarged."""
    rows = [row for pair in zip(originals[:SHOWN].split(8), made[:SHOWN].split(8), strict=True) for row in pair]
    images = to_images(as_floats(torch.cat(rows)))
    size = images[0].width * ZOOM
    return grid([image.resize((size, size), Image.Resampling.NEAREST) for image in images], columns=8, gap=ZOOM)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or folder of a model, or a run of train-tokenizer; or the default model")
    parser.add_argument("--count", type=int, default=5000, help="images (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default 0)")
    parser.add_argument("--start", type=int, default=UNSEEN, help="number of the first scene")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--refine", type=int, metavar="N", help="steps in which better codes are looked for")
    parser.add_argument("--image", type=Path, help="write originals and reconstructions to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_record(parser)
    options = parser.parse_args()
    device = select_device(options.device)
    tokenizer, config = load_tokenizer(find_model(options.model), device=device)
    if config.image_size != SIZE:
        parser.error(f"the judge reads images of {SIZE} pixels; {config.name} has {config.image_size}")
    judge = load_judge(str(device))
    source = ScenesSource(SIZE, options.seed, options.start, options.count)
    refine = config.refine if options.refine is None else options.refine
    originals, made, foreground, codes = reconstruct(tokenizer, source, options.batch_size, refine)
    measures: dict[str, object] = {"model": config.name, "images": len(source), "refine": refine}
    measures |= fidelity(originals, made, foreground)
    measures |= read(originals, made, truth(judge, source), judge)
    measures |= {"frechet": frechet_distance(embeddings(originals, judge), embeddings(made, judge))}
    measures |= bit_usage(codes)
    if options.record:
        alone = reconstruct(tokenizer, source, options.batch_size, 0)[1]
        others = {f"{name}_encoder_alone": value for name, value in fidelity(originals, alone, foreground).items()}
        record(options.record, measures | others)
    if options.image:
        image(originals, made).save(options.image)
    if options.json:
        show([measures], as_json=True)
    else:
        show([{"measure": name, "value": value} for name, value in measures.items()])


if __name__ == "__main__":
    main()
