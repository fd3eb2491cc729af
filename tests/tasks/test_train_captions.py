"""Training on captions by the command: of scenes, folders and tar shards, read as bytes or by a T5."""

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bigr_cli.data.scenes.description import vocabulary
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.text_encoders.features import text_reader

Run = Callable[..., Any]

SIZES = (
    *("generator.layers=2", "generator.heads=2", "generator.dim=16", "generator.ffn_multiple=8"),
    *("generator.transcoder_layers=1", "generator.transcoder_width=16", "generator.diffusion_timesteps=16"),
)
SMALL = (
    *(*SIZES, "sampling.steps=2", "sampling.timesteps=3", "data.validation=4", "data.workers=0"),
    *("run.steps=2", "run.batch=4", "run.log_every=1", "run.validate_every=2", "run.checkpoint_every=1"),
)
BYTES = ("generator.text.encoder=bytes", "generator.text.tokens=32", "generator.text.width=16")
MACHINE = ("--device", "cpu", "--threads", "1")


def image(number: int) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((24, 20), 40 + number).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, ten of them with captions, one of these broken."""
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(12):
        (root / f"{number}.jpg").write_bytes(image(number) if number else b"no image")
    lines = [{"file": f"{n}.jpg", "caption": [f"noise {n}", f"a picture of noise {n}"]} for n in range(9)]
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (root / "9.txt").write_text("beside", encoding="utf-8")
    (root / "10.txt").write_text("beside too", encoding="utf-8")
    return root


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """A pattern for two shards with six images each."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as archive:
            for number in range(6 * shard, 6 * shard + 6):
                for name, content in ((f"{number}.jpg", image(number)), (f"{number}.txt", b"noise\nmore noise")):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return f"{tmp_path}/shard-{{0..1}}.tar"


def samples(model: Path, *texts: str) -> torch.Tensor:
    network, config = load_model(model)
    assert config.generator is not None
    read = text_reader(config.generator.text)
    assert read is not None
    return network.sample_codes(read(texts), list(range(len(texts))), steps=2, timesteps=3)


