"""Train the network that reads scenes: `python benchmarks/train_classifier.py --seed 1 -o models/scenes-classifier`.

Images are drawn as they are needed and none comes twice. Slight changes of each (shifts, blur, noise, brightness)
teach the network to read good reconstructions and samples, which are never quite as sharp as the originals; a blob
stays a blob.
"""

from __future__ import annotations

import argparse
import copy
import math
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader, Dataset

from bigr_cli.data import scenes
from bigr_cli.data.loading import as_floats
from bigr_cli.evaluation.classifier import ScenesClassifier, save_classifier
from bigr_cli.training.objective import WeightAverage
from bigr_cli.training.optim import Muon

SIZE = 64
UNSEEN = 10**9  # the number of the first held-out image
HEADS = {"object": scenes.LABELS, "color": scenes.COLORS, "ground": scenes.GROUNDS, "time": scenes.TIMES}


class Examples(Dataset[Any]):
    """Scenes `start`, `start` + 1, … of data set `seed`: the image (3, 64, 64) uint8 and an answer for each head."""

    def __init__(self, seed: int, start: int, count: int) -> None:
        self.seed, self.start, self.count = seed, start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, scene = scenes.scene(self.seed, self.start + index, SIZE)
        shown = (scene.label, scene.color, scene.ground, scene.time)
        answers = [choices.index(answer) for choices, answer in zip(HEADS.values(), shown, strict=True)]
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), torch.tensor(answers)

    def batches(self, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, 64, 64) floats and (B, heads) answers, drawn ahead by that many processes."""
        for images, answers in DataLoader(self, batch, num_workers=workers, prefetch_factor=4 if workers else None):
            yield as_floats(images), answers


def changed(images: Tensor, options: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """Each image shifted, blurred, noisy and of another brightness, all of it by little: (B, 3, H, W) → the same."""

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low

    reach = options.shift
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    places = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=generator).tolist()
    x = torch.stack([p[:, y : y + SIZE, x : x + SIZE] for p, (y, x) in zip(padded, places, strict=True)])
    deviation = draw(-options.blur, options.blur).clamp_min(1e-3)  # half of the images stay sharp
    side = torch.exp(-0.5 / deviation.square())  # a Gaussian of three taps, relative to the middle one
    x = F.pad(x, (1,) * 4, mode="replicate")
    x = (x[..., 1:-1] + side * (x[..., :-2] + x[..., 2:])) / (1 + 2 * side)
    x = (x[..., 1:-1, :] + side * (x[..., :-2, :] + x[..., 2:, :])) / (1 + 2 * side)
    spread = options.brightness
    x = x * draw(1 - spread, 1 + spread) + draw(-spread / 2, spread / 2)
    x = x + draw(0, options.noise) * torch.randn(x.shape, generator=generator)
    return x.clamp(0, 1)


def normalised(model: ScenesClassifier) -> ScenesClassifier:
    """A copy with batch normalisation behind every convolution, for training."""
    model = copy.deepcopy(model)
    for block in model.blocks:
        for name, convolution in list(block.named_children()):
            block.add_module(name, nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels)))
    return model


def folded(model: ScenesClassifier) -> ScenesClassifier:
    """A copy whose batch normalisations have become part of the convolutions before them."""
    model = copy.deepcopy(model).eval()
    for block in model.blocks:
        for name, (convolution, normalisation) in list(block.named_children()):
            block.add_module(name, fuse_conv_bn_eval(convolution, normalisation))
    return model


def optimizers(model: ScenesClassifier, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions between feature maps, AdamW for the rest."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        inner = name.startswith("blocks.") and parameter.ndim == 4 and parameter.shape[1] > 3
        (matrices if inner else rest).append(parameter)
    return [
        Muon(matrices, options.matrix_rate, weight_decay=options.weight_decay),
        torch.optim.AdamW(rest, options.rate, weight_decay=options.weight_decay),
    ]


def train(options: argparse.Namespace) -> ScenesClassifier:
    """The trained network: averaged weights, normalisation folded in."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    device = torch.device(options.device)
    plain = ScenesClassifier(tuple(options.width * share for share in (3, 5, 10, 20)), HEADS)
    model = normalised(plain).to(device, memory_format=torch.channels_last).train()
    average = WeightAverage(model, 0.99)
    parts = [(optimizer, optimizer.param_groups[0]["lr"]) for optimizer in optimizers(model, options)]
    steps, began = math.ceil(options.images / options.batch), time.perf_counter()
    examples = Examples(options.data_seed, options.start, options.images)
    for step, (images, answers) in enumerate(examples.batches(options.batch, options.workers)):
        images, answers = changed(images, options, generator).to(device), answers.to(device)
        logits = model(images.contiguous(memory_format=torch.channels_last))
        loss = sum(
            (F.cross_entropy(each, target) for each, target in zip(logits.values(), answers.unbind(1), strict=True)),
            start=torch.zeros((), device=device),
        )
        share = min(1.0, (step + 1) / 30) * (1 + math.cos(math.pi * step / steps)) / 2
        for optimizer, rate in parts:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        loss.backward()
        for optimizer, _ in parts:
            optimizer.step()
        average.update(model, step + 1)
        if step % 50 == 49 or step + 1 == steps:
            speed = (step + 1) * options.batch / (time.perf_counter() - began)
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {speed:.0f} images/s", file=sys.stderr)
    return folded(average.module).to(device)


