"""What there is a GPU for, on one; without, none of this runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bigr_cli
from bigr_cli.core.heads import Rows
from bigr_cli.core.random import Stream, uniform
from bigr_cli.model import Model
from bigr_cli.runtime import device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")

Run = Callable[..., Any]
GPU = torch.device("cuda:0")
ONE_STEP = ("run.steps=2", "run.batch=8", "run.log_every=1", "data.validation=8", "data.workers=1")


def numbers(model: Model) -> list[torch.Tensor]:
    """Conditions of the transcoder, its logits, and decoded images, for inputs that are always the same."""
    config, chance, place = model.generator.config, torch.Generator().manual_seed(0), model.device
    codes = (torch.rand(2, config.tokens, config.bits, generator=chance) < 0.5).to(place)
    mask = (torch.rand(2, config.tokens, generator=chance) < 0.5).to(place)
    with torch.no_grad():
        cond = model.generator.condition(codes, torch.tensor([0, 3], device=place), mask)
        item = torch.arange(2, device=place).repeat_interleave(config.tokens)
        rows = Rows(item, torch.arange(config.tokens, device=place).repeat(2), item)
        logits = model.generator.transcoder.first_logits(cond.flatten(0, 1), rows)
        return [cond.float().cpu(), logits.float().cpu(), model.tokenizer.decode(codes).float().cpu()]


def test_random_numbers_are_those_of_the_processor() -> None:
    seeds, positions = torch.tensor([0, 7, 2**62 + 5]), torch.tensor([0, 3, 63])
    times = torch.tensor([1, 5, 200])
    drawn = [
        uniform(seeds.to(d), Stream.TRANSCODER, positions.to(d), 24, iteration=3, timesteps=times.to(d)).cpu()
        for d in ("cpu", GPU)
    ]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("compiled", [False, True])
def test_numbers_are_those_of_the_processor(compiled: bool) -> None:
    here = numbers(bigr_cli.load("scenes-64", device="cpu", dtype="float32"))
    there = numbers(bigr_cli.load("scenes-64", device="cuda", dtype="float32", compile=compiled))
    for ours, theirs, near in zip(here, there, (1e-3, 1e-3, 4e-3), strict=True):  # convolutions are in TF32 there
        torch.testing.assert_close(ours, theirs, atol=near, rtol=near)


@pytest.mark.parametrize("more", [(), ("--compile",), ("--dtype", "float32")])
def test_images_show_what_they_should(bigr: Run, tmp_path: Path, more: tuple[str, ...]) -> None:
    run = ("generate", "--all-labels", "-n", 2, "--seed", 0, "-m", "scenes-64", "-o", tmp_path)
    shown = bigr(*run, "--device", "cuda", "--json", *more)
    assert shown.code == 0, shown.err
    paths = sorted(tmp_path.glob("*.png"))
    assert len(paths) == 32
    spread = [np.asarray(Image.open(path)).std() for path in paths]
    assert min(spread) > 20


def test_the_other_tasks(bigr: Run, tmp_path: Path) -> None:
    assert bigr("generate", "cat", "--seed", 1, "-m", "scenes-64", "-o", tmp_path / "cat.png").code == 0
    given = (tmp_path / "cat.png", "-m", "scenes-64", "--device", "cuda")
    assert bigr("inpaint", *given, "--mask-box", "16,16,48,48", "-o", tmp_path / "inpainted.png").code == 0
    assert bigr("edit", *given, "--class", "bird", "-o", tmp_path / "edited.png").code == 0
    assert bigr("enrich", *given, "-o", tmp_path / "enriched.png").code == 0
    assert bigr("embed", *given, "-o", tmp_path / "features.npz").code == 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_trainings(bigr: Run, tmp_path: Path, precision: str, compiled: bool) -> None:
    words = (*ONE_STEP, f"run.precision={precision}", f"run.compile={compiled}", "optimizer.name=muon")
    shown = bigr("train-tokenizer", "-o", tmp_path / "t", "init=scenes-64", *words, "--device", "cuda")
    assert shown.code == 0, shown.err
    shown = bigr("train-generator", "--tokenizer", tmp_path / "t", "-o", tmp_path / "g", *words, "--device", "cuda")
    assert shown.code == 0, shown.err
    shown = bigr("train-generator", "--resume", tmp_path / "g", "run.steps=3", "--device", "cuda")
    assert shown.code == 0, shown.err


def test_bench_and_rates(bigr: Run) -> None:
    record = json.loads(bigr("bench", "-m", "scenes-64", "--batch-sizes", "8", "--training-steps", 2, "--json").out)
    assert record["device"] == "cuda:0" and 0 < record["batches"][0]["share"] < 1
    rates = device.measure(GPU)
    assert rates["bfloat16"] > rates["float32"]
    assert device.select_dtype("auto", GPU) is torch.bfloat16
