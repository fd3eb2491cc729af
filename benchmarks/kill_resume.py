"""Whether a training that was killed, at any moment, ends with the same bits as one left alone.

    python benchmarks/kill_resume.py --points 10

Small trainings are run once undisturbed: a tokenizer, a generator, a generator on cached codes, one on captions in tar
shards, and `bigr train` with both stages. Then each is killed with SIGKILL, in a new run folder at every point,
resumed, and every byte of its last checkpoint (weights, averages, optimisers) and of its model folder compared. The
points take turns: at a random time, as soon as a random checkpoint is there, while one is being written, while a file
of the model is being written. Ends with exit code 1 if a bit differs.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from PIL import Image
from tables import show

from bigr_cli.data.sources import ScenesSource

TOKENIZER = """
tokenizer: {architecture: compact, image_size: 16, bits: 6, channels: [16, 32], encoder_blocks: [0, 1],
  decoder_blocks: [1, 1], attention_heads: 2}
name: tiny-tokenizer
data: {validation: 8}
losses:
  l2: 1.0
  edges: 0.5
  foreground_weight: 2.0
  usage: 0.05
  adversarial: {weight: 0.1, start: 7, layers: 2, channels: 8}
optimizer: {name: muon, learning_rate: 0.001, matrix_learning_rate: 0.003, warmup: 5, schedule: trapezoid}
run: {steps: 40, batch: 8, accumulate: 2, ema: 0.99, log_every: 7, validate_every: 15, checkpoint_every: 4}
"""
GENERATOR = """
tokenizer: TOKENIZER
name: tiny-generator
generator: {layers: 2, heads: 2, dim: 32, ffn_multiple: 16, transcoder_layers: 1, transcoder_width: 32,
  diffusion_timesteps: 16}
sampling: {steps: 3, timesteps: 3}
data: {validation: 8}
masking: {share: image, timesteps_per_token: 2}
optimizer: {name: muon, learning_rate: 0.001, matrix_learning_rate: 0.003, warmup: 5, schedule: cosine}
run: {steps: 40, batch: 8, ema: 0.99, log_every: 7, validate_every: 15, checkpoint_every: 4}
"""
# A finite source, in a new order in every pass, with codes from the cache.
CACHED = ("data.count=50", "data.cache_codes=3", "masking.share=batch", "optimizer.name=adamw")
CAPTIONS = ("generator.text.width=16", "generator.text.tokens=64", "data.flip=true")
STEPS, SAVED_EVERY = 40, 4
LAST = f"checkpoints/step-{STEPS:08d}.safetensors"
COMPARED = (LAST, "tokenizer.safetensors", "generator.safetensors", "config.yaml", "README.md", "training.yaml")
STAGES = ("tokenizer", "generator")  # of `bigr train`, each in a folder of its own
SMALL = (
    "name=both",
    "tokenizer:name=both",
    "tokenizer:losses.adversarial.weight=0",
    "run.batch=8",
    "run.checkpoint_every=4",
    "data.validation=8",
)
PATIENCE = 5  # runs that may end before they can be killed

# Processes are forked from one that has torch loaded and has not used it, which saves them most of their time.
_FORKS = multiprocessing.get_context("forkserver")
_LOADED = (
    *("accelerate", "torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_svg", "bigr_cli.app"),
    *("bigr_cli.tasks.train", "bigr_cli.training.commands", "bigr_cli.training.tokenizer"),
    *("bigr_cli.training.generator", "bigr_cli.representation.probe", "bigr_cli.imaging.montage"),
)
_FORKS.set_forkserver_preload(list(_LOADED))


def _bigr(words: Sequence[str], home: str, pause: float) -> None:
    from bigr_cli import files
    from bigr_cli.app import main

    flush = files.flush

    def flush_late(path: Path) -> None:
        time.sleep(pause)
        flush(path)

    if pause > 0:
        files.flush = flush_late
    os.environ |= {"BIGR_HOME": home, "BIGR_PLUGINS": "none"}
    sys.exit(main(words))


def started(words: Sequence[str], home: Path, pause: float = 0.0) -> BaseProcess:
    """`bigr` in a process of its own; half-written files stay so for `pause` seconds longer."""
    process = _FORKS.Process(target=_bigr, args=(list(words), str(home), pause))
    process.start()
    return process


@dataclass(frozen=True)
class Training:
    """A command that trains, with its config, in a process of its own; `undisturbed` is the run to compare with."""

    name: str
    command: str
    config: tuple[str, ...]
    undisturbed: Path
    stages: tuple[str, ...] = ("",)  # folders below the run's in which checkpoints lie
    marker: str = "training.yaml"

    def start(self, run: Path, pause: float = 0.0) -> BaseProcess:
        """Begin a run, or go on with it if it has begun; half-written files stay so for `pause` seconds longer."""
        begun = (run / self.marker).exists()
        words = ["--resume", str(run)] if begun else [*self.config, "-o", str(run)]
        words = [self.command, *words, "--device", "cpu", "--threads", "1", "--quiet"]
        return started(words, self.undisturbed.parent / "home", pause)

    def finish(self, run: Path) -> None:
        """Let a run go to its end. Raises RuntimeError if it fails."""
        process = self.start(run)
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"{self.name}: ended with {process.exitcode}")


def trainings(work: Path) -> list[Training]:
    """All of them, with configs written to a folder; the generators need the tokenizer's undisturbed run."""
    configs = {"tokenizer": TOKENIZER, "generator": GENERATOR.replace("TOKENIZER", str(work / "tokenizer"))}
    for kind, text in configs.items():
        (work / f"{kind}.yaml").write_text(text, encoding="utf-8")
    tokenizer, generator = (("--config", str(work / f"{kind}.yaml")) for kind in configs)
    return [
        Training("tokenizer", "train-tokenizer", tokenizer, work / "tokenizer"),
        Training("generator", "train-generator", generator, work / "generator"),
        Training("generator, cached codes", "train-generator", (*generator, *CACHED), work / "cached"),
        Training(
            "generator, captions in shards",
            "train-generator",
            (*generator, "--data", write_shards(work / "shards"), *CAPTIONS),
            work / "captions",
        ),
        Training(
            "both stages",
            "train",
            (write_images(work / "images"), "--steps", str(STEPS), "--size", "nano", "--image-size", "16", *SMALL),
            work / "both",
            STAGES,
            "train.yaml",
        ),
    ]


