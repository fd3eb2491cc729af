"""Whether a training that was killed, at any moment, ends with the same bits as one left alone.

    python benchmarks/kill_resume.py --points 10

Small trainings of both kinds are run once undisturbed. Then each is killed with SIGKILL, in a new run folder at every
point, resumed, and every byte of its last checkpoint (weights, averages, optimisers) and of its model files compared.
The points take turns: at a random time, as soon as a random checkpoint is there, while one is being written, while the
model files are being written. A line of JSON for each point, and one for all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOKENIZER = """
tokenizer: {architecture: compact, image_size: 16, bits: 6, channels: [16, 32], encoder_blocks: [0, 1],
  decoder_blocks: [1, 1], attention_heads: 2}
name: tiny-tokenizer
data: {validation: 8}
losses:
  l2: 1.0
  edges: 0.5
  focus: 2.0
  usage: 0.05
  adversarial: {weight: 0.1, start: 7, layers: 2, channels: 8}
optimizer: {name: muon, rate: 0.001, matrix_rate: 0.003, warmup: 5, schedule: trapezoid}
run: {steps: 40, batch: 8, accumulate: 2, ema: 0.99, log_every: 7, validate_every: 15, checkpoint_every: 4}
"""
GENERATOR = """
tokenizer: {tokenizer}
name: tiny-generator
generator: {{layers: 2, heads: 2, dim: 32, ffn_multiple: 16, transcoder_layers: 1, transcoder_width: 32,
  diffusion_timesteps: 16}}
sampling: {{steps: 3, timesteps: 3}}
data: {{validation: 8}}
masking: {{share: picture, timesteps_per_token: 2}}
optimizer: {{name: muon, rate: 0.001, matrix_rate: 0.003, warmup: 5, schedule: cosine}}
run: {{steps: 40, batch: 8, ema: 0.99, log_every: 7, validate_every: 15, checkpoint_every: 4}}
"""
# A finite source, in a new order in every pass, with codes from the cache.
CACHED = ("data.count=50", "data.cache_codes=3", "masking.share=batch", "optimizer.name=adamw")
LAST = "checkpoints/step-00000040.safetensors"
COMPARED = (LAST, "tokenizer.safetensors", "generator.safetensors", "config.yaml", "README.md", "training.yaml")


@dataclass(frozen=True)
class Training:
    """A command that trains, as words before the options; `folder` is its undisturbed run."""

    name: str
    words: tuple[str, ...]
    folder: Path

    def start(self, *options: object) -> subprocess.Popen[bytes]:
        """Run it in a process of its own."""
        command = [sys.executable, "-m", "bigr_cli", *self.words, "--device", "cpu", "--threads", "1", "-q"]
        return subprocess.Popen([*command, *map(str, options)], stdout=subprocess.DEVNULL)

    def finish(self, *options: object) -> None:
        """Run it to its end."""
        process = self.start(*options)
        if process.wait() != 0:
            raise RuntimeError(f"{self.name}: ended with {process.returncode}")


def trainings(work: Path) -> list[Training]:
    """Both kinds, with their configs written to a folder; the generators need the tokenizer's undisturbed run."""
    (work / "tokenizer.yaml").write_text(TOKENIZER)
    (work / "generator.yaml").write_text(GENERATOR.format(tokenizer=work / "tokenizer"))
    tokenizer, generator = (
        (f"train-{kind}", "--config", str(work / f"{kind}.yaml")) for kind in ("tokenizer", "generator")
    )
    return [
        Training("tokenizer", tokenizer, work / "tokenizer"),
        Training("generator", generator, work / "generator"),
        Training("generator, cached codes", (*generator, *CACHED), work / "cached"),
    ]


