"""What a training on ImageNet would take: measured here as far as a processor can tell, and reckoned from there.

    python benchmarks/plan.py
    python benchmarks/plan.py --peak 312 --share 0.35 --price 1.5 --devices 8,32 --link 25

Measured on one core of this machine, with random weights, by the processor's time: floating-point operations an image
(counted), the time of a step of --batch images and which share of the matrix rate it reaches, the time of optimiser
and average, what is kept for the backward pass, and JPEGs a second through the loader that trainings use. Reckoned:
hours, money, and what each device has to be sent and fed, for devices whose peak, share of it and price are arguments.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tables import show
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.file_source import FileSource
from bigr_cli.data.loading import Positions, load_batches
from bigr_cli.data.sources import open_source
from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.generator_loss import masked_loss
from bigr_cli.training.loss_config import MaskingConfig
from bigr_cli.training.objective import WeightAverage
from bigr_cli.training.optim import Optimizers
from bigr_cli.training.sharding import checkpoint_blocks
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.find import find_model

IMAGES = 1_281_167  # ImageNet-1K
MASKED = 2 / math.pi  # the mean of cos(πr / 2), r uniform: the share of tokens that the transcoder sees
GB = 1e9
SHOWN = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")  # photographs


def counted(config: ModelConfig) -> dict[str, float]:
    """GFLOP for one image: transformer and transcoder forwards and backwards, the frozen tokenizer forwards."""
    if config.generator is None:
        raise SystemExit(f"{config.name} has no generator")
    sizes, meta = config.generator, torch.device("meta")
    with meta:
        generator, tokenizer = Generator(sizes), Tokenizer(config.tokenizer)
    generator.to(meta)
    tokenizer.to(meta)
    codes, masked = (
        torch.zeros(1, sizes.tokens, sizes.bits, device=meta),
        torch.ones(1, sizes.tokens, device=meta).bool(),
    )
    label, times = torch.zeros(1, dtype=torch.int64, device=meta), torch.ones(sizes.tokens, device=meta).long()

    def transformer() -> Tensor:
        return generator.condition(codes, label, masked).sum()

    def transcoder() -> Tensor:
        condition = torch.zeros(sizes.tokens, sizes.dim, device=meta, requires_grad=True)
        return generator.transcoder.flip_logits(codes[0], times, condition).sum()

    found = {}
    for name, part in (("transformer", transformer), ("transcoder, all tokens", transcoder)):
        with FlopCounterMode(display=False) as counter:
            part().backward()
        found[name] = counter.get_total_flops() / 1e9
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokenizer.bit_probabilities(torch.zeros(1, 3, config.image_size, config.image_size, device=meta))
    found["tokenizer"] = counter.get_total_flops() / 1e9
    found["an image"] = found["transformer"] + MASKED * found["transcoder, all tokens"]
    return found


def stepped(generator: Generator, batch: int, steps: int) -> dict[str, float]:
    """Processor seconds of forwards and backwards, and of optimiser and average; GFLOP of the former, as counted."""
    average, optimizers = WeightAverage(generator, 0.9999), Optimizers(generator, OptimizerConfig())
    flops, start = 0, time.process_time()
    for step in range(steps):
        torch.manual_seed(step)
        with FlopCounterMode(display=False) as counter:
            loss(generator, batch).backward()
        flops += counter.get_total_flops()
    passes, moves = time.process_time() - start, []
    for step in range(3):  # the first makes the optimiser's state
        start = time.process_time()
        optimizers.step()
        average.update(generator, step + 1)
        moves.append(time.process_time() - start)
    return {"passes": passes, "moves": min(moves), "gflop": flops / 1e9}


def product(rows: int, inner: int, columns: int) -> float:
    """GFLOP/s of a matrix product in float32, by the processor's time."""
    left, right = torch.rand(rows, inner), torch.rand(inner, columns)
    best = math.inf
    for _ in range(10):
        start = time.process_time()
        left @ right
        best = min(best, time.process_time() - start)
    return 2e-9 * rows * inner * columns / best


def loss(generator: Generator, batch: int) -> Tensor:
    """Of random codes."""
    sizes = generator.config
    codes, labels = torch.rand(batch, sizes.tokens, sizes.bits) < 0.5, torch.randint(sizes.classes, (batch,))
    return masked_loss(generator, codes, labels, MaskingConfig())


def kept(config: GeneratorConfig, batch: int, *, checkpointed: bool) -> float:
    """GB an image that wait for the backward pass in bfloat16 autocast, besides the weights' copies.

    By the tensors' shapes: nothing is computed.
    """

    def held(images: int) -> int:
        seen: dict[int, tuple[int, Tensor]] = {}

        def pack(tensor: Tensor) -> Tensor:
            seen[tensor.untyped_storage()._cdata] = (tensor.untyped_storage().nbytes(), tensor)
            return tensor

        generator = Generator(config).train()
        if checkpointed:
            checkpoint_blocks(generator)
        codes = torch.zeros(images, config.tokens, config.bits)
        masked, labels = torch.ones(images, config.tokens).bool(), torch.zeros(images).long()
        rows = round(MASKED * images * config.tokens)
        with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
            condition = generator.condition(codes, labels, masked).flatten(0, 1)[:rows]
            bits = codes.flatten(0, 1)[:rows]
            result = generator.transcoder.flip_logits(bits, torch.ones(rows).long(), condition)
        del result
        return sum(size for size, _ in seen.values())

    with FakeTensorMode():
        return (held(2 * batch) - held(batch)) / batch / GB


