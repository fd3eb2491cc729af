"""`bigr train`: from a folder of images to a model, killed and resumed, and everything that can be asked wrongly."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import bigr_cli
from bigr_cli.errors import UsageError

Run = Callable[..., Any]

# As small as can be: both stages take a second.
SMALL = (
    *("tokenizer.channels=[16]", "tokenizer.encoder_blocks=[0]", "tokenizer.decoder_blocks=[0]"),
    *("tokenizer.bits=6", "tokenizer.attention_heads=2", "generator.layers=1", "generator.heads=2", "generator.dim=16"),
    *("generator.transcoder_width=16", "generator.transcoder_layers=1", "generator.diffusion_timesteps=8"),
    *("sampling.steps=2", "sampling.timesteps=3", "data.workers=0", "run.batch=4", "run.precision=float32"),
)
SIZED = ("--size", "nano", "--image-size", "16", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of twelve images."""
    root = tmp_path_factory.mktemp("data") / "photos"
    for number in range(24):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((24, 20), 40 + 5 * number).convert("RGB").save(folder / f"{number}.png")
    return root


def test_from_a_folder_to_a_model(bigr: Run, tmp_path: Path) -> None:
    photos, model = tmp_path / "photos", tmp_path / "pets"
    for number in range(340):
        folder = photos / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shade = 120 * (number % 2) + number % 17 - 60
        Image.effect_noise((24, 20), 20).point(lambda level, shade=shade: level + shade).save(folder / f"{number}.png")
    shown = bigr("train", photos, "-o", model, "--steps", 6, *SIZED, *SMALL)
    assert (shown.code, shown.out) == (0, "")
    lines = shown.err.splitlines()
    assert "data: 340 images, shorter side mostly 20 pixels or more, the largest 24" in lines
    assert "data: 2 classes, 170 images each" in lines
    assert any(line.startswith("plan: 16 pixels, 8×8 tokens of 6 bits, prompts: classes") for line in lines)
    assert any(line.startswith("plan: generator: nano, ") and "6 steps of 4 images" in line for line in lines)
    assert lines[-1] == f'done: {model} is a model folder; next: bigr generate "cat" -n 8 -m {model}'
    assert bigr("models", "verify", model).code == 0
    config = json.loads(bigr("models", "show", model, "--json").out)["config"]
    assert (config["name"], config["labels"], config["provenance"]["steps"]) == ("pets", ["cat", "dog"], 6)
    assert (config["sampling"]["timesteps"], config["sampling"]["guidance_schedule"]) == (3, "linear")
    assert (config["painting"]["timesteps"], config["painting"]["guidance_schedule"]) == (3, "constant")
    page = (model / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and page.count("<svg") >= 3
    assert "of 256 samples are nearer to a training image than 19 of 20 held-out images" in page
    found = dict(line[8:].split(": ", 1) for line in lines if line.startswith("result: "))
    assert found["reconstruction of held-out images"].endswith(" dB PSNR")
    assert "34 images of each kind" in found["1000 x KID of samples, from held-out images"]
    assert found["linear probe, held-out images named"] == "100.0% of 34 by block 0, 100.0% by raw pixels"
    card = (model / "README.md").read_text()
    assert card.count("## Results after training") == 1
    assert all(f"| {measure} |" in card for measure in found)
    assert Image.open(model / "nearest.png").size[0] > 8 * 16
    assert [each.size for each in bigr_cli.load(model, device="cpu").generate("dog", count=2, seed=0)] == [(16, 16)] * 2
    again = bigr("train", "--resume", model, "--device", "cpu")
    assert again.code == 0 and "done: " in again.err
    taken = bigr("train", photos, "-o", model, "--steps", 6, *SIZED)
    assert taken.code == 2 and f"bigr train --resume {model}" in taken.err


def test_from_python(photos: Path, tmp_path: Path) -> None:
    more = {"size": "nano", "image_size": 16, "device": "cpu", "threads": 1}
    model = bigr_cli.train(photos, tmp_path / "run", steps=2, settings=SMALL, **more)
    assert model.labels == ("cat", "dog")
    assert len(model.generate("cat", count=2, seed=1)) == 2
    again = bigr_cli.train(photos, tmp_path / "run", resume=True, device="cpu")
    assert again.config == model.config
    with pytest.raises(UsageError, match="'soon' is no time"):
        bigr_cli.train(photos, tmp_path / "other", time="soon")


def test_a_training_without_a_model_says_when_it_comes(bigr: Run, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").touch()
    shown = bigr("generate", "cat", "-m", tmp_path, "-o", tmp_path / "cat.png")
    assert shown.code == 2
    assert "is a training that has not written a model yet" in shown.err and "after 10 steps" in shown.err


@pytest.mark.parametrize("words", [("--steps", 2, "-o", "run"), ("--plan",), ("--resume", "run")])
def test_several_processes_are_refused(
    bigr: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    shown = bigr("train", *(() if "--resume" in words else (photos,)), *words)
    assert (shown.code, "bigr train is for one process" in shown.err) == (2, True)
    assert "train-tokenizer and train-generator share the work" in shown.err


def test_a_plan_trains_nothing(bigr: Run, photos: Path, tmp_path: Path) -> None:
    shown = bigr("train", photos, "-o", tmp_path / "run", "--time", "4m", "--plan", *SIZED, *SMALL)
    assert shown.code == 0
    planned = [line for line in shown.out.splitlines() if line.startswith("plan: ")]
    assert len([line for line in planned if not line.startswith("plan: short: ")]) == 4  # a slow machine says that too
    assert "about 4m00s" in shown.out
    assert not (tmp_path / "run").exists()


def test_captions_are_found(bigr: Run, tmp_path: Path) -> None:
    for number in range(12):
        Image.effect_noise((24, 20), 40 + 9 * number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"a cloud, number {number}")
    words = ("train", tmp_path, "--steps", 4, *SIZED, *SMALL, "--plan")
    shown = bigr(*words)
    assert shown.code == 0
    assert "data: 12 images with captions, 12 different ones" in shown.out
    assert "prompts: captions" in shown.out and "data: grey" in shown.out
    shown = bigr(*words, "--classes")
    assert shown.code == 2 and "has no classes" in shown.err


def test_broken_images_are_left_out_and_listed(bigr: Run, photos: Path, tmp_path: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "cat" / "broken.png").write_bytes(b"no image")
    shown = bigr("train", data, "-o", tmp_path / "run", "--steps", 2, *SIZED, *SMALL)
    assert shown.code == 0
    assert f"data: 1 broken: left out, listed in {tmp_path / 'run' / 'broken.txt'}" in shown.err
    assert (tmp_path / "run" / "broken.txt").read_text() == f"{data / 'cat' / 'broken.png'}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "soon"], "'soon' is no time such as 45m, 2h or 1h30m"),
        (["--time", "1h", "--steps", "5"], "--time and --steps exclude each other"),
        (["--steps", "2", "--image-size", "17"], "17 pixels cannot be cut into 4 to 32 tokens"),
        (["--steps", "2", "run.stepz=3"], "unknown key 'run.stepz'"),
        (["--steps", "2", "--captions"], "has no captions"),
        (["--steps", "2", "--from", "no-such-model"], "unknown model 'no-such-model'"),
        (["--steps", "2", "--size", "huge"], "'huge' is not one of"),
        (["--time", "1s", *SMALL], "are too short: a step of the tokenizer takes"),
        (["--resume", "no/such/run"], "--resume goes on with the plan that there is, so IMAGES"),
    ],
)
def test_wrong_usage_is_exit_2(bigr: Run, photos: Path, tmp_path: Path, words: list[str], message: str) -> None:
    shown = bigr("train", photos, "-o", tmp_path / "run", *SIZED, *words)
    assert shown.code == 2
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert not (tmp_path / "run").exists()


def test_folders_that_teach_nothing(bigr: Run, photos: Path, tmp_path: Path) -> None:
    empty, texts, one, hollow, lonely, mixed = (
        tmp_path / name for name in ("empty", "texts", "one", "hollow", "lonely", "mixed")
    )
    for folder in (empty, texts, one, hollow, lonely / "cat", mixed / "large", mixed / "small"):
        folder.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(one / "1.png")
    for number in range(12):
        (hollow / f"{number}.png").touch()
        (texts / f"{number}.txt").write_text("a cat")
        image = Image.effect_noise((64, 70), 40 + number)
        for path, size in ((lonely / "cat", (64, 70)), (mixed / "large", (64, 70)), (mixed / "small", (24, 20))):
            image.resize(size).save(path / f"{number}.png")
    cases = {
        tmp_path / "missing": "no such folder",
        empty: "holds no images",
        texts: "holds no images",
        one: "expected at least 10 images, of which one is held out, got 1",
        hollow: "got 0, and 12 broken ones",
        lonely: f"has one class only, cat: there is nothing to choose from\nhint: bigr train {lonely / 'cat'} trains",
        mixed: "classes differ in size: small has 20 pixels or less, large 64 or more; at 64, the images of 1 of 2",
    }
    for folder, message in cases.items():
        shown = bigr("train", folder, "-o", tmp_path / "run", "--steps", 2)
        assert (shown.code, message in shown.err) == (2, True), shown.err
        assert not (tmp_path / "run").exists()
    shown = bigr("train", photos, mixed, "--steps", 2)
    assert (shown.code, f"expected one folder of images, got {photos} and {mixed}" in shown.err) == (2, True)
    shown = bigr("train", "--resume", empty)
    assert (shown.code, "is no training to go on with" in shown.err) == (2, True)
    assert bigr("train").code == 2


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs permissions")
def test_folders_that_cannot_be_read(bigr: Run) -> None:
    """As somebody who is not root, whom permissions do not hold back."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        photos = root / "photos"
        for number in range(12):
            (photos / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            Image.effect_noise((24, 20), 40 + number).save(photos / "ab"[number % 2] / f"{number}.png")
        assert bigr("train", root / "missing").code == 2  # all that is imported is by now
        mode, user = photos.stat().st_mode, os.geteuid()
        try:
            photos.chmod(0)
            if user == 0:
                os.seteuid(65534)
            whole, below = bigr("train", photos, "--steps", 2), bigr("train", photos / "a", "--steps", 2)
            os.seteuid(user)
            photos.chmod(mode)
            (photos / "a").chmod(0)
            if user == 0:
                os.seteuid(65534)
            part = bigr("train", photos, "--steps", 2)
        finally:
            os.seteuid(user)
            for path in (photos, photos / "a"):
                path.chmod(mode)
    assert (whole.code, f"{photos}: cannot be read: Permission denied" in whole.err) == (2, True), whole.err
    assert (below.code, f"{photos / 'a'}: cannot be read: Permission denied" in below.err) == (2, True), below.err
    assert (part.code, "1 that cannot be read: Permission denied (a)" in part.err) == (2, True), part.err


@pytest.mark.slow
def test_very_many_empty_files_are_refused_in_bounded_time(bigr: Run, tmp_path: Path) -> None:
    for number in range(50_000):
        (tmp_path / f"{number}.png").touch()
    begin = time.process_time()
    shown = bigr("train", tmp_path, "--time", "1h")
    assert (shown.code, "got 0, and 50,000 broken ones" in shown.err) == (2, True), shown.err
    assert time.process_time() - begin < 60


def test_published_sizes_that_do_not_fit_are_refused_at_once(
    bigr: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigr_cli.training.planning.free_memory", lambda device: 8 << 30)
    shown = bigr("train", photos, "--size", "bigr-xxl", "--time", "1h", "--plan")
    assert shown.code == 2
    assert "bigr-xxl: needs at least " in shown.err and " are to be had" in shown.err
    assert "--size bigr-xl needs less" in shown.err
