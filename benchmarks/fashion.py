"""What a model of Fashion-MNIST is worth: reconstructions, samples read as asked, Fréchet distance, a linear probe.

    python benchmarks/fashion.py runs/fashion                    # a model folder, or a run
    python benchmarks/fashion.py runs/fashion --no-probe --set guidance=4 guidance_schedule=linear
    python benchmarks/fashion.py --only-classifier

The images are those of Debian's package dataset-fashion-mnist. What reads the samples is a small convolutional network
that is trained here on the 60,000 real training images, tested on the 10,000 real test images, and kept in --work; no
sample, reconstruction or tokenizer has anything to do with it. Its features give the Fréchet distances, all of --count
images from the 10,000 test images; two disjoint sets of real training images show what real ones get.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tables import add_record, add_set, record, show
from torch import Tensor, nn
from torch.nn import functional as F

from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import open_source
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.evaluation.reconstruction import psnr
from bigr_cli.evaluation.tokenizers import reconstructed
from bigr_cli.files import atomic_write
from bigr_cli.model import Model, load

FOLDER = Path("/usr/share/datasets/fashion-mnist")
TEST = "t10k-images-idx3-ubyte.gz"
SIZE, CLASSES, BATCH = 28, 10, 250


class Classifier(nn.Module):
    """Two convolutions at each of three resolutions, then a linear layer; (N, 1, 28, 28) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for given, made in ((1, 32), (32, 64), (64, 128)):
            for start, stride in ((given, 1), (made, 2)):
                layers += [nn.Conv2d(start, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10)."""
        logits: Tensor = self.head(self.body(images))
        return logits


def real(test: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 28, 28) uint8 and their classes (N,)."""
    source = open_source(str(FOLDER / TEST if test else FOLDER), SIZE)
    parts = list(all_batches(source, 1000))
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def grey(images: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 → (N, 1, H, W) in [0, 1]."""
    return as_floats(images).mean(dim=1, keepdim=True)


def trained(images: Tensor, labels: Tensor, *, seed: int, epochs: int) -> Classifier:
    """A classifier of real images, mirrored at random."""
    torch.manual_seed(seed)
    network, given = Classifier(), grey(images)
    steps = epochs * (len(given) // 128)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        for rows in torch.randperm(len(given))[: len(given) // 128 * 128].split(128):
            batch = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, given[rows], given[rows].flip(-1))
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels[rows], label_smoothing=0.05).backward()
            optimizer.step()
            rate.step()
        print(f"classifier: epoch {epoch + 1} of {epochs}", file=sys.stderr)
    return network.eval()


def classifier(work: Path, *, seed: int, epochs: int) -> Classifier:
    """The classifier of a seed, from a file in `work` or trained now."""
    path = work / f"fashion-classifier-{seed}.safetensors"
    network = Classifier()
    if not path.is_file():
        network = trained(*real(test=False), seed=seed, epochs=epochs)
        work.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            save_file(network.state_dict(), temporary)
    network.load_state_dict(load_file(path))
    return network.eval()


@torch.inference_mode()
def _batched(images: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([read(grey(batch)) for batch in images.split(BATCH)])


def answers(network: Classifier, images: Tensor) -> Tensor:
    """The likeliest class of each image (N, 3, H, W) uint8: (N,)."""
    return _batched(images, lambda batch: network(batch).argmax(dim=1))


def features(network: Classifier, images: Tensor) -> NDArray[np.float64]:
    """What the last layer sees: (N, 128)."""
    return _batched(images, network.body).double().numpy()


def samples(model: Model, count: int, seed: int, **settings: object) -> tuple[Tensor, Tensor, float]:
    """Images (N, 3, H, W) uint8 of all classes alike, their classes, seconds an image; settings change the model's."""
    labels = sorted(range(CLASSES))
    begin = time.perf_counter()
    images = model.generate(labels, count=count // CLASSES, seed=seed, **settings)
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    asked = torch.arange(CLASSES).repeat_interleave(count // CLASSES)
    return pixels, asked, (time.perf_counter() - begin) / len(images)


def given_back(model: Model, images: Tensor, refine: int) -> Tensor:
    """Reconstructions (N, 3, H, W) uint8, rounded as they are saved."""
    return torch.cat([reconstructed(model.tokenizer, batch, refine)[0] for batch in images.split(BATCH)])


def probe(model: str) -> dict[str, float]:
    """Accuracy of linear probes on the test images, of the best layer and of raw pixels, in %."""
    words = ["evaluate", "probe", "--data", str(FOLDER), "--test", str(FOLDER / TEST), "-m", model, "--json", "-q"]
    run = subprocess.run([sys.executable, "-m", "bigr_cli", *words], check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    others = {row["features"]: 100 * row["top1"] for row in found["rows"] if row["layer"] is None}
    return {
        "probe": 100 * found["best"]["top1"],
        "probe_layer": found["best"]["layer"],
        "probe_pixels": others["pixels"],
    }


def measured(options: argparse.Namespace) -> dict[str, object]:
    """All that is measured of a model."""
    model, network = load(options.model), classifier(options.work, seed=options.seed, epochs=options.epochs)
    training, (test, truth) = real(test=False), real(test=True)
    reference, count = features(network, test), options.count
    order = torch.randperm(len(training[0]), generator=torch.Generator().manual_seed(0))
    sets = [training[0][order[part * count : (part + 1) * count]] for part in range(2)]
    begin = options.seed if options.first_seed is None else options.first_seed
    images, asked, seconds = samples(model, count, begin, **dict(options.set))
    right = (answers(network, images) == asked).double()
    some = test[: options.reconstruct]
    alone, refined = (given_back(model, some, steps) for steps in (0, model.config.refine))
    row: dict[str, object] = {
        "model": str(options.model),
        "count": count,
        "classifier": 100 * float((answers(network, test) == truth).double().mean()),
        "read_as_asked": 100 * float(right.mean()),
        "frechet": frechet_distance(features(network, images), reference),
        "frechet_real": [frechet_distance(features(network, each), reference) for each in sets],
        "frechet_reconstructed": frechet_distance(features(network, given_back(model, sets[0], 0)), reference),
        "psnr": float(psnr(as_floats(refined), as_floats(some)).mean()),
        "psnr_encoder_alone": float(psnr(as_floats(alone), as_floats(some)).mean()),
        "seconds_per_sample": seconds,
    }
    row["by_class"] = [round(100 * float(right[asked == each].mean()), 1) for each in range(CLASSES)]
    return row if options.no_probe else row | probe(options.model)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="name or folder of a model, or a run")
    parser.add_argument("--only-classifier", action="store_true", help="train and test the classifier, and end")
    parser.add_argument("--count", type=int, default=2000, help="samples (default 2000)")
    parser.add_argument("--reconstruct", type=int, default=10_000, help="test images to reconstruct (default all)")
    parser.add_argument("--no-probe", action="store_true", help="leave the linear probes of 60,000 images out")
    parser.add_argument("--epochs", type=int, default=8, help="of the classifier's training (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the classifier and of the first sample (default 0)")
    parser.add_argument("--first-seed", type=int, help="seed of the first sample, if it is another")
    add_set(parser, "the sampler")
    parser.add_argument("--work", type=Path, default=Path("runs/fashion-work"), help="where the classifier is kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_record(parser)
    options = parser.parse_args()
    if options.only_classifier or not options.model:
        network, (test, truth) = classifier(options.work, seed=options.seed, epochs=options.epochs), real(test=True)
        print(f"{100 * float((answers(network, test) == truth).double().mean()):.2f} % of the real test images")
        return
    found = measured(options)
    record(options.record, found)
    show([found] if options.json else [{"measure": k, "value": v} for k, v in found.items()], as_json=options.json)


if __name__ == "__main__":
    main()
