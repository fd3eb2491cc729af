"""How fast a picture is drawn, against the published way of computing, and how near to the processor's matrix rate.

    python benchmarks/speed.py                                # two processor cores, by the clock
    python benchmarks/speed.py --threads 1 --clock cpu        # on a machine that has other work to do
    python benchmarks/speed.py --rank 2                       # also with short chains that only rank the masked tokens
    python benchmarks/speed.py --memory                       # and the memory that it takes, in processes of their own
    python benchmarks/speed.py --pictures 200                 # whether many pictures take more of it than ten

A model's architecture with random weights, one picture, with the card's iterations, timesteps and guidance. The
published way computes the same in every iteration, so only `--published` of them are timed and multiplied. What one of
ours costs is linear in the number of masked tokens, so it is timed with a quarter, a half and all of them masked, three
times each, and the line through the medians gives all of it; `--whole` draws the picture instead, in each format.

The matrix rate of a format is the best of its products of 512 rows with one matrix of 1,024 × 1,024, which stays in
the cache, measured before each drawing and after it; the share of it is that of all the products there are (by torch's
flop counter) in all of the time. Distances are root mean squares of differences, as shares of that of the published
way's numbers, for the same inputs; int8 and bfloat16 draw other codes than float32, since bits are drawn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import published
import published_way
import torch
from tables import show
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bigr_cli import device
from bigr_cli.core import packed
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.int8 import to_int8
from bigr_cli.core.sampler import sample
from bigr_cli.core.schedule import masked_count
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.zoo.config import GENERATOR_FILE, TOKENIZER_FILE, ModelConfig, read_config
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import save_model
from bigr_cli.zoo.weights import read_header

Clock = Callable[[], float]
CPU = torch.device("cpu")
SIZES = (512, 1024, 1024)
_REPEATED = 3


def random_generator(model: str, seed: int) -> Generator:
    """The network of a card, with random weights."""
    config = read_config(find_model(model)).generator
    with torch.device("meta"):
        generator = Generator(config)
    generator.load_state_dict(published.random_state(generator, seed), assign=True)
    return generator.eval().requires_grad_(False)


def converted(generator: Generator, dtype: str) -> Generator:
    """The same network in a format; changes it."""
    if dtype == "int8":
        to_int8(generator)
    for parameter in generator.parameters():
        parameter.data = parameter.data.to(torch.float32 if dtype == "int8" else getattr(torch, dtype))
    if dtype == "bfloat16" and packed.works():
        packed.pack(generator)
    return generator


class Rate:
    """The best rate of a product in one format, over all times that it was measured: GFLOP/s."""

    def __init__(self, dtype: str, clock: Clock) -> None:
        rows, inner, columns = SIZES
        self.clock, self.best = clock, 0.0
        x = torch.randn(rows, inner)
        if dtype == "int8":
            codes = torch.randint(-127, 128, (columns, inner), dtype=torch.int8)
            weights = torch.ops.onednn.qlinear_prepack(codes, None)
            more = (torch.ones(columns), torch.zeros(columns, dtype=torch.int64), None, 1.0, 0, torch.float32)
            x8 = torch.randint(0, 255, (rows, inner), dtype=torch.uint8)
            self.product = lambda: torch.ops.onednn.qlinear_pointwise(x8, 1.0, 128, weights, *more, "none", [], "")
        else:
            kind = getattr(torch, dtype)
            left, right = x.to(kind), torch.randn(inner, columns, dtype=torch.float32).to(kind)
            self.product = lambda: left @ right

    def measure(self, times: int = 60) -> None:
        """Let it be `times` products more."""
        work = 2e-9 * SIZES[0] * SIZES[1] * SIZES[2]
        for _ in range(times):
            start = self.clock()
            self.product()
            self.best = max(self.best, work / (self.clock() - start))


def distances(plain: Generator, ours: Generator, seed: int) -> tuple[float, float]:
    """Of the transcoder's conditions, and of flip logits for the published way's conditions."""
    config, chance = plain.config, torch.Generator().manual_seed(seed)
    codes = torch.rand(2, config.tokens, config.bits, generator=chance) < 0.5
    mask = torch.rand(2, config.tokens, generator=chance) < 0.5
    labels = torch.tensor([207, config.classes])
    cond = published_way.condition(plain, codes, labels, mask)
    rows, bits = cond.flatten(0, 1), codes.flatten(0, 1)
    t = config.diffusion_timesteps // 2
    logits = published_way.flip_logits(plain.transcoder, bits, t, rows)
    kind = ours.positions.dtype
    found = ours.transcoder.flip_logits(bits, t, rows.to(kind))
    return _distance(ours.condition(codes, labels, mask), cond), _distance(found, logits)


def _distance(ours: Tensor, plain: Tensor) -> float:
    return float((ours.float() - plain).square().mean().sqrt() / plain.square().mean().sqrt())


def products(generator: Generator, settings: SamplingConfig, denoised: int) -> tuple[float, float]:
    """GFLOP of the products of the published way, and of ours, which denoises tokens so many times in a picture."""
    config = generator.config
    codes = torch.zeros(2, config.tokens, config.bits, dtype=torch.bool)
    with FlopCounterMode(display=False) as transformer:
        generator.condition(codes, torch.zeros(2, dtype=torch.int64), codes[..., 0])
    with FlopCounterMode(display=False) as token:
        width = config.transcoder_width
        generator.transcoder.denoise(codes[0, :1], torch.zeros(1, width, dtype=generator.positions.dtype))
    whole, one = transformer.get_total_flops(), 2 * token.get_total_flops()  # guidance does both twice
    published = settings.steps * (whole + config.tokens * settings.timesteps * one)
    return 1e-9 * published, 1e-9 * (settings.steps * whole + denoised * one)


def drawn(generator: Generator, settings: SamplingConfig, clock: Clock) -> float:
    """Seconds of one picture."""
    start = clock()
    sample(generator, torch.tensor([207]), torch.tensor([0]), settings)
    return clock() - start


def estimated(generator: Generator, settings: SamplingConfig, clock: Clock, counts: list[int]) -> float:
    """Seconds of one picture with so many masked tokens in each iteration, from a few of them."""
    config = generator.config
    codes = torch.zeros(1, config.tokens, config.bits, dtype=torch.bool)
    once, masked = replace(settings, steps=1), [config.tokens // 4, config.tokens // 2, config.tokens]
    seconds = []
    for count in masked:
        known = codes, (torch.arange(config.tokens) < count)[None]
        took = []
        for _ in range(_REPEATED):
            start = clock()
            sample(generator, torch.tensor([207]), torch.tensor([0]), once, known=known)
            took.append(clock() - start)
        seconds.append(statistics.median(took))
    slope, base = np.polyfit(masked, seconds, 1)
    return float(base * len(counts) + slope * sum(counts))


@torch.no_grad()
def speed(options: argparse.Namespace) -> list[dict[str, object]]:
    """A row for the published way, and one for each format."""
    clock: Clock = time.process_time if options.clock == "cpu" else time.perf_counter
    plain = random_generator(options.model, options.seed)
    settings = read_config(find_model(options.model)).sampling
    rate = Rate("float32", clock)
    rate.measure()
    codes = torch.rand(1, plain.config.tokens, plain.config.bits) < 0.5
    mask = torch.rand(1, plain.config.tokens) < 0.5
    walk = {"guidance": settings.guidance, "timesteps": settings.timesteps}
    start = clock()
    for _ in range(options.published):
        published_way.iteration(plain, codes, 207, mask, **walk)
    baseline = (clock() - start) / options.published * settings.steps
    rate.measure()
    print(f"published way: {baseline:.1f} s", file=sys.stderr)
    tokens, steps = plain.config.tokens, settings.steps
    counts = [tokens, *(masked_count(tokens, i, steps) for i in range(steps - 1))]  # masked before each iteration
    rows: list[dict[str, object]] = []
    for dtype in options.dtypes:
        ours = plain if dtype == "float32" else converted(random_generator(options.model, options.seed), dtype)
        rate = rate if dtype == "float32" else Rate(dtype, clock)
        rate.measure()
        seconds = drawn(ours, settings, clock) if options.whole else estimated(ours, settings, clock, counts)
        rate.measure()
        whole, needed = products(plain, settings, sum(counts) * settings.timesteps)
        condition, logits = distances(plain, ours, options.seed)
        if not rows:
            rows.append(_row("published way", "float32", baseline, baseline, whole, rate))
        numbers = {"distance of conditions": condition, "of flip logits": logits}
        rows.append({**_row("ours", dtype, seconds, baseline, needed, rate), **numbers})
        print(f"{dtype}: {seconds:.1f} s", file=sys.stderr)
        for short in options.rank:  # the last iteration has nothing to rank
            denoised = sum(counts[:-1]) * short + tokens * settings.timesteps
            less = drawn(ours, replace(settings, rank_timesteps=short), clock)
            rate.measure()
            row = _row(f"ours, ranked by {short}", dtype, less, baseline, products(plain, settings, denoised)[1], rate)
            rows.append({**row, "than without": seconds / less})
            print(f"{dtype}, ranked by {short}: {less:.1f} s", file=sys.stderr)
    return rows


def _row(what: str, dtype: str, seconds: float, baseline: float, work: float, rate: Rate) -> dict[str, object]:
    return {
        "what": what,
        "dtype": dtype,
        "seconds": seconds,
        "times as fast": baseline / seconds,
        "TFLOP": work / 1e3,
        "matrix rate in GFLOP/s": rate.best,
        "share of it": work / seconds / rate.best,
    }


def _write(card: ModelConfig, folder: Path, dtype: torch.dtype, seed: int) -> None:
    """A model with random weights."""
    with torch.device("meta"):
        parts = Tokenizer(card.tokenizer), Generator(card.generator)
    save_model(folder, card, *(published.random_state(part, seed) for part in parts), dtype=dtype)


def _stored(options: argparse.Namespace, stored: str, dtype: str, place: Path) -> tuple[Path, int]:
    """A folder of the model with random weights, stored in that format, and how many bytes they have in use."""
    folder, kind = place / f"{stored}-{dtype}", getattr(torch, stored)
    card = read_config(find_model(options.model))
    published.apart(_write, card, folder, kind, options.seed)
    tokenizer, generator = (
        sum(tensor.count for tensor in read_header(folder / name).values()) for name in (TOKENIZER_FILE, GENERATOR_FILE)
    )
    return folder, tokenizer * 4 + generator * torch.zeros((), dtype=getattr(torch, dtype)).element_size()


def memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """What a process takes that draws one picture: a row for each format, and how the model is stored."""
    rows: list[dict[str, object]] = []
    # It leaves without cleaning up, in which torch's libraries would take more than all else.
    bare = published.run([sys.executable, "-c", "import os, torch; torch.ones(9) @ torch.ones(9); os._exit(0)"])
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        for dtype, stored in [(each, kind) for each in options.dtypes for kind in sorted({"float32", each} - {"int8"})]:
            folder, size = _stored(options, stored, dtype, Path(place))
            words = [folder, 2, 2, dtype, Path(place) / "picture.png"]
            done = published.run([sys.executable, "-c", published.DRAWING, *words])
            taken = max(done.resident - bare.resident, 0)
            rows.append(
                {
                    "dtype": dtype,
                    "stored in": stored,
                    "weights GB": size / 1e9,
                    "resident GB": done.resident / 1e9,
                    "own GB": done.own / 1e9,
                    "Python and torch GB": bare.resident / 1e9,
                    "without them, of the weights": taken / size,
                }
            )
    return rows


def pictures(options: argparse.Namespace) -> list[dict[str, object]]:
    """Rows for ten pictures and for `--pictures` of them, one after the other, in the first of the formats."""
    dtype, rows = options.dtypes[0], list[dict[str, object]]()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        folder, _ = _stored(options, "float32", dtype, Path(place))
        for count in (10, options.pictures):
            cheap = [
                "--steps",
                1,
                "--timesteps",
                1,
                "--guidance",
                1,
                "--batch-size",
                1,
                "--dtype",
                dtype,
                "--device",
                "cpu",
            ]
            output = Path(place) / str(count)
            done = published.run([*published.BIGR, "generate", "207", "-m", folder, "-n", count, "-o", output, *cheap])
            peaks = {"resident GB": done.resident / 1e9, "own GB": done.own / 1e9}
            rows.append({"dtype": dtype, "pictures": len(list(output.iterdir())), "seconds": done.seconds, **peaks})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bigr-l-d24", help="whose architecture and settings (default bigr-l-d24)")
    formats = ["float32", *(["int8"] if device.measure(CPU).get("int8") else [])]
    parser.add_argument("--dtypes", nargs="+", choices=device.DTYPES, default=formats, metavar="NAME", help="formats")
    parser.add_argument("--published", type=int, default=2, metavar="N", help="its iterations to time (default 2)")
    parser.add_argument("--rank", nargs="*", type=int, default=[], metavar="N", help="rank by so many timesteps, too")
    parser.add_argument("--whole", action="store_true", help="draw the picture whole")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: seconds on a processor")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.add_argument("--memory", action="store_true", help="measure the memory instead")
    parser.add_argument("--pictures", type=int, metavar="N", help="measure the memory of so many, and of ten, instead")
    parser.add_argument("--place", type=Path, help="where models go for that; a temporary folder")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    device.set_threads(options.threads)
    measure = pictures if options.pictures else memory if options.memory else speed
    show(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
