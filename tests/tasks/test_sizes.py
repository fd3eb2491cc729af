"""Every task with models of other sizes than those that come along: 512 pixels, 32 × 32 tokens, odd grids."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bigr_cli.core.architectures import AutoencoderConfig, CompactConfig, GeneratorConfig, TokenizerConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.folder import save_model

Bigr = Callable[..., Any]


COMPACT = {"encoder_blocks": (1, 0, 1), "decoder_blocks": (1, 0, 1), "attention_heads": 2}
WIDE = CompactConfig(64, 7, channels=(8,), encoder_blocks=(1,), decoder_blocks=(1,), attention_heads=2)
AUTOENCODER = {"channels": 32, "multipliers": (1, 1, 1, 1, 1), "res_blocks": 1, "embedding": 32}
LARGE = AutoencoderConfig(512, 32, **AUTOENCODER)
TOKENIZERS: dict[str, TokenizerConfig] = {
    "2x2": CompactConfig(16, 5, channels=(8, 8, 16), **COMPACT),
    "3x3": CompactConfig(24, 1, channels=(8, 8, 16), **COMPACT),
    "7x7": AutoencoderConfig(112, 9, **AUTOENCODER),
    "32x32": WIDE,
}
# Whichever task it is, with a model of any size: words of the command; {in} and {other} are images.
TASKS = {
    "generate": ["cat", "-n", "2", "--order", "halton", "-o", "{out}/g-{{seed}}.png"],
    "generate in raster order": ["dog", "--order", "raster", "--steps-preview", "{out}/film.gif", "-o", "{out}/r.png"],
    "inpaint": ["{in}", "--mask-box", "5,4,8,9", "-o", "{out}/i.png"],
    "outpaint": ["{in}", "--right", "9", "--top", "5", "-o", "{out}/o.png"],
    "edit": ["{in}", "--class", "cat", "--strength", "0.5", "-o", "{out}/e.png"],
    "interpolate": ["cat", "dog", "--frames", "3", "-o", "{out}/s.png"],
    "interpolate images": ["{in}", "{other}", "--frames", "3", "-o", "{out}/t.png"],
    "enrich": ["{in}", "--passes", "2", "--steps", "1", "-o", "{out}/n.png"],
    "enrich twice the size": ["{in}", "--scale", "2", "--steps", "1", "-o", "{out}/x.png"],
    "embed": ["{in}", "{other}", "--layer", "all", "-o", "{out}/f.npz"],
    "embed codes": ["{in}", "--pool", "codes", "-o", "{out}/c.npz"],
    "evaluate probe": ["--data", "scenes", "--count", "64", "--test-count", "16"],
}
DRAWING = ("generate", "inpaint", "outpaint", "edit", "interpolate", "enrich")


def made(folder: Path, tokenizer: TokenizerConfig) -> Path:
    """A model of noise with a narrow generator."""
    torch.manual_seed(0)
    sizes = {"layers": 2, "heads": 2, "dim": 16, "ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16}
    generator = GeneratorConfig(grid=tokenizer.grid, bits=tokenizer.bits, classes=2, diffusion_timesteps=8, **sizes)
    model = BinaryModel(tokenizer, generator)
    for parameter in model.generator.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4
    config = ModelConfig(
        name="sized",
        image_size=tokenizer.image_size,
        tokenizer=tokenizer,
        generator=generator,
        labels=("cat", "dog"),
        sampling=SamplingConfig(steps=3, timesteps=3),
    )
    save_model(folder, config, model.tokenizer, model.generator)
    return folder


def try_every_task(bigr: Bigr, place: Path, tokenizer: TokenizerConfig, *more: str, beyond: int = 13) -> None:
    """Run all tasks on images that are not of the model's size, but wider, and look at what comes out."""
    model, size = made(place / "model", tokenizer), tokenizer.image_size
    wide, high = size + beyond, size + beyond // 3
    for name, seed in (("in", 0), ("other", 1)):
        levels = np.random.default_rng(seed).integers(0, 256, (high, wide, 3), dtype=np.uint8)
        Image.fromarray(levels).save(place / f"{name}.png")
    out = place / "out"
    out.mkdir()
    places = {"in": place / "in.png", "other": place / "other.png", "out": out}
    for task, words in TASKS.items():
        if beyond == 0 and "twice" in task:  # a minute for a large model
            continue
        name = task if task.startswith("evaluate") else task.split()[0]
        seed = ["--seed", "3"] if name in DRAWING else []
        given = [word.format(**places) for word in words]
        outcome = bigr(*name.split(), *given, "-m", model, *seed, "--device", "cpu", "--json", *more)
        assert outcome.code == 0, (task, outcome.err)
        records = [json.loads(line) for line in outcome.out.splitlines()]
        assert records, task

    def shown(file: str) -> tuple[int, int]:
        with Image.open(out / file) as image:
            image.load()
            return image.size

    assert sorted(path.name for path in out.iterdir() if path.name.startswith("g")) == ["g-3.png", "g-4.png"]
    assert shown("g-3.png") == shown("r.png") == (size, size)
    assert shown("i.png") == shown("e.png") == shown("n.png") == (wide, high)
    assert beyond == 0 or shown("x.png") == (2 * wide, 2 * high)
    assert shown("o.png") == (wide + 9, high + 5)
    before, after = (np.asarray(Image.open(path)) for path in (place / "in.png", out / "i.png"))
    mask = np.zeros(before.shape[:2], dtype=bool)
    mask[4:13, 5:13] = True
    assert (before == after).all(axis=2)[~mask].all()
    assert (before != after).any()
    with np.load(out / "f.npz") as features:
        assert features["features"].shape == (2, 2, 16)


def test_every_task_with_an_odd_grid_in_bfloat16_and_weights_left_in_the_file(bigr: Bigr, tmp_path: Path) -> None:
    try_every_task(bigr, tmp_path, TOKENIZERS["3x3"], "--offload", "--dtype", "bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_task_with_a_grid_of(name: str, bigr: Bigr, tmp_path: Path) -> None:
    assert f"{TOKENIZERS[name].grid}x{TOKENIZERS[name].grid}" == name
    try_every_task(bigr, tmp_path, TOKENIZERS[name], "--device-map", "auto")


@pytest.mark.slow
def test_every_task_with_512_pixels(bigr: Bigr, tmp_path: Path) -> None:
    try_every_task(bigr, tmp_path, LARGE, beyond=0)