def test_scenes_and_their_captions(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    run = tmp_path / "run"
    shown = bigr("train-generator", "--tokenizer", tiny_model, "-o", run, *SMALL, *BYTES, *MACHINE)
    assert (shown.code, shown.out) == (0, ""), shown.err
    assert bigr("models", "verify", run).code == 0
    generator = read_config(run).generator
    assert generator is not None and generator.text is not None
    assert (generator.condition, generator.classes, generator.text.encoder) == ("text", 0, "bytes")
    assert read_config(run).labels == ()
    assert read_config(run).vocabulary == vocabulary()
    done = bigr("generate", "a dog", "-m", run)
    assert done.code == 2 and "nearest: cat, bird" in done.err
    assert samples(run, "a red house", "", "🌈" * 99).shape == (3, 16, 6)
    assert Image.open(run / "samples" / "step-00000002.png").width == 4 * (8 * 16 + 7 * 2)


def test_defaults_of_a_text_condition(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    words = ("--tokenizer", tiny_model, "-o", tmp_path / "run", *SMALL, "generator.text={}", *MACHINE)
    assert bigr("train-generator", *words).code == 0
    generator = read_config(tmp_path / "run").generator
    assert generator is not None and generator.text is not None
    assert (generator.text.tokens, generator.text.prefix) == (128, 16)


def test_a_folder_with_captions(bigr: Run, tmp_path: Path, tiny_model: Path, folder: Path) -> None:
    words = ("--tokenizer", tiny_model, "--data", folder, "-o", tmp_path / "run", *SMALL, *BYTES, *MACHINE)
    shown = bigr("train-generator", *words)
    assert shown.code == 0
    assert "2 of 12 images are left out: 1 without a caption" in shown.err
    assert "1 unreadable" in shown.err
    assert read_config(tmp_path / "run").provenance.data == str(folder)
    known = read_config(tmp_path / "run").vocabulary
    assert known is not None and {"a", "noise", "of", "picture"} <= set(known.words)
    done = bigr("generate", "a noisy picture", "-m", tmp_path / "run", "-o", tmp_path / "made.png")
    assert done.code == 0 and "'noisy' is not among the" in done.err and "nearest: noise" in done.err


def test_codes_that_are_kept_have_their_captions(bigr: Run, tmp_path: Path, tiny_model: Path, folder: Path) -> None:
    words = ("--tokenizer", tiny_model, "--data", folder, *SMALL, *BYTES, "data.cache_codes=2", *MACHINE)
    assert bigr("train-generator", *words, "-o", tmp_path / "run", "--quiet").code == 0
    assert samples(tmp_path / "run", "noise").shape == (1, 16, 6)


def test_shards_stopped_and_gone_on_with(bigr: Run, tmp_path: Path, tiny_model: Path, shards: str) -> None:
    words = ("--tokenizer", tiny_model, "--data", shards, *SMALL, *BYTES, *MACHINE)
    assert bigr("train-generator", *words, "-o", tmp_path / "whole", "run.steps=4").code == 0
    assert bigr("train-generator", *words, "-o", tmp_path / "parts").code == 0
    shown = bigr("train-generator", "--resume", tmp_path / "parts", "run.steps=4", *MACHINE)
    assert "going on after step 2 of 4" in shown.err
    one, other = (load_file(tmp_path / name / "generator.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_shards_train_a_tokenizer_and_classes_as_well(bigr: Run, tmp_path: Path, tiny_model: Path, shards: str) -> None:
    words = ("--tokenizer", tiny_model, "--data", shards, "-o", tmp_path / "run", *SMALL, *MACHINE)
    assert bigr("train-generator", *words).code == 0
    assert read_config(tmp_path / "run").labels == ("picture",)


def test_no_captions_to_train_on(bigr: Run, tmp_path: Path, tiny_model: Path, folder: Path) -> None:
    for text in (*folder.glob("*.txt"), folder / "captions.jsonl"):
        text.unlink()
    words = ("--tokenizer", tiny_model, "--data", folder, "-o", tmp_path / "run", *SMALL, *BYTES, *MACHINE)
    shown = bigr("train-generator", *words)
    assert shown.code == 2
    assert "none of 12 images can be used: 12 without a caption" in shown.err
    assert not (tmp_path / "run").exists()


def test_an_image_that_breaks_in_the_middle(bigr: Run, tmp_path: Path, tiny_model: Path, folder: Path) -> None:
    for number in range(1, 12):
        content = (folder / f"{number}.jpg").read_bytes()
        (folder / f"{number}.jpg").write_bytes(content[:-100])
    words = ("--tokenizer", tiny_model, "--data", folder, "-o", tmp_path / "run", *SMALL, *BYTES, *MACHINE)
    shown = bigr("train-generator", *words)
    assert shown.code == 2
    assert ".jpg: is not an image" in shown.err
    assert "hint: data.check=images leaves out what cannot be read" in shown.err
    shown = bigr("train-generator", *words[: -len(MACHINE)], "data.check=images", *MACHINE, "-o", tmp_path / "other")
    assert shown.code == 2
    assert "none of 12 images can be used: 1 without a caption" in shown.err


def test_a_model_of_classes_begins_one_of_texts(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    still = ("optimizer.learning_rate=1e-12", "run.ema=0", f"init={tiny_model}")
    words = ("--tokenizer", tiny_model, "-o", tmp_path / "run", *SMALL, *BYTES, *still, *MACHINE)
    assert bigr("train-generator", *words).code == 0
    before, after = (load_file(path / "generator.safetensors") for path in (tiny_model, tmp_path / "run"))
    shared = [name for name in before if not name.startswith("condition_tokens.")]
    assert len(shared) > 10
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in shared)
    assert any(name.startswith("condition_tokens.encoder.") for name in after)
    back = (*SMALL, "optimizer.learning_rate=1e-12", "run.ema=0", f"init={tmp_path / 'run'}")
    words = ("--tokenizer", tiny_model, "-o", tmp_path / "back", *back, *MACHINE)
    assert bigr("train-generator", *words).code == 0
    again = load_file(tmp_path / "back" / "generator.safetensors")
    assert again.keys() == before.keys()
    assert all(torch.allclose(before[name].float(), again[name].float(), atol=2e-3) for name in shared)


@pytest.mark.parametrize("kept", [True, False])
def test_a_t5_reads_the_captions(
    bigr: Run, tmp_path: Path, tiny_model: Path, tiny_t5: Path, folder: Path, home: Path, kept: bool
) -> None:
    text = ("generator.text.encoder=t5", "generator.text.tokens=12", "generator.text.width=16")
    text = (*text, f"generator.text.source={tiny_t5}", f"data.cache_texts={str(kept).lower()}")
    words = ("--tokenizer", tiny_model, "--data", folder, "-o", tmp_path / "run", *SMALL, *text, *MACHINE)
    shown = bigr("train-generator", *words)
    assert (shown.code, shown.out) == (0, ""), shown.err
    config = read_config(tmp_path / "run")
    assert config.generator is not None and config.generator.text is not None
    assert (config.generator.text.source, config.generator.text.prefix) == (str(tiny_t5), 12)
    assert not any("t5" in name for name in load_file(tmp_path / "run" / "generator.safetensors"))
    assert bool(list((home / "cache").glob("texts/*/*/*.npy"))) == kept
    codes = samples(tmp_path / "run", "a picture of noise 3", "", "🌈")
    assert codes.shape == (3, 16, 6)


def test_a_t5_that_does_not_fit_or_is_not_there(
    bigr: Run, tmp_path: Path, tiny_model: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("train-generator", "--tokenizer", tiny_model, "-o", tmp_path / "run", *SMALL, *MACHINE)
    shown = bigr(*run, "generator.text.encoder=t5", f"generator.text.source={tiny_t5}")
    assert (shown.code, "text.width: " in shown.err) == (2, True)
    monkeypatch.setitem(sys.modules, "transformers", None)
    shown = bigr(*run, "generator.text.encoder=t5", f"generator.text.source={tiny_t5}")
    assert shown.code == 2
    assert 'hint: pipx inject bigr-cli transformers, or pip install "bigr-cli[text]"' in shown.err
    assert not (tmp_path / "run").exists()
