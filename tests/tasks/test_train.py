"""Both training commands, from nothing to a model that the other commands take."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import bigr_cli

Run = Callable[..., Any]

TINY = (
    *("run.steps=4", "run.batch=4", "run.log_every=2", "run.validate_every=4", "run.checkpoint_every=2"),
    *("data.validation=4", "data.workers=1"),
)
TOKENIZER = (
    "tokenizer={architecture: compact, image_size: 16, bits: 6, channels: [8, 16], encoder_blocks: [0, 1], "
    "decoder_blocks: [0, 1], attention_heads: 2}",
    *("optimizer.name=muon", "name=small-tokenizer", *TINY),
)
GENERATOR = (
    *("generator.layers=1", "generator.heads=2", "generator.dim=16", "generator.ffn_multiple=8"),
    *("generator.transcoder_layers=1", "generator.transcoder_width=16", "generator.diffusion_timesteps=8"),
    *("sampling.steps=2", "sampling.timesteps=3", *TINY),
)
MACHINE = ("--device", "cpu", "--threads", "1")


def photos(root: Path, count: int = 20) -> Path:
    root.mkdir()
    for number in range(count):
        Image.effect_noise((24, 20), 40 + number).convert("RGB").save(root / f"{number}.jpg")
    return root


def test_scenes_from_nothing_to_images(bigr: Run, tmp_path: Path) -> None:
    tokenizer, model = tmp_path / "tokenizer", tmp_path / "model"
    shown = bigr("train-tokenizer", "--data", "scenes", "-o", tokenizer, *TOKENIZER, *MACHINE)
    assert (shown.code, shown.out) == (0, "")
    assert "step 4/4" in shown.err and "psnr" in shown.err
    assert bigr("models", "verify", tokenizer).code == 0
    shown = bigr("train-generator", "--tokenizer", tokenizer, "-o", model, *GENERATOR, *MACHINE)
    assert (shown.code, shown.out) == (0, "")
    assert bigr("models", "verify", model).code == 0
    record = json.loads(bigr("models", "show", model, "--json").out)
    assert record["config"]["labels"][:2] == ["house", "tree"]
    assert record["config"]["provenance"]["steps"] == 4
    images = bigr_cli.load(model, device="cpu").generate("cat", count=2, seed=0)
    assert [image.size for image in images] == [(16, 16)] * 2
    finished = bigr("train-generator", "--resume", model, *MACHINE)
    assert finished.code == 0
    assert "finished, after 4 steps" in finished.err


def test_a_flat_folder_of_photos(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    source = photos(tmp_path / "photos")
    words = ("--data", source, "data.flip=true", "data.crop=0.8", *MACHINE, "--quiet")
    shown = bigr("train-tokenizer", "-o", tmp_path / "tokenizer", *TOKENIZER, *words)
    assert (shown.code, shown.out, shown.err) == (0, "", "")
    cached = ("data.cache_codes=2", "run.accumulate=2")
    shown = bigr("train-generator", "--tokenizer", tiny_model, "-o", tmp_path / "model", *GENERATOR, *cached, *words)
    assert (shown.code, shown.err) == (0, "")
    config = json.loads(bigr("models", "show", tmp_path / "model", "--json").out)["config"]
    assert (config["labels"], config["generator"]["classes"]) == (["picture"], 1)


def test_images_that_are_kept_make_the_same_model(bigr: Run, tmp_path: Path, home: Path) -> None:
    source, made = photos(tmp_path / "photos"), []
    for name, more in (("a", ()), ("b", ("data.cache_images=true",)), ("c", ("data.cache_images=true",))):
        run = ("train-tokenizer", "--data", source, "-o", tmp_path / name, *TOKENIZER, *MACHINE, "run.steps=8", *more)
        assert bigr(*run).code == 0
        made.append((tmp_path / name / "tokenizer.safetensors").read_bytes())
    assert made[0] == made[1] == made[2]
    (rows,) = (home / "cache" / "pictures").iterdir()
    assert rows.stat().st_size == 18 * (16 * 16 * 3 + 5)


def test_a_broken_image_is_named(bigr: Run, tmp_path: Path) -> None:
    source = photos(tmp_path / "photos")
    for number in range(20):
        (source / f"{number}.jpg").write_bytes(b"no image")
    shown = bigr("train-tokenizer", "--data", source, "-o", tmp_path / "run", *TOKENIZER, *MACHINE)
    assert shown.code == 2
    errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {source}/") and ".jpg: is not an image" in errors[0]
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run.stepz=3"], "unknown key 'run.stepz'; did you mean steps?"),
        (["runs.steps=3"], "unknown key 'runs'; did you mean run?"),
        (["run.steps=0"], "run.steps: expected at least 1, got 0"),
        (["data.cache_images=true"], "cache_images: endless scenes never repeat"),
        (["data.count=50", "data.flip=true", "data.cache_images=true"], "cache_images: with flip or crop"),
        (["run.precision=float16"], "run.precision: a CPU cannot train in float16"),
        (["--data", "no/such/folder"], "no/such/folder: no such folder"),
        (["--config", "no.yaml"], "--config"),
        (["--resume", "no/such/run"], "no/such/run: not a training run"),
        (["name=a b"], "name: expected letters"),
        (["losses.perceptual=1", "losses.perceptual_network=vgg.safetensors"], "vgg.safetensors: no such file"),
    ],
)
def test_wrong_usage_is_exit_2(bigr: Run, tmp_path: Path, words: list[str], message: str) -> None:
    output = [] if "--resume" in words else ["-o", tmp_path / "run", *TOKENIZER]
    shown = bigr("train-tokenizer", *output, *words, *MACHINE)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["2024", "a: b", "x #1", "true", "[1]"])
def test_names_of_folders_are_no_yaml(bigr: Run, tmp_path: Path, tiny_model: Path, name: str) -> None:
    """The folder itself is opened: it has one image, and not the number that one needs."""
    photos(tmp_path / name, 1)
    (tmp_path / "x").mkdir(exist_ok=True)
    config = tmp_path / "mine.yaml"
    config.write_text("name: mine\n")
    for words in (
        ("train-tokenizer", "--data", tmp_path / name),
        ("train-generator", "--tokenizer", tiny_model, "--config", config, "--data", tmp_path / name),
        ("train-tokenizer", f"data.source={tmp_path / name}"),
    ):
        shown = bigr(*words, "-o", tmp_path / "run", *MACHINE)
        assert shown.code == 2
        assert f"{tmp_path / name}: expected at least 10 " in shown.err, shown.err


def test_a_pattern_is_no_yaml(bigr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = bigr("train-tokenizer", "--data", "*.tar", *MACHINE)
    assert shown.code == 2
    assert "*.tar" in shown.err and "YAML" not in shown.err


def test_a_tokenizer_has_to_be_there(bigr: Run, tmp_path: Path) -> None:
    shown = bigr("train-generator", "--tokenizer", tmp_path, "-o", tmp_path / "run", *MACHINE)
    assert shown.code == 2
    assert "is not a model folder" in shown.err


def test_a_folder_that_is_not_empty(bigr: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    shown = bigr("train-tokenizer", "-o", tmp_path, *TOKENIZER, *MACHINE)
    assert shown.code == 2
    assert "exists and is not empty" in shown.err
    assert f"--resume {tmp_path}" in shown.err


def test_another_tokenizer_does_not_go_on(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    words = ("--tokenizer", copy, "-o", tmp_path / "run", *GENERATOR, *MACHINE)
    assert bigr("train-generator", *words).code == 0
    weights = load_file(copy / "tokenizer.safetensors")
    save_file({name: tensor + torch.ones(()) for name, tensor in weights.items()}, copy / "tokenizer.safetensors")
    shown = bigr("train-generator", "--resume", tmp_path / "run", "run.steps=8", *MACHINE)
    assert shown.code == 2
    assert "tokenizer_sha256: expected" in shown.err


def test_the_run_folder_has_a_variable_of_its_own(bigr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_OUTPUT", str(tmp_path / "pictures"))
    monkeypatch.setenv("BIGR_RUN", str(tmp_path / "run"))
    assert bigr("train-tokenizer", *TOKENIZER, *MACHINE).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def decoder_of(model: Path) -> tuple[str, ...]:
    """The settings that train the tiny model's decoder on codes that it samples."""
    sizes = "tokenizer={architecture: compact, image_size: 16, bits: 6, channels: [8, 16], encoder_blocks: [1, 1], "
    return (
        sizes + "decoder_blocks: [1, 1], attention_heads: 2}",
        *("name=new-decoder", f"init={model}", "freeze_encoder=true", "samples.count=8", *TINY),
        *("losses.adversarial={weight: 0.5, start: 0, layers: 2, channels: 8}",),
    )