def write_images(folder: Path) -> str:
    """50 scenes in folders of classes; returns the folder."""
    source = ScenesSource(16, count=50)
    for index in range(len(source)):
        place = folder / f"class{index % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.image(index).pixels).save(place / f"{index:03d}.png")
    return str(folder)


def write_shards(folder: Path) -> str:
    """Two tar files of scenes with two captions each, in pieces of 25; returns a pattern for them."""
    folder.mkdir()
    source = ScenesSource(16, count=50)
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for index in range(25 * number, 25 * number + 25):
                image = io.BytesIO()
                Image.fromarray(source.image(index).pixels).save(image, "PNG")
                words = f"{source.caption(index)}\n{source.scene(index).caption}".encode()
                for name, content in ((f"{index:03d}.png", image.getvalue()), (f"{index:03d}.txt", words)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return f"{folder}/{{0..1}}.tar"


def differing_bits(one: Path, other: Path, stages: Sequence[str] = ()) -> int:
    """Between the files of two finished runs; a file that only one has, or a length that differs, counts in full."""
    count = 0
    for name in (*COMPARED, *(f"{stage}/{name}" for stage in stages if stage for name in COMPARED)):
        first, second = (_content(run / name, run) for run in (one, other))
        length = max(len(first), len(second))
        left, right = (int.from_bytes(each.ljust(length, b"\0"), "little") for each in (first, second))
        count += (left ^ right).bit_count() + 8 * abs(len(first) - len(second))
    return count


def _content(path: Path, run: Path) -> bytes:
    """A file's bytes, without the run's own place, which a run of two stages notes; none if it is not there."""
    return path.read_bytes().replace(str(run).encode(), b"RUN") if path.exists() else b""


Due = Callable[[], bool]


def at_time(run: Path, training: Training, rng: random.Random, seconds: float) -> Due:
    """At a random time between the beginning of the run and its usual end."""
    delay, begun = rng.uniform(0, seconds), list[float]()

    def due() -> bool:
        if not begun and (run / training.marker).exists():
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] >= delay

    return due