def differing_bits(one: Path, other: Path) -> int:
    """Between the files of two finished runs; a file that only one has, or a length that differs, counts in full."""
    count = 0
    for name in COMPARED:
        first, second = (path.read_bytes() if path.exists() else b"" for path in (one / name, other / name))
        length = max(len(first), len(second))
        numbers = (int.from_bytes(each.ljust(length, b"\0"), "little") for each in (first, second))
        count += (next(numbers) ^ next(numbers)).bit_count() + 8 * abs(len(first) - len(second))
    return count


def at_time(run: Path, rng: random.Random, seconds: float) -> Callable[[], bool]:
    """At a random time between the beginning of the run and its usual end."""
    delay, begun = rng.uniform(0, seconds), [0.0]

    def due() -> bool:
        if not begun[0] and (run / "training.yaml").exists():
            begun[0] = time.monotonic()
        return begun[0] > 0 and time.monotonic() - begun[0] >= delay

    return due


def at_checkpoint(run: Path, rng: random.Random, seconds: float) -> Callable[[], bool]:
    """As soon as a random checkpoint has its name."""
    checkpoint = run / "checkpoints" / f"step-{4 * rng.randint(1, 9):08d}.safetensors"
    return checkpoint.exists


def at_writing(run: Path, rng: random.Random, seconds: float) -> Callable[[], bool]:
    """While a random checkpoint is half written."""
    wanted = f".step-{4 * rng.randint(1, 10):08d}"
    return lambda: _half_written(run / "checkpoints", wanted)


def at_model(run: Path, rng: random.Random, seconds: float) -> Callable[[], bool]:
    """While a random file of the model is half written."""
    wanted = "." + rng.choice(("tokenizer", "config", "README", "generator"))
    return lambda: _half_written(run, wanted)


MOMENTS = (at_time, at_checkpoint, at_writing, at_model)


def _half_written(folder: Path, beginning: str) -> bool:
    try:
        return any(name.startswith(beginning) and name.endswith(".part") for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def kill_when(process: subprocess.Popen[bytes], due: Callable[[], bool]) -> bool:
    """SIGKILL as soon as it is due; False if the process ended before."""
    while process.poll() is None:
        if due():
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(0.0002)
    return False


def steps_saved(run: Path) -> int:
    """The number of the newest checkpoint, 0 if there is none."""
    names = sorted(path.stem for path in run.glob("checkpoints/step-*.safetensors"))
    return int(names[-1].removeprefix("step-")) if names else 0


def measure(training: Training, run: Path, point: int, rng: random.Random, seconds: float) -> dict[str, object]:
    """Kill it once, resume it, compare."""
    moment = MOMENTS[point % len(MOMENTS)]
    killed = kill_when(training.start("-o", run), moment(run, rng, seconds))
    saved = steps_saved(run)
    if killed:
        options = ["--resume", run] if (run / "training.yaml").exists() else ["-o", run]
        # The run's own settings are used, so the command is the bare one.
        Training(training.name, training.words[:1] if options[0] == "--resume" else training.words, run).finish(
            *options
        )
    return {
        "training": training.name,
        "point": point,
        "moment": moment.__name__,
        "killed": killed,
        "last checkpoint": saved,
        "differing bits": differing_bits(training.folder, run),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10, help="kill points of each training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ |= {"BIGR_HOME": str(work / "home"), "BIGR_PLUGINS": "none"}
        for training in trainings(work):
            training.finish("-o", training.folder)
            lines = (training.folder / "metrics.jsonl").read_text().splitlines()
            seconds = json.loads(lines[-1])["time"] - (training.folder / "training.yaml").stat().st_mtime
            for point in range(options.points):
                row = measure(training, work / f"{training.folder.name}-{point}", point, rng, seconds)
                rows.append(row)
                print(json.dumps(row), flush=True)
    killed = [row for row in rows if row["killed"]]
    bits = sum(int(str(row["differing bits"])) for row in rows)
    print(json.dumps({"kill points": len(killed), "differing bits": bits}), flush=True)
    return int(bits > 0)


if __name__ == "__main__":
    sys.exit(main())