def test_a_decoder_learns_from_what_its_generator_samples(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    run = tmp_path / "run"
    shown = bigr("train-tokenizer", "--data", "scenes", "-o", run, *decoder_of(tiny_model), *MACHINE)
    assert (shown.code, shown.out) == (0, "")
    assert "adversarial" in shown.err and "critic" in shown.err
    assert bigr("models", "verify", run).code == 0
    before, after = (bigr_cli.load(model, device="cpu") for model in (tiny_model, run))
    assert after.config.labels == before.config.labels
    assert (run / "generator.safetensors").stat().st_size > 0
    noise = Image.effect_noise((16, 16), 90).convert("RGB")
    assert torch.equal(*(model.encode([noise]) for model in (before, after)))
    made = [model.generate("cat", count=1, seed=1)[0].tobytes() for model in (before, after)]
    assert made[0] != made[1]


def test_a_decoders_run_goes_on_with_the_same_bits(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = (*decoder_of(tiny_model), *MACHINE)
    assert bigr("train-tokenizer", "--data", "scenes", "-o", whole, *settings).code == 0
    assert bigr("train-tokenizer", "--data", "scenes", "-o", parts, *settings, "run.steps=2").code == 0
    assert bigr("train-tokenizer", "--resume", parts, "run.steps=4", *MACHINE).code == 0
    for name in ("tokenizer.safetensors", "generator.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_a_decoders_run_keeps_its_generator(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(tiny_model, copy)
    assert bigr("train-tokenizer", "--data", "scenes", "-o", run, *decoder_of(copy), *MACHINE).code == 0
    weights = load_file(copy / "generator.safetensors")
    save_file({name: tensor + torch.ones(()) for name, tensor in weights.items()}, copy / "generator.safetensors")
    shown = bigr("train-tokenizer", "--resume", run, "run.steps=8", *MACHINE)
    assert shown.code == 2
    assert "generator_sha256: expected" in shown.err


def test_what_a_decoders_training_needs_is_said(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    for left_out, message in (("freeze_encoder=false", "needs freeze_encoder"), ("init=", "needs init")):
        shown = bigr("train-tokenizer", "-o", tmp_path / "run", *decoder_of(tiny_model), left_out, *MACHINE)
        assert shown.code == 2
        assert message in shown.err
    assert not (tmp_path / "run").exists()