@torch.no_grad()
def accuracy(model: ScenesClassifier, options: argparse.Namespace, count: int, blur: float = 0.0) -> dict[str, float]:
    """The share of right answers by head on unseen scenes, as they are or blurred by a Gaussian of `blur` pixels."""
    from torchvision.transforms.functional import gaussian_blur

    right = torch.zeros(len(HEADS))
    for images, answers in Examples(options.data_seed, UNSEEN, count).batches(250, options.workers):
        images = gaussian_blur(images, [9, 9], [blur, blur]) if blur else images
        guesses = [logits.argmax(1).cpu() for logits in model(images.to(options.device)).values()]
        right += (torch.stack(guesses, 1) == answers).sum(0)
    return {name: round(float(share), 4) for name, share in zip(HEADS, right / count, strict=True)}


CARD = """# {name}

A small convolutional network ({parameters:,} parameters, {operations:.0f} million floating-point operations an image)
that reads 64 × 64 pixel images of the built-in data set: which object, its colour, the ground and the time of day.
{use}

It was trained on {images:,} scenes, none of them twice, each shifted by up to {shift} pixels, half of them blurred by
up to {blur} pixels, with a little noise and brightness. Accuracy on {count:,} scenes that it never saw:

| scenes | {columns} |
|---|{line}|
| as they are | {sharp} |
| blurred by 0.6 pixels | {slight} |
| blurred by 2 pixels | {strong} |

The package draws the data set itself, so nobody else has rights in these weights; licence: MIT. Made by

```
{command}
```
"""


def card(model: ScenesClassifier, options: argparse.Namespace, tables: list[dict[str, float]]) -> str:
    """The text that goes with the weights."""
    rows = [" | ".join(f"{share:.2%}" for share in table.values()) for table in tables]
    return CARD.format(
        name=options.output.name,
        use=options.use,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        operations=operations(model) / 1e6,
        columns=" | ".join(HEADS),
        line="---|" * (len(HEADS) - 1) + "---",
        sharp=rows[0],
        slight=rows[1],
        strong=rows[2],
        count=options.held_out,
        images=options.images,
        shift=options.shift,
        blur=options.blur,
        command=shlex.join(["python", "benchmarks/train_classifier.py", *sys.argv[1:]]),
    )


def operations(model: ScenesClassifier) -> int:
    """Multiplications and additions, each counted, in one forward pass over one image."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, SIZE, SIZE, device=next(model.parameters()).device))
    return int(counter.get_total_flops())


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the weights and the changes")
    parser.add_argument("--data-seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--start", type=int, default=0, help="number of the first scene")
    parser.add_argument("--images", type=int, default=60_000, help="how many to train on")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=8, help="the blocks have 3, 5, 10 and 20 times as many channels")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of AdamW")
    parser.add_argument("--matrix-rate", type=float, default=5e-3, help="learning rate of Muon")
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--shift", type=int, default=2, help="pixels, at most")
    parser.add_argument("--blur", type=float, default=0.6, help="standard deviation in pixels, at most")
    parser.add_argument("--noise", type=float, default=0.03, help="standard deviation, at most")
    parser.add_argument("--brightness", type=float, default=0.08, help="share, at most")
    parser.add_argument("--held-out", type=int, default=5000, help="unseen scenes to measure the accuracy on")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--use", default="", help="a sentence for the card: what the network is for")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    """Train, measure, write."""
    options = arguments()
    model = train(options)
    halved = copy.deepcopy(model).half().float()  # as it will be read back
    data = f"scenes {options.data_seed}, from {options.start}, {options.images} images"
    first = accuracy(halved, options, options.held_out)
    print(first)
    save_classifier(options.output, model, name=options.output.name, accuracy=first, seed=options.seed, data=data)
    tables = [first, *(accuracy(halved, options, options.held_out, blur) for blur in (0.6, 2.0))]
    (options.output / "README.md").write_text(card(model, options, tables), encoding="utf-8")
    print(*tables, sep="\n")


if __name__ == "__main__":
    main()
