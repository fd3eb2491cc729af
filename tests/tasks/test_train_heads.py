"""Other heads and next-token prediction through the commands: trained, shown, drawn from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.core.architectures import HEADS

Run = Callable[..., Any]

SIZES = (
    *("generator.layers=1", "generator.heads=2", "generator.dim=16", "generator.ffn_multiple=8"),
    *("generator.transcoder_layers=1", "generator.transcoder_width=16", "generator.diffusion_timesteps=8"),
    *("generator.dropout=0", "sampling.steps=2", "sampling.timesteps=3", "masking.share=image"),
    *("optimizer.name=adamw", "optimizer.learning_rate=0.02", "data.validation=8"),
    *("data.workers=0", "run.ema=0", "run.steps=30", "run.batch=16", "run.log_every=1"),
    *("run.validate_every=30", "run.checkpoint_every=30"),
)
MACHINE = ("--device", "cpu", "--threads", "1", "--quiet")


def train(bigr: Run, tokenizer: Path, run: Path, *settings: str) -> None:
    shown = bigr("train-generator", "--tokenizer", tokenizer, "-o", run, *SIZES, *settings, *MACHINE)
    assert (shown.code, shown.err) == (0, "")


@pytest.mark.parametrize(("head", "attention"), [*((head, "bidirectional") for head in HEADS), ("direct", "causal")])
def test_from_the_config_to_images(bigr: Run, tmp_path: Path, tiny_model: Path, head: str, attention: str) -> None:
    """The loss falls, the model says what it is, and draws a picture of its own for each seed, the same each time."""
    run = tmp_path / "run"
    train(bigr, tiny_model, run, f"generator.head={head}", f"generator.attention={attention}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 30 and mean(losses[-10:]) < 0.985 * mean(losses[:3])
    assert bigr("models", "verify", run).code == 0
    said = json.loads(bigr("models", "show", run, "--json").out)["config"]["generator"]
    assert (said.get("head", "flip"), said.get("attention", "bidirectional")) == (head, attention)
    assert (f"head: {head}" in bigr("models", "show", run).out) == (head != "flip")
    images = []
    for name in ("one", "two"):
        made = bigr("generate", "cat", "-n", 2, "-m", run, "-o", tmp_path / name, "--seed", 3, *MACHINE)
        assert made.code == 0, made.err
        images.append([Image.open(path).tobytes() for path in sorted((tmp_path / name).glob("*.png"))])
    assert images[0] == images[1] and len(set(images[0])) == 2


@pytest.fixture(scope="module")
def next_token(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The folder of `tiny_model` with causal attention; its weights are random anyway."""
    folder = tmp_path_factory.mktemp("models") / "next-token"
    shutil.copytree(tiny_model, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("generator:\n", "generator:\n  attention: causal\n", 1))
    return folder


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / "in.png")
    return tmp_path / "in.png"


def test_next_tokens_are_painted_after_known_ones(bigr: Run, tmp_path: Path, next_token: Path, noise: Path) -> None:
    words = ("--mask-box", "8,8,24,24", "--class", "cat", "--seed", 1, "-m", next_token)
    assert bigr("inpaint", noise, *words, "-o", tmp_path / "made.png", *MACHINE).code == 0
    made, before = (np.asarray(Image.open(path).convert("RGB")) for path in (tmp_path / "made.png", noise))
    assert np.array_equal(made[:4], before[:4]) and not np.array_equal(made[8:24, 8:24], before[8:24, 8:24])


def test_next_tokens_lead_from_label_to_label(bigr: Run, tmp_path: Path, next_token: Path) -> None:
    made = tmp_path / "way.png"
    assert bigr("interpolate", "cat", "dog", "--frames", 4, "--seed", 1, "-m", next_token, "-o", made).code == 0
    first, second, _, _ = np.split(np.asarray(Image.open(made)).astype(float), 4, axis=1)
    changed = np.abs(first - second)
    assert changed[:4].mean() < changed[12:].mean()  # the last tokens change first; the decoder sees them all


def test_what_needs_both_sides_is_refused(bigr: Run, tmp_path: Path, next_token: Path, noise: Path) -> None:
    words = ("--mask-box", "8,8,24,24", "--guess-class", "-m", next_token, "-o", tmp_path / "made.png")
    shown = bigr("inpaint", noise, *words, *MACHINE)
    assert shown.code == 2 and "attention: causal" in shown.err and "Traceback" not in shown.err
    assert not (tmp_path / "made.png").exists()


def test_a_recipe_says_how_tokens_were_drawn(bigr: Run, tmp_path: Path, next_token: Path) -> None:
    made = tmp_path / "made.png"
    assert bigr("generate", "cat", "-m", next_token, "-o", made, "--steps", 3, "--order", "entropy", *MACHINE).code == 0
    recipe = json.loads(bigr("info", made, "--json").out)
    sampling = recipe["recipe"]["sampling"] if "recipe" in recipe else recipe["sampling"]
    assert (sampling["steps"], sampling["order"]) == (16, "raster")