def decoded(images: list[Path], size: int, seconds: float) -> dict[str, float]:
    """JPEGs a second that one core reads, decodes, cuts and mirrors."""
    with tempfile.TemporaryDirectory() as folder:
        total = 0
        for number in range(64):
            shown = Image.open(images[number % len(images)]).convert("RGB").resize((500, 375))
            shifted = np.roll(np.asarray(shown), 7 * number, axis=1)
            path = Path(folder) / f"{number}.jpg"
            Image.fromarray(shifted).save(path, quality=97)
            total += path.stat().st_size
        source = open_source(folder, size)
        if not isinstance(source, FileSource):
            raise TypeError(f"expected files, got {type(source).__name__}")
        training, _ = source.split(np.arange(len(source)) < 4, count=None, flip=True, crop=0.8)
        batches = load_batches(training, Positions(len(training), 16, seed=0), workers=0)
        next(batches)
        done, start = 0, time.process_time()
        while time.process_time() - start < seconds:
            done += len(next(batches).images)
        return {"rate": done / (time.process_time() - start), "kilobytes": total / 64 / 1000}


def plan(options: argparse.Namespace, gflop: float, weights: int, core: float, kept: float) -> list[dict[str, object]]:
    """Hours, money and needs for each number of devices."""
    rate = options.share * options.peak * 1000 / gflop  # images a second of one device
    rows: list[dict[str, object]] = []
    for devices in options.devices:
        work = options.global_batch / devices / rate  # seconds a step
        others = (devices - 1) / devices
        # All-reduce: each sends and gets the gradients about twice. FSDP2: gathered twice and scattered once.
        sent = {"DDP": 2 * others * 4 * weights, "FSDP2": 3 * others * 4 * weights}
        slowest = max(each / (options.link * GB) for each in sent.values())
        hours = IMAGES * options.epochs / (rate * devices) / 3600
        rows.append(
            {
                "devices": devices,
                "images a second": rate * devices,
                "hours": hours,
                "device-hours": hours * devices,
                "price": hours * devices * options.price,
                "step, s": work,
                "DDP sends, GB": sent["DDP"] / GB,
                "FSDP2 sends, GB": sent["FSDP2"] / GB,
                "sending / step": slowest / work,
                "cores to decode": rate * devices / core,
                "images at a time": options.global_batch / devices,
                "activations, GB": kept * options.global_batch / devices,
                "state DDP, GB": 20 * weights / GB,
                "state FSDP2, GB": 20 * weights / devices / GB,
            }
        )
    return rows


def main() -> None:
    """Measure, reckon and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bigr-l-d24", help="whose sizes are taken (default bigr-l-d24)")
    parser.add_argument("--batch", type=int, default=2, help="images of the step that is timed here (default 2)")
    parser.add_argument("--steps", type=int, default=1, help="steps that are timed here (default 1)")
    parser.add_argument("--images", type=Path, nargs="+", help="photographs to be decoded; else scikit-image's own")
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s of a device, bfloat16 (default 989, H100)")
    parser.add_argument("--share", type=float, default=0.4, help="of that, as is assumed to be reached (default 0.4)")
    parser.add_argument("--price", type=float, default=2.5, help="assumed, of an hour of a device (default 2.5)")
    parser.add_argument("--devices", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--link", type=float, default=50, help="GB/s that a device sends (default 50: 400 Gbit/s)")
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--global-batch", type=int, default=1024)
    parser.add_argument("--json", action="store_true", help="print JSON objects instead of tables")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that the processor's time is that of the work, whatever else it does
    config = read_config(find_model(options.model))
    flops = counted(config)
    sizes = config.generator
    generator = Generator(sizes).train()
    weights = sum(weight.numel() for weight in generator.parameters())
    shape = options.batch * (sizes.tokens + 1), sizes.dim, 3 * sizes.dim
    before = product(*shape)
    step = stepped(generator, options.batch, options.steps)
    matrices = max(before, product(*shape))
    plain, twice = (kept(sizes, options.batch, checkpointed=each) for each in (False, True))
    shown = options.images or [_photographs() / name for name in SHOWN]
    core = decoded(shown, config.image_size, 5.0)
    measured = {
        "parameters": weights,
        **{f"GFLOP: {name}": value for name, value in flops.items()},
        "GFLOP an image, in the timed steps": step["gflop"] / options.steps / options.batch,
        "core-seconds an image, forwards and backwards": step["passes"] / options.steps / options.batch,
        "core-seconds a step, optimiser and average": step["moves"],
        "GFLOP/s reached": step["gflop"] / step["passes"],
        "GFLOP/s of a matrix product, float32, one core": matrices,
        "share": step["gflop"] / step["passes"] / matrices,
        "kept an image, GB": plain,
        "kept an image with gradient checkpointing, GB": twice,
        "JPEGs a second and core": core["rate"],
        "kilobytes a JPEG": core["kilobytes"],
    }
    rows = plan(options, flops["an image"], weights, core["rate"], plain)
    if options.json:
        show([measured, *rows], as_json=True)
        return
    show([{"measured": name, "value": value} for name, value in measured.items()])
    show([{"reckoned": name} | {f"{row['devices']} devices": row[name] for row in rows} for name in rows[0]])


def _photographs() -> Path:
    import skimage.data

    return Path(skimage.data.__file__).parent


if __name__ == "__main__":
    main()
