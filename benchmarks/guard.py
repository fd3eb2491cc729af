"""Whether anything became slower: ratios of times, measured together, against those noted in ratios.json.

    python benchmarks/guard.py            # exits with 1 if a ratio is larger than noted by more than its tolerance
    python benchmarks/guard.py --update   # notes the ratios of now

No absolute time is noted, so that the file holds on other machines: the networks are compared with matrix products of
the same number format, commands with the import of what they are built on, one way of drawing with another. All
times are processor seconds of one thread, the least of several runs, so that other programs have little say in them.
About two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tables import show

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.core.schedule import masked_count
from bigr_cli.runtime.meter import TRANSCODER, TRANSFORMER, Meter

NOTED = Path(__file__).with_name("ratios.json")
BIGR = [sys.executable, "-m", "bigr_cli"]
SIZES = GeneratorConfig(grid=16, bits=24, classes=16, layers=4, heads=8, dim=512, transcoder_width=512)
SETTINGS = SamplingConfig(steps=2, timesteps=6, guidance=2.0)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ratio:
    """What is compared, and how many times the noted ratio is still no change for the worse."""

    what: str
    tolerance: float


RATIOS = {
    "transformer": Ratio("the transformer's time over that of the matrix products it needs, float32", 1.3),
    "transcoder": Ratio("the transcoder's time over that of the matrix products it needs, float32", 1.3),
    "rest": Ratio("a draw's time outside of both networks, over that of the whole draw", 1.5),
    "bfloat16": Ratio("bfloat16's time over float32's in both networks, over the same of matrix products", 1.4),
    "batch": Ratio("eight images at once over eight single ones, of a small model", 1.3),
    "masked": Ratio("the transcoder's time with a quarter of the tokens masked, over that with all", 1.3),
    "unguided": Ratio("a draw with guidance 1 over one with guidance 2", 1.2),
    "help": Ratio("bigr --help over the import of typer and rich", 1.3),
    "list": Ratio("bigr models list over the import of typer and rich", 1.3),
    "import": Ratio("import bigr_cli over that of typer and rich", 1.3),
    "generate": Ratio("bigr generate cat over the import of torch", 1.4),
}


def check(found: Mapping[str, float], noted: Mapping[str, float]) -> list[str]:
    """A line for each ratio that is larger than noted by more than its tolerance; those not noted are let through."""
    problems = []
    for name, ratio in found.items():
        most = noted.get(name, float("inf")) * RATIOS[name].tolerance
        if ratio > most:
            problems.append(f"{name}: {ratio:.3g}, noted is {noted[name]:.3g}, at most {most:.3g}: {RATIOS[name].what}")
    return problems


def least(work: Callable[[], float], runs: int = 3) -> float:
    """The smallest of several results."""
    return min(work() for _ in range(runs))


def product_rate(dtype: torch.dtype) -> float:
    """Operations a processor second of a matrix product of the networks' sizes."""
    rows, inner, columns = 512, 512, 2048
    left, right = torch.full((rows, inner), 0.5, dtype=dtype), torch.full((inner, columns), 0.5, dtype=dtype)

    def products(count: int = 8) -> float:
        start = time.process_time()
        for _ in range(count):
            left @ right
        return (time.process_time() - start) / count

    return 2 * rows * inner * columns / least(products, 8)


def draw(
    generator: Generator, *, batch: int = 1, masked: float = 1.0, settings: SamplingConfig = SETTINGS, runs: int = 3
) -> dict[str, float]:
    """Processor seconds of both networks and of the "whole" draw, the fastest of several."""
    config = generator.config
    mask = torch.arange(config.tokens).expand(batch, -1) < round(masked * config.tokens)
    known = torch.zeros(batch, config.tokens, config.bits, dtype=torch.bool), mask
    best: dict[str, float] = {}
    for _ in range(runs):
        meter = Meter(CPU, clock=time.process_time)
        with meter.attached(generator):
            start = time.process_time()
            sample(generator, torch.zeros(batch, dtype=torch.int64), torch.arange(batch), settings, known=known)
            found = {**meter.seconds, "whole": time.process_time() - start}
        best = {part: min(seconds, best.get(part, seconds)) for part, seconds in found.items()}
    return best


