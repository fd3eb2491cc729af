"""`train-tokenizer` and `train-generator` without sizes: the planner chooses them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigr_cli.data.look import DataLook
from bigr_cli.training.commands import adjusted, needs_plan
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.plan import data_settings, generator_training, tokenizer_training

Run = Callable[..., Any]
FEW = ("run.steps=2", "run.batch=4", "data.workers=0", "data.validation=4", "run.precision=float32")


def test_sizes_that_are_given_need_no_plan() -> None:
    assert needs_plan(TokenizerTraining, ["run.steps=3", "data.flip=true"])
    assert not needs_plan(TokenizerTraining, ["tokenizer.bits=8"])
    assert not needs_plan(TokenizerTraining, ["tokenizer={architecture: compact, image_size: 16, bits: 6}"])
    assert needs_plan(GeneratorTraining, ["generator.text.encoder=bytes"])
    assert not needs_plan(GeneratorTraining, ["generator.dim=64"])


def test_a_generator_for_scenes(bigr: Run, tiny_model: Path, tmp_path: Path) -> None:
    words = ("train-generator", "--tokenizer", tiny_model, "--data", "scenes", "--device", "cpu", "--threads", "1")
    shown = bigr(*words, "-o", tmp_path / "run", *FEW, "sampling.steps=2", "sampling.timesteps=3")
    assert shown.code == 0, shown.err
    lines = shown.err.splitlines()
    assert "plan: 16 pixels, 4×4 tokens of 6 bits, prompts: classes" in lines
    assert any(line.startswith("plan: generator: nano, 1.") and "2 steps of 4 images" in line for line in lines)
    assert not any(line.startswith("plan: tokenizer") for line in lines)
    assert "optimizer:\n  name: muon" in (tmp_path / "run" / "training.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "5m", "run.steps=3"], "--time and run.steps exclude each other"),
        (["--time", "5m", "--resume", "run"], "--resume says how large and how long already"),
        (["--size", "huge"], "'huge' is not one of"),
    ],
)
def test_wrong_usage_is_exit_2(bigr: Run, tmp_path: Path, words: list[str], message: str) -> None:
    shown = bigr("train-tokenizer", "--data", "scenes", *words)
    assert (shown.code, message in " ".join(shown.err.split())) == (2, True), shown.err


def test_several_processes_need_a_config(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    shown = bigr("train-tokenizer", "--data", "scenes")
    assert (shown.code, "--config FILE" in shown.err) == (2, True), shown.err


def test_settings_of_sampling_are_for_painting_too_unless_that_is_set_apart() -> None:
    look = DataLook(100, side=32, largest=40, classes=("cat", "dog"))
    data = data_settings(look, "photos", 32, workers=1, seed=0)
    first = tokenizer_training("nano", look, data, 32, name="a", precision="float32", seed=0)
    second = generator_training("nano", look, data, "classes", tokenizer="a", name="b", precision="float32", seed=0)
    settings = ("painting.guidance=2", "sampling.guidance=5", "sampling.steps=9")
    planned = adjusted(settings, (first, second))[1]
    assert (planned.sampling.guidance, planned.sampling.steps) == (5.0, 9)
    assert planned.painting is not None
    assert (planned.painting.guidance, planned.painting.steps) == (2.0, 9)
