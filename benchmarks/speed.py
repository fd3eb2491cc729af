"""How fast images are drawn, against the published way of computing, and how near to the device's matrix rate.

    python benchmarks/speed.py                                # two processor cores, by the clock
    python benchmarks/speed.py --threads 1 --clock cpu        # on a machine that has other work to do
    python benchmarks/speed.py --rank 2                       # also with short chains that only rank the masked tokens
    python benchmarks/speed.py --device cuda --batch 64 --whole --compile --dtypes float32 bfloat16

A model's architecture with random weights, with the card's iterations, timesteps and guidance. The published way
computes the same in every iteration, so only `--published` of them are timed and multiplied. What one of ours costs is
linear in the number of masked tokens, so it is timed with a quarter, a half and all of them masked, three times each,
and the line through the medians gives all of it; `--whole` draws the images instead, in each format. `--compile` does
that again with compiled networks, after a short draw in which they are.

The matrix rate of a format is the best of its products, measured before each drawing and after it: on a CPU of 512 rows
with one matrix of 1,024 × 1,024, which stays in the cache, elsewhere of matrices of 8,192 × 8,192. The share of it is
that of all the products there are (by torch's flop counter) in all of the time. Distances are root mean squares of
differences, as shares of that of the published way's numbers, for the same inputs; int8 and bfloat16 draw other codes
than float32, since bits are drawn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import published
import published_way
import torch
from tables import show
from torch import Tensor

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.core.schedule import masked_count
from bigr_cli.runtime import device, fast_layers
from bigr_cli.runtime.fast_layers import compile_networks, to_int8
from bigr_cli.runtime.meter import operations, wait
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import find_model

Clock = Callable[[], float]
CPU = torch.device("cpu")
IN_CACHE, LARGE = (512, 1024, 1024), (8192, 8192, 8192)
LABEL = 0
_REPEATED = 3


def random_generator(model: str, seed: int, device: torch.device) -> Generator:
    """The network of a card, with random weights."""
    config = read_config(find_model(model)).generator
    with torch.device("meta"):
        generator = Generator(config)
    generator.load_state_dict(published.random_state(generator, seed), assign=True)
    return generator.to(device).eval().requires_grad_(False)


def converted(generator: Generator, dtype: str) -> Generator:
    """The same network in a format; changes it."""
    if dtype == "int8":
        to_int8(generator)
    for parameter in generator.parameters():
        parameter.data = parameter.data.to(torch.float32 if dtype == "int8" else getattr(torch, dtype))
    if dtype == "bfloat16" and generator.positions.device == CPU and fast_layers.prepacked_works():
        fast_layers.pack(generator)
    return generator


class Rate:
    """The best rate of a product in one format, over all times that it was measured: GFLOP/s."""

    def __init__(self, dtype: str, clock: Clock, device: torch.device) -> None:
        self.sizes = IN_CACHE if device == CPU else LARGE
        rows, inner, columns = self.sizes
        self.clock, self.best = clock, 0.0
        if dtype == "int8":
            codes = torch.randint(-127, 128, (columns, inner), dtype=torch.int8)
            weights = torch.ops.onednn.qlinear_prepack(codes, None)
            more = (torch.ones(columns), torch.zeros(columns, dtype=torch.int64), None, 1.0, 0, torch.float32)
            x8 = torch.randint(0, 255, (rows, inner), dtype=torch.uint8)
            self.product = lambda: torch.ops.onednn.qlinear_pointwise(x8, 1.0, 128, weights, *more, "none", [], "")
        else:
            kind = getattr(torch, dtype)
            left, right = (torch.randn(size, device=device).to(kind) for size in ((rows, inner), (inner, columns)))
            self.product = lambda: left @ right

    def measure(self) -> None:
        """Let it be some products more."""
        work = 2e-9 * self.sizes[0] * self.sizes[1] * self.sizes[2]
        for _ in range(60 if self.sizes == IN_CACHE else 12):
            start = self.clock()
            self.product()
            self.best = max(self.best, work / (self.clock() - start))


def distances(plain: Generator, ours: Generator, seed: int) -> tuple[float, float]:
    """Of the transcoder's conditions, and of flip logits for the published way's conditions."""
    config, chance, place = plain.config, torch.Generator().manual_seed(seed), plain.positions.device
    codes = (torch.rand(2, config.tokens, config.bits, generator=chance) < 0.5).to(place)
    mask = (torch.rand(2, config.tokens, generator=chance) < 0.5).to(place)
    labels = torch.tensor([LABEL, config.classes], device=place)
    cond = published_way.condition(plain, codes, labels, mask)
    rows, bits = cond.flatten(0, 1), codes.flatten(0, 1)
    t = config.diffusion_timesteps // 2
    logits = published_way.flip_logits(plain.transcoder, bits, t, rows)
    kind = ours.positions.dtype
    found = ours.transcoder.flip_logits(bits, t, rows.to(kind))
    return _distance(ours.condition(codes, labels, mask), cond), _distance(found, logits)


def _distance(ours: Tensor, plain: Tensor) -> float:
    return float((ours.float() - plain).square().mean().sqrt() / plain.square().mean().sqrt())


def products(config: GeneratorConfig, settings: SamplingConfig, denoised: int) -> tuple[float, float]:
    """GFLOP of the products of the published way, and of ours, which denoises tokens so many times in an image."""
    whole, one = (2 * each for each in operations(config))  # guidance does both twice
    published = settings.steps * (whole + config.tokens * settings.timesteps * one)
    return 1e-9 * published, 1e-9 * (settings.steps * whole + denoised * one)


def drawn(generator: Generator, settings: SamplingConfig, clock: Clock, batch: int) -> float:
    """Seconds of a batch of images."""
    place = generator.positions.device
    start = clock()
    sample(generator, torch.full((batch,), LABEL, device=place), torch.arange(batch, device=place), settings)
    return clock() - start


def estimated(generator: Generator, settings: SamplingConfig, clock: Clock, batch: int, counts: list[int]) -> float:
    """Seconds of a batch with so many masked tokens in each iteration, from a few of them."""
    config, place = generator.config, generator.positions.device
    codes = torch.zeros(batch, config.tokens, config.bits, dtype=torch.bool, device=place)
    labels, seeds = torch.full((batch,), LABEL, device=place), torch.arange(batch, device=place)
    once, masked = replace(settings, steps=1), [config.tokens // 4, config.tokens // 2, config.tokens]
    seconds = []
    for count in masked:
        known = codes, (torch.arange(config.tokens, device=place) < count).expand(batch, -1)
        took = []
        for _ in range(_REPEATED):
            start = clock()
            sample(generator, labels, seeds, once, known=known)
            took.append(clock() - start)
        seconds.append(statistics.median(took))
    slope, base = np.polyfit(masked, seconds, 1)
    return float(base * len(counts) + slope * sum(counts))


@torch.no_grad()
def speed(options: argparse.Namespace) -> list[dict[str, object]]:
    """A row for the published way, and one for each format, each with its variants."""
    place, batch = device.select_device(options.device), options.batch

    def clock() -> float:
        wait(place)
        return time.process_time() if options.clock == "cpu" else time.perf_counter()

    plain = random_generator(options.model, options.seed, place)
    config, settings = plain.config, read_config(find_model(options.model)).sampling
    rate = Rate("float32", clock, place)
    rate.measure()
    baseline = _published(plain, settings, clock, options)
    rate.measure()
    print(f"published way: {baseline:.1f} s", file=sys.stderr)
    tokens, steps = config.tokens, settings.steps
    counts = [tokens, *(masked_count(tokens, i, steps) for i in range(steps - 1))]  # masked before each iteration
    whole, needed = products(config, settings, sum(counts) * settings.timesteps)
    rows = [_row("published way", "float32", baseline, baseline, batch * whole, rate, batch)]
    for dtype in options.dtypes:
        ours = plain if dtype == "float32" else converted(random_generator(options.model, options.seed, place), dtype)
        rate = rate if dtype == "float32" else Rate(dtype, clock, place)
        condition, logits = distances(plain, ours, options.seed)
        numbers = {"distance of conditions": condition, "of flip logits": logits}
        for what in ("ours", "ours, compiled") if options.compile else ("ours",):
            if what != "ours":
                compile_networks(ours)
            rate.measure()
            if place != CPU:  # libraries begin to work, and networks are compiled
                begun = drawn(ours, replace(settings, steps=2, timesteps=2), clock, batch)
                print(f"{what}, {dtype}: begun in {begun:.1f} s", file=sys.stderr)
            if options.whole:
                seconds = drawn(ours, settings, clock, batch)
            else:
                seconds = estimated(ours, settings, clock, batch, counts)
            rate.measure()
            rows.append({**_row(what, dtype, seconds, baseline, batch * needed, rate, batch), **numbers})
            print(f"{what}, {dtype}: {seconds:.1f} s", file=sys.stderr)
            for short in options.rank:  # the last iteration has nothing to rank
                denoised = sum(counts[:-1]) * short + tokens * settings.timesteps
                less = drawn(ours, replace(settings, rank_timesteps=short), clock, batch)
                rate.measure()
                work = batch * products(config, settings, denoised)[1]
                row = _row(f"{what}, ranked by {short}", dtype, less, baseline, work, rate, batch)
                rows.append({**row, "than without": seconds / less})
                print(f"{what}, {dtype}, ranked by {short}: {less:.1f} s", file=sys.stderr)
    return rows


def _published(plain: Generator, settings: SamplingConfig, clock: Clock, options: argparse.Namespace) -> float:
    """Seconds of a batch drawn in the published way."""
    config, batch, place = plain.config, options.batch, plain.positions.device
    codes = torch.rand(batch, config.tokens, config.bits, device=place) < 0.5
    mask = torch.rand(batch, config.tokens, device=place) < 0.5
    labels = torch.full((batch,), LABEL, device=place)
    if place != CPU:
        published_way.iteration(plain, codes, labels, mask, guidance=settings.guidance, timesteps=2)
    start = clock()
    for _ in range(options.published):
        published_way.iteration(plain, codes, labels, mask, guidance=settings.guidance, timesteps=settings.timesteps)
    return (clock() - start) / options.published * settings.steps


def _row(
    what: str, dtype: str, seconds: float, baseline: float, work: float, rate: Rate, batch: int
) -> dict[str, object]:
    return {
        "what": what,
        "dtype": dtype,
        "seconds": seconds,
        "images/s": batch / seconds,
        "times as fast": baseline / seconds,
        "TFLOP": work / 1e3,
        "matrix rate in GFLOP/s": rate.best,
        "share of it": work / seconds / rate.best,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bigr-l-d24", help="whose architecture and settings (default bigr-l-d24)")
    formats = ["float32", *(["int8"] if device.measure(CPU).get("int8") else [])]
    parser.add_argument("--dtypes", nargs="+", choices=device.DTYPES, default=formats, metavar="NAME", help="formats")
    parser.add_argument("--published", type=int, default=2, metavar="N", help="its iterations to time (default 2)")
    parser.add_argument("--rank", nargs="*", type=int, default=[], metavar="N", help="rank by so many timesteps, too")
    parser.add_argument("--whole", action="store_true", help="draw the image whole")
    parser.add_argument("--compile", action="store_true", help="compile the networks, too")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda or mps (default cpu)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at once (default 1)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: seconds on a processor")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    device.set_threads(options.threads)
    show(speed(options), as_json=options.json)


if __name__ == "__main__":
    main()