def needed(config: GeneratorConfig, settings: SamplingConfig) -> dict[str, int]:
    """Operations that a guided draw of one image cannot do without, by the equations in docs/performance.md.

    They are not counted in the code, or work that it does in vain would be counted as well.
    """
    tokens, dim, width, bits = config.tokens + 1, config.dim, config.transcoder_width, config.bits
    block = tokens * 2 * (4 * dim**2 + 3 * dim * config.ffn_width) + 4 * tokens**2 * dim
    image = config.layers * block + 2 * config.tokens * bits * dim + 12 * dim**2
    token = 2 * ((5 * config.transcoder_layers + 2) * width**2 + 2 * bits * width)
    masked = [config.tokens, *(masked_count(config.tokens, step, settings.steps) for step in range(settings.steps - 1))]
    return {
        TRANSFORMER: 2 * settings.steps * image,
        TRANSCODER: 2 * settings.timesteps * sum(masked) * token,
    }


def network(config: GeneratorConfig, dtype: torch.dtype = torch.float32) -> Generator:
    """A generator with random weights, its tables in float32."""
    torch.manual_seed(0)
    generator = Generator(config).eval().requires_grad_(False)
    for parameter in generator.parameters():
        parameter.data = parameter.data.to(dtype)
    return generator


def drawing_ratios() -> Iterator[tuple[str, float]]:
    """Those of the networks and the sampler."""
    generator = network(SIZES)
    draw(generator, runs=1)  # the first time, libraries set themselves up
    rate = product_rate(torch.float32)
    seconds = draw(generator)
    rate = max(rate, product_rate(torch.float32))
    for part, count in needed(SIZES, SETTINGS).items():
        yield part, seconds[part] * rate / count
    networks = seconds[TRANSFORMER] + seconds[TRANSCODER]
    yield "rest", 1 - networks / seconds["whole"]
    short_rate = product_rate(torch.bfloat16)
    if short_rate > rate:  # where the format is emulated, nobody computes in it
        short = draw(network(SIZES, torch.bfloat16))
        yield "bfloat16", (short[TRANSFORMER] + short[TRANSCODER]) / networks * short_rate / rate
    few = draw(generator, masked=0.25)
    yield "masked", few[TRANSCODER] / seconds[TRANSCODER]
    plain = draw(generator, settings=SamplingConfig(steps=SETTINGS.steps, timesteps=SETTINGS.timesteps, guidance=1))
    yield "unguided", plain["whole"] / seconds["whole"]
    small = network(GeneratorConfig(grid=8, bits=24, classes=16, layers=6, heads=6, dim=192, transcoder_width=192))
    draw(small, batch=8, runs=1)
    yield "batch", draw(small, batch=8)["whole"] / (8 * draw(small, runs=5)["whole"])


def starting_ratios() -> Iterator[tuple[str, float]]:
    """Those of whole processes."""

    def seconds(*words: str, runs: int = 5) -> float:
        def run() -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "BIGR_PLUGINS": "none"}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

        run()  # the first one is to warm the caches
        return least(run, runs)

    # An empty program takes 10 to 20 ms, by the machine, so that nothing can be told by multiples of it.
    libraries = seconds(sys.executable, "-c", "import typer.main, rich.console, rich.table", runs=9)
    yield "help", seconds(*BIGR, "--help") / libraries
    yield "list", seconds(*BIGR, "models", "list") / libraries
    yield "import", seconds(sys.executable, "-c", "import bigr_cli", runs=9) / libraries
    with TemporaryDirectory() as folder:
        words = ("--device", "cpu", "--dtype", "float32", "--seed", "0", "--overwrite", "-o", f"{folder}/cat.png")
        whole = seconds(*BIGR, "generate", "cat", "-m", "scenes-64", *words, runs=3)
    yield "generate", whole / seconds(sys.executable, "-c", "import torch", runs=3)


def main() -> int:
    """Measure, compare, and say what became slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="note what is measured in ratios.json")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    noted: dict[str, float] = json.loads(NOTED.read_text(encoding="utf-8")) if NOTED.is_file() else {}
    if not noted and not options.update:
        parser.error(f"{NOTED} is not there; --update writes it")
    found = {name: round(ratio, 4) for name, ratio in (*drawing_ratios(), *starting_ratios())}
    rows: list[dict[str, object]] = [
        {"ratio": name, "now": ratio, "noted": noted.get(name), **vars(RATIOS[name])} for name, ratio in found.items()
    ]
    show(rows, as_json=options.json)
    if options.update:
        NOTED.write_text(json.dumps(noted | found, indent=2) + "\n", encoding="utf-8")
        return 0
    problems = check(found, noted)
    for problem in problems:
        print(f"slower: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
