"""`bigr evaluate reconstruction` as its users meet it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bigr_cli.evaluation.image_sets import folder
from bigr_cli.evaluation.reconstruction import ssim
from bigr_cli.evaluation.tokenizers import measure_tokenizer, reconstructed
from bigr_cli.zoo.folder import load_tokenizer

Run = Callable[..., object]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")


def several(name: str, count: int, size: int = 16) -> Path:
    rng = np.random.default_rng(count)
    Path(name).mkdir()
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(f"{name}/{index:02}.png")
    return Path(name)


def test_every_figure_of_a_tokenizer(bigr: Run, tiny_model: Path) -> None:
    several("in", 9)
    words = ("evaluate", "reconstruction", "--data", "in", "--features", tiny_model, "--device", "cpu")
    done = bigr(*words, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    tokenizer, _ = load_tokenizer(tiny_model)
    images = torch.cat(list(folder(Path("in"), resize=16).batches(9)))
    made, codes = reconstructed(tokenizer, images)
    pairs = [part.permute(0, 2, 3, 1).numpy() for part in (images, made)]
    wanted = [peak_signal_noise_ratio(one, two) for one, two in zip(*pairs, strict=True)]
    assert record["psnr"] == pytest.approx(np.mean(wanted), abs=1e-4)
    assert record["psnr_95"] == pytest.approx(np.percentile(wanted, 5), abs=1e-4)
    assert record["ssim"] == pytest.approx(np.mean([ssim(one, two) for one, two in zip(*pairs, strict=True)]))
    assert record["bits_per_pixel"] == pytest.approx(codes[0].numel() / 256)
    assert record["lpips"] is None
    assert record["rfid"] > 0
    assert 0 <= record["bits_correlation_mean"] <= record["bits_correlation_max"] <= 1 + 1e-9
    assert record["pictures"]["count"] == 9
    assert record["extractor"]["layer"] == "mean"


def test_only_the_metrics_that_are_asked_for(bigr: Run) -> None:
    several("in", 3)
    done = bigr("evaluate", "reconstruction", "--data", "in", "--metrics", "ssim,bits", "--json")
    assert done.code == 0 and "rFID" not in done.err, done.err
    record = json.loads(done.out)
    assert {"ssim", "ssim_95", "bits_used", "bits_correlation_max"} <= set(record)
    assert not {"psnr", "lpips", "rfid"} & set(record)
    shown = bigr("evaluate", "reconstruction", "--data", "in", "--metrics", "ssim")
    assert "SSIM ↑" in shown.out and "PSNR" not in shown.out + shown.err


def test_ssim_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    two = np.clip(one + rng.normal(size=one.shape) * 20, 0, 255).astype(np.uint8)
    assert ssim(one, one) == pytest.approx(1)
    channels = [
        structural_similarity(
            one[..., c], two[..., c], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for c in range(3)
    ]
    assert ssim(one, two) == pytest.approx(np.mean(channels))


def test_the_worst_images_come_first(tiny_model: Path) -> None:
    several("in", 10)
    tokenizer, _ = load_tokenizer(tiny_model)
    found = [
        measure_tokenizer(
            tokenizer, folder(Path("in"), resize=16), extractor=None, lpips=None, batch=batch, shown=4,
            advance=lambda _: None,
        )
        for batch in (3, 10)
    ]  # fmt: skip
    for made in found:
        values = [value for value, _, _ in made.worst]
        assert values == sorted(made.psnr)[:4]
        assert made.sheet().width == 4 * 16 + 3 * 2
    assert found[0].psnr == pytest.approx(found[1].psnr, abs=1e-3)
    assert found[0].figures["rfid"] is None
    assert found[0].figures["bits_entropy"] == pytest.approx(found[1].figures["bits_entropy"])


def test_several_tokenizers_in_one_table(bigr: Run, tiny_model: Path) -> None:
    several("in", 6, size=20)
    shutil.copytree(tiny_model, "other")
    words = ("evaluate", "reconstruction", tiny_model, "other", "--data", "in", "--features", tiny_model)
    done = bigr(*words, "--worst", "worst.png", "--report", "r")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["tiny", "16", "×", "6"]
    assert Image.open("worst.png").width > 100
    records = json.loads(Path("r/results.json").read_text())["records"]
    assert records[0]["psnr"] == records[1]["psnr"]
    assert Path("r/index.html").read_text().count("<svg") == 4
    again = bigr(*words, "--worst", "worst.png")
    assert again.code == 2
    assert "exists already" in again.err


def test_a_folder_that_is_called_like_the_built_in_images(bigr: Run, tiny_model: Path) -> None:
    several("scenes", 4, size=20)
    for path in ("scenes/", "./scenes", Path("scenes").resolve()):
        done = bigr("evaluate", "reconstruction", tiny_model, "--data", path, "--json", "-q")
        assert done.code == 0, done.err
        assert json.loads(done.out)["pictures"]["source"] == "folder"


def test_refined_codes_give_more_back(bigr: Run, tiny_model: Path) -> None:
    several("in", 6, size=20)
    found = []
    for refine in (0, 8, 30):
        done = bigr("evaluate", "reconstruction", tiny_model, "--data", "in", "--refine", refine, "--json", "-q")
        assert done.code == 0, done.err
        found.append(json.loads(done.out))
    assert [record["refine"] for record in found] == [0, 8, 30]
    assert found[0]["psnr"] + 0.5 < found[1]["psnr"] < found[2]["psnr"]
    shown = bigr("evaluate", "reconstruction", tiny_model, "--data", "in", "--refine", 2)
    assert "codes: looked for in 2 steps" in shown.err


def test_the_shipped_model_gives_scenes_back_as_well_as_its_card_says(bigr: Run) -> None:
    found = []
    for options in ((), ("--refine", 0)):
        done = bigr(
            "evaluate", "reconstruction", "scenes-64", "--data", "scenes", "--count", 12, "--json", "-q", *options
        )
        assert done.code == 0, done.err
        found.append(json.loads(done.out))
    own, alone = found
    assert own["refine"] > 0 and own["psnr"] > 30.5
    assert alone["psnr"] > 28.8 and own["psnr"] > alone["psnr"] + 1


def test_codes_are_looked_for_in_the_models_own_number_of_steps(bigr: Run, tiny_model: Path, tmp_path: Path) -> None:
    several("in", 4, size=20)
    shutil.copytree(tiny_model, tmp_path / "searching")
    with Path(tmp_path / "searching/config.yaml").open("a") as config:
        config.write("refine: 8\n")
    words = ("evaluate", "reconstruction", "--data", "in", "--json", "-q")
    found = {}
    for name, *options in (("plain", tiny_model), ("own", "searching"), ("none", "searching", "--refine", 0)):
        done = bigr(*words, *options)
        assert done.code == 0, done.err
        found[name] = json.loads(done.out)
    assert [record["refine"] for record in found.values()] == [0, 8, 0]
    assert found["own"]["psnr"] > found["none"]["psnr"] == found["plain"]["psnr"]


def test_what_is_not_at_hand_is_left_out_and_said(bigr: Run) -> None:
    several("in", 4)
    done = bigr("evaluate", "reconstruction", "--data", "in")
    assert done.code == 0, done.err
    assert "rFID is left out: inception-v3-compat: its weights are not here" in done.err
    assert "LPIPS: not measured" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "nowhere"), "no such folder"),
        (("--data", "empty"), "holds no images"),
        (("--data", "in", "--features", "scenes"), "reads 64 × 64"),
        (("--data", "in", "--weights", "w.pth"), "w.pth: no such file"),
        (("--data", "in", "-n", 9), "9 images are wanted"),
        (("tinny", "--data", "in"), "unknown model"),
        (("--data", "broken"), "not an image of a kind that can be read"),
        (("--data", "in", "--worst", "w.txt"), "w.txt"),
        (("--data", "in", "--metrics", "psnr,sim"), "expected some of psnr, ssim, lpips, rfid, bits, got 'sim'"),
        (("--data", "in", "--metrics", "lpips"), "lpips: its weights are not here"),
        (("--data", "in", "--metrics", "rfid"), "its weights are not here"),
        (("--data", "one", "--features", "MODEL"), "fid needs at least 2"),
        ((), "--data"),
    ],
)
def test_bad_input(bigr: Run, words: tuple[object, ...], message: str, tiny_model: Path) -> None:
    several("in", 3)
    several("one", 1)
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(b"no image")
    words = tuple(tiny_model if word == "MODEL" else word for word in words)
    done = bigr("evaluate", "reconstruction", *words)
    assert done.code == 2, done.err
    assert message in done.err
