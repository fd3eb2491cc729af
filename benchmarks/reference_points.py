"""What the figures for generated images mean: the same ones for images of which one knows how good they are.

    python benchmarks/reference_points.py --count 1000

FID, IS, KID, precision and recall, all by torch-fidelity, from one set of unseen scenes: of as many other unseen scenes
(the floor), of these as the tokenizer gives them back (the ceiling of what the generator can reach), of these blurred,
and of what the model samples with its own settings. Each by two networks: the one that comes with the package, whose
features are part of the tokenizer's loss, and the judge, against which nothing was trained.

Images that the model has sampled are kept until all is measured, so a run that was stopped goes on. After a change of
the generator alone, `--kinds generated` measures its row again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from judging import JUDGE
from PIL import Image, ImageFilter
from tables import show
from torch import Tensor

from bigr_cli.data.loading import as_floats
from bigr_cli.evaluation.extractors import SCENES, open_extractor
from bigr_cli.evaluation.generation import LoadedEvaluator
from bigr_cli.evaluation.image_sets import UNSEEN, ImageSet, scenes, stacked
from bigr_cli.evaluation.references import choose_metrics, open_reference
from bigr_cli.evaluation.samples import Samples, balanced, samples_of
from bigr_cli.model import Model, load
from bigr_cli.progress import progress_bar

KINDS = ("real", "reconstructions", "blurred", "generated")


def reconstructed(image_set: ImageSet, model: Model) -> ImageSet:
    """Images after the tokenizer has encoded and decoded them."""

    def batches(at_once: int) -> Iterator[Tensor]:
        for batch in image_set.batches(at_once):
            yield stacked([np.asarray(image) for image in model.decode(model.encode(as_floats(batch)))])

    return replace(image_set, what="reconstructions", batches=batches)


def blurred(image_set: ImageSet, radius: float) -> ImageSet:
    """Images after a Gaussian blur."""

    def batches(at_once: int) -> Iterator[Tensor]:
        for batch in image_set.batches(at_once):
            images = (Image.fromarray(one) for one in batch.permute(0, 2, 3, 1).contiguous().numpy())
            yield stacked([np.asarray(image.filter(ImageFilter.GaussianBlur(radius))) for image in images])

    return replace(image_set, what=f"blurred by {radius:g}", batches=batches)


def image_sets(model: Model, samples: Samples, options: argparse.Namespace) -> dict[str, ImageSet]:
    """The images of each row that is wanted."""
    real = scenes(model.config.image_size, options.count, start=UNSEEN + options.count)
    sets: dict[str, dict[str, ImageSet]] = {
        "real": {"real scenes": real},
        "reconstructions": {"reconstructions": reconstructed(real, model)},
        "blurred": {f"blurred by {radius:g}": blurred(real, radius) for radius in options.blur},
        "generated": {},
    }
    if "generated" in options.kinds:
        with progress_bar(options.count, "sampling") as bar:
            samples.share(0, 1, bar.advance)
        sets["generated"][model.name] = samples.images()
    return {name: found for kind in options.kinds for name, found in sets[kind].items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or folder of a model; or the default model")
    parser.add_argument("--count", type=int, default=10_000, help="images of every kind (default 10000)")
    parser.add_argument("--blur", type=float, nargs="*", default=[0.6, 2.0], help="radii in pixels (default 0.6 2)")
    parser.add_argument(
        "--features", nargs="*", default=[SCENES, str(JUDGE)], help="networks, as of --features of bigr"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of images (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the first sampled image (default 0)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of tables")
    options = parser.parse_args()
    model = load(options.model, device=options.device)
    size = model.config.image_size
    samples = samples_of(model, balanced(model.config, options.count, options.seed), model.settings(), None)
    kinds = image_sets(model, samples, options)
    for features in options.features:
        extractor = open_extractor(features)
        reference = open_reference(SCENES, (size, size), count=options.count, resize=None)
        evaluator = LoadedEvaluator(
            extractor, reference, choose_metrics(None, extractor, reference), device=model.device
        )
        rows = []
        with torch.inference_mode():
            for name, image_set in kinds.items():
                figures = evaluator.figures(evaluator.features(image_set))
                known = {"images": name, "features": extractor.provenance["name"], "count": options.count}
                rows.append(known | figures)
        if options.json:
            show(rows, as_json=True)
        else:
            print(f"\n{extractor.provenance['name']}\n")
            show([{key: value for key, value in row.items() if key != "features"} for row in rows])
    samples.discard()


if __name__ == "__main__":
    main()
