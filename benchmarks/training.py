"""How fast both trainers are: images a second, and which share of the machine's matrix rate that is.

    python benchmarks/training.py
    python benchmarks/training.py --tokenizer my.yaml --generator mine.yaml --steps 40 run.compile=false

Short trainings by the very commands' code, images drawn by worker processes as always. Floating-point operations are
counted in one step (forwards, backwards, optimiser), and compared with a large matrix product in float32 that is timed
just before and after. The configs are those of the shipped model, or small ones where these are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tables import show
from torch.utils.flop_counter import FlopCounterMode

from bigr_cli import console, schema
from bigr_cli.core.architectures import CompactConfig
from bigr_cli.data.loading import all_batches
from bigr_cli.data.sources import Source
from bigr_cli.runtime.device import measure, select_device
from bigr_cli.training.config import GeneratorTraining, OptimizerConfig, TokenizerTraining
from bigr_cli.training.data import open_data
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.launch import launch
from bigr_cli.training.objective import Objective
from bigr_cli.training.optim import Optimizers
from bigr_cli.training.sizes import GeneratorShape
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.folder import load_tokenizer

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "scenes-64" / "training"
MUON = OptimizerConfig(name="muon")
SMALL_TOKENIZER = TokenizerTraining(CompactConfig(64, 24), optimizer=MUON)
SMALL_GENERATOR = GeneratorTraining("", generator=GeneratorShape(4, 4, 128, 64, 2, 128), optimizer=MUON)
LOGGED = 4  # times that the rate is read, the first of which is left out: it has the start in it


def read(kind: type[Any], given: Path | None, shipped: str, small: Any, settings: list[str]) -> Any:
    """The config to be measured, short and free of what belongs to a run."""
    path = given or SHIPPED / shipped
    training = schema.load_yaml(kind, path) if given or path.is_file() else small
    return schema.override(training, ['init=""', "data.validation=32", *settings], "command line")


def operations(objective: Objective, training: Any, source: Source, device: torch.device) -> int:
    """Floating-point operations of one step."""
    batch = next(iter(all_batches(source, training.run.batch))).to(device)
    trained = objective.to(device).train().optimizers()
    optimizers = {phase: Optimizers(*trained[phase]) for phase in objective.phases(0)}
    with FlopCounterMode(display=False) as counter:
        for phase, each in optimizers.items():
            loss, _ = objective(batch, phase, 0)
            loss.backward()
            each.step()
    return int(counter.get_total_flops())


def rates(run: Path) -> list[float]:
    """Images a second, as the training said."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["pictures_per_second"] for line in lines if line["kind"] == "train"][1:]


def measured(name: str, training: Any, build: Any, run: Path, size: int, device: torch.device) -> dict[str, object]:
    """Train for a while and say how fast it was."""
    _, held_out = open_data(training.data, size)
    objective = build(held_out)
    flops = operations(objective, training, held_out, device) / training.run.batch
    before = measure(device)["float32"]
    launch(training, build, size=size, output=run, resume=None, device=device)
    rate, matrices = statistics.median(rates(run)), max(before, measure(device)["float32"])
    return {
        "training": name,
        "parameters": sum(parameter.numel() for parameter in objective.model.parameters()),
        "batch": training.run.batch,
        "images_per_second": rate,
        "gflop_per_image": flops / 1e9,
        "gflops": rate * flops / 1e9,
        "matrix_gflops": matrices,
        "share": rate * flops / 1e9 / matrices,
        "threads": torch.get_num_threads(),
        "device": str(device),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="for both trainings, such as run.batch=16")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="config of the tokenizer's training")
    parser.add_argument("--generator", type=Path, metavar="FILE", help="config of the generator's training")
    parser.add_argument("--steps", type=int, default=40, help="of each training (default 40)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    console.configure(quiet=True)
    device, rows = select_device(options.device), list[dict[str, object]]()
    settings = [f"run.steps={options.steps}", f"run.log_every={max(1, options.steps // LOGGED)}", *options.settings]
    with tempfile.TemporaryDirectory() as name:
        tokenizer_run, generator_run = Path(name) / "tokenizer", Path(name) / "generator"
        training = read(TokenizerTraining, options.tokenizer, "tokenizer-1.yaml", SMALL_TOKENIZER, settings)
        size = training.tokenizer.image_size
        build: Any = partial(TokenizerObjective, training)
        rows.append(measured("tokenizer", training, build, tokenizer_run, size, device))
        module, base = load_tokenizer(tokenizer_run)
        settings += [f"tokenizer={tokenizer_run}", 'tokenizer_sha256=""']
        training = read(GeneratorTraining, options.generator, "generator.yaml", SMALL_GENERATOR, settings)
        build = partial(GeneratorObjective, training, module, base)
        rows.append(measured("generator", training, build, generator_run, size, device))
    show(rows, as_json=options.json)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)


if __name__ == "__main__":
    main()