def at_checkpoint(run: Path, training: Training, rng: random.Random, seconds: float) -> Due:
    """As soon as a random checkpoint has its name."""
    run /= rng.choice(training.stages)
    step = SAVED_EVERY * rng.randrange(1, STEPS // SAVED_EVERY)
    return (run / "checkpoints" / f"step-{step:08d}.safetensors").exists


def while_saving(run: Path, training: Training, rng: random.Random, seconds: float) -> Due:
    """While a random checkpoint is half written."""
    run /= rng.choice(training.stages)
    step = SAVED_EVERY * rng.randint(1, STEPS // SAVED_EVERY)
    return lambda: _half_written(run / "checkpoints", f".step-{step:08d}")


def while_writing_the_model(run: Path, training: Training, rng: random.Random, seconds: float) -> Due:
    """While a random file of the model is half written."""
    run /= rng.choice(training.stages)
    beginning = "." + rng.choice(("tokenizer", "README", "config"))
    return lambda: _half_written(run, beginning)


def between_the_stages(run: Path, training: Training, rng: random.Random, seconds: float) -> Due:
    """When the last checkpoint of the first stage is there, or of the only one."""
    return (run / training.stages[0] / LAST).exists


MOMENTS = (at_time, at_checkpoint, while_saving, while_writing_the_model, between_the_stages)
PAUSES = {while_saving: 0.01, while_writing_the_model: 0.01}  # what is over in a moment is easily missed


def _half_written(folder: Path, beginning: str) -> bool:
    try:
        return any(name.startswith(beginning) and name.endswith(".part") for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def kill_when(process: BaseProcess, due: Due) -> bool:
    """SIGKILL as soon as it is due; False if the process ended before."""
    while process.exitcode is None:
        if due():
            process.kill()
            process.join()
            return process.exitcode == -signal.SIGKILL
        time.sleep(0.0002)
    return False


def steps_saved(run: Path, stages: Sequence[str] = ("",)) -> int:
    """The numbers of the stages' newest checkpoints together, 0 where there is none."""
    found = ([path.stem for path in (run / stage / "checkpoints").glob("step-*.safetensors")] for stage in stages)
    return sum(int(max(names).removeprefix("step-")) if names else 0 for names in found)


def measure(training: Training, run: Path, moment: int, rng: random.Random, seconds: float) -> dict[str, object]:
    """Kill a run once, go on with it, compare."""
    choose = MOMENTS[moment % len(MOMENTS)]
    for attempt in range(PATIENCE):
        folder = run.with_name(f"{run.name}-{attempt}")
        process = training.start(folder, PAUSES.get(choose, 0.0))
        killed = kill_when(process, choose(folder, training, rng, seconds))
        if killed:
            break
    saved = steps_saved(folder, training.stages)
    training.finish(folder)
    return {
        "training": training.name,
        "killed": choose.__name__.replace("_", " ") if killed else "never",
        "last checkpoint": saved,
        "steps": STEPS * len(training.stages),
        "differing bits": differing_bits(training.undisturbed, folder, training.stages),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10, help="kill points of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the points")
    parser.add_argument("--only", help="a training's name")
    parser.add_argument("--json", action="store_true", help="one line of JSON per point, as soon as it is measured")
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), list[dict[str, object]]()
    with tempfile.TemporaryDirectory() as name:
        for training in trainings(Path(name)):
            if options.only not in (None, training.name):
                continue
            training.finish(training.undisturbed)
            begin, end = (training.undisturbed / file for file in (training.marker, f"{training.stages[-1]}/{LAST}"))
            seconds = end.stat().st_mtime - begin.stat().st_mtime
            for point in range(options.points):
                run = Path(name) / f"{training.undisturbed.name}-{point}"
                rows.append(measure(training, run, point, rng, seconds))
                if options.json:
                    show(rows[-1:], as_json=True)
    if not options.json:
        show(rows)
    points = sum(row["killed"] != "never" for row in rows)
    bits = sum(int(str(row["differing bits"])) for row in rows)
    print(f"{points} kill points, {bits} differing bits", file=sys.stderr)
    return int(bits > 0)


if __name__ == "__main__":
    sys.exit(main())
