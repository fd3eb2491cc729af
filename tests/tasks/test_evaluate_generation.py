"""`bigr evaluate generation` as its users meet it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image

from bigr_cli.evaluation import metrics, references, samples

Run = Callable[..., object]
FEW = ("-n", 12, "--steps", 2, "--timesteps", 2, "--device", "cpu")
FID = "frechet_inception_distance"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    return tmp_path


@pytest.fixture
def tiny(tiny_model: Path) -> tuple[str, ...]:
    """Features of the tiny model itself."""
    return ("--features", str(tiny_model))


def noise(folder: str, count: int, size: tuple[int, int] = (16, 16), classes: tuple[str, ...] = ("",)) -> Path:
    rng = np.random.default_rng(len(folder))
    for index in range(count):
        path = Path(folder) / classes[index % len(classes)] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return Path(folder)


def only(out: str) -> dict:
    (line,) = map(json.loads, out.splitlines())
    return line


def test_figures_and_everything_that_they_depend_on(bigr: Run, tiny: tuple[str, ...]) -> None:
    noise("real", 20, classes=("a", "b"))
    done = bigr("evaluate", "generation", *FEW, "--reference", "real", *tiny, "--seed", 5, "--json")
    assert done.code == 0, done.err
    record = only(done.out)
    for name in (FID, "kernel_inception_distance_mean", "kernel_inception_distance_std", "precision", "recall"):
        assert isinstance(record[name], float)
    assert "inception_score_mean" not in record  # a model gives no class probabilities
    samples, reference = record["samples"], record["reference"]
    assert (samples["count"], samples["classes"], samples["per_class"], samples["size"]) == (12, 4, 3, [16, 16])
    assert (samples["seed"], samples["sampling"]["steps"]) == (5, 2)
    assert set(samples["weights"]) == {"tokenizer.safetensors", "generator.safetensors"}
    assert (reference["count"], reference["per_class"], reference["path"]) == (20, 10, "real")
    assert record["extractor"]["name"] == "tiny"
    assert record["extractor"]["layer"] == 0
    assert record["resize"] is None
    assert record["settings"]["kid_subset_size"] == 12
    assert record["versions"]["torch-fidelity"] == torch_fidelity.__version__
    assert record["biased"] == {name: {"images": 12, "needed": 10_000} for name in ("fid", "prc")}
    assert (record["real"]["images"], record["real"]["reference"]) == (10, 10)
    assert 0 <= record["real"][FID] < record[FID]  # noise against noise, and against what a model samples


def test_a_reference_is_looked_at_once(
    bigr: Run, tiny: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, extract = [], references.extract
    monkeypatch.setattr(references, "extract", lambda *given: looked.append(given) or extract(*given))
    noise("fakes", 12)
    noise("real", 14)
    words = ("evaluate", "generation", "fakes", "--reference", "real", "--metrics", "fid,kid", "--json")

    def figures(*more: object) -> tuple[dict, int]:
        done = bigr(*words, *(more or tiny))
        assert done.code == 0, done.err
        record = only(done.out)
        return {name: value for name, value in record.items() if name not in ("seconds",)}, len(looked)

    first, again = figures(), figures()
    assert (first[1], again) == (1, (first[0], 1))
    (kept,) = (home / "cache" / "references").iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 255
    kept.write_bytes(content)
    assert figures() == (first[0], 2)  # damaged: looked at again, and kept again
    assert figures() == (first[0], 2)
    assert figures(*tiny, "--reference-count", 13)[1] == 3
    Image.new("RGB", (16, 16)).save("real/000.png")
    changed, count = figures()
    assert count == 4 and changed[FID] != first[0][FID]
    (home / "cache" / "references").rename(home / "cache" / "other")
    (home / "cache" / "references").write_text("no folder")
    done = bigr(*words, *tiny)
    assert done.code == 0 and "features of a reference, which are computed anew each time, cannot be kept" in done.err


def test_a_metric_is_a_row(bigr: Run, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything follows from it: what --metrics takes, what is checked, tables, reports and JSON."""
    gap = metrics.GenerationMetric(
        *("gap", "distance of the means", (metrics.Column("mean_gap", "distance of the means", "gap", "lower"),)),
        *("gap", "fid", "features", 3, 500),
        lambda samples, reference: {"mean_gap": float((samples.mean(0) - reference.mean(0)).norm())},
    )
    monkeypatch.setitem(metrics.GENERATION, "gap", gap)
    noise("real", 12)
    noise("few", 2)
    words = ("evaluate", "generation", "real", "--reference", "real", *tiny)
    record = only(bigr(*words, "--json").out)
    assert record["mean_gap"] == pytest.approx(0, abs=1e-6) and record["real"]["mean_gap"] > 0
    assert record["extractor"]["layers"]["gap"] == "mean" and record["biased"]["gap"]["needed"] == 500
    done = bigr(*words, "--metrics", "gap", "--report", "r")
    assert "distance of the means ↓" in done.out and "gap ↓" in Path("r/index.html").read_text()
    assert "gap needs at least 3" in bigr("evaluate", "generation", "few", "--reference", "real", *tiny,
                                          "--metrics", "gap").err  # fmt: skip
    assert "kid, prc, gap, got 'gup'" in bigr(*words, "--metrics", "gup").err
    assert "needs --reference" in bigr("evaluate", "generation", "real", *tiny, "--metrics", "gap").err


def test_a_folder_gives_what_torch_fidelity_gives(bigr: Run) -> None:
    for name, count in (("fakes", 16), ("reals", 18)):
        noise(name, count, (64, 64))
    done = bigr("evaluate", "generation", "fakes", "--reference", "reals", "--features", "scenes", "--json")
    assert done.code == 0, done.err
    record = only(done.out)
    wanted = torch_fidelity.calculate_metrics(
        input1="fakes",
        input2="reals",
        feature_extractor=record["extractor"]["registered_as"],
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
        kid_subset_size=16,
        **dict.fromkeys(("fid", "isc", "kid", "prc"), True),
    )
    assert {name: record[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_a_shift_and_a_stretch_of_the_statistics_in_closed_form(bigr: Run) -> None:
    """FID to N(μ + d, c² Σ) from N(μ, Σ) is |d|² + (1 - c)² tr Σ."""
    noise("fakes", 30, (64, 64))
    words = ("evaluate", "generation", "fakes", "--features", "scenes")
    assert bigr(*words, "--statistics", "s.npz").code == 0
    with np.load("s.npz") as file:
        mu, sigma = file["mu"], file["sigma"]
    np.savez("other.npz", mu=mu + 0.5, sigma=2.25 * sigma)
    record = only(bigr(*words, "--reference", "other.npz", "--metrics", "fid", "--json").out)
    assert record[FID] == pytest.approx(len(mu) * 0.25 + 0.25 * np.trace(sigma), rel=1e-4)
    assert only(bigr(*words, "--reference", "s.npz", "--metrics", "fid", "--json").out)[FID] == pytest.approx(
        0, abs=1e-3
    )
    assert bigr(*words, "--statistics", "s.npz").code == 2


def test_samples_for_adm_are_what_generate_draws(bigr: Run) -> None:
    done = bigr("evaluate", "generation", *FEW, "--npz", "s.npz")
    assert done.code == 0, done.err
    assert "wrote s.npz" in done.err
    assert (
        bigr(
            "generate", "cat", "dog", "--steps", 2, "--timesteps", 2, "--seed", 0, "-o", "out/", "--device", "cpu"
        ).code
        == 0
    )
    with np.load("s.npz") as file:
        pixels = file["arr_0"]
    assert pixels.shape == (12, 16, 16, 3)
    for index, name in enumerate(("cat-0", "dog-1")):
        assert np.array_equal(pixels[index], np.asarray(Image.open(f"out/{name}.png")))
    assert bigr("evaluate", "generation", *FEW, "--npz", "s.npz").code == 2
    read = bigr("evaluate", "generation", *FEW, "--reference", "s.npz", "--metrics", "fid", "--features", "scenes",
                "--resize", 64, "--json")  # fmt: skip
    assert read.code == 0, read.err
    record = only(read.out)
    assert record[FID] == pytest.approx(0, abs=1e-3)
    assert record["resize"]["to"] == 64
    assert record["samples"]["resized_from"] == [16, 16]


def test_a_sweep_a_table_and_a_report(bigr: Run, tiny: tuple[str, ...]) -> None:
    noise("real", 14)
    words = ("evaluate", "generation", *FEW[:2], "--timesteps", 2, "--reference", "real", *tiny)
    done = bigr(*words, "--sweep", "guidance=1,3", "steps=1,2", "--metrics", "fid,prc", "--report", "r")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert re.split("  +", lines[0].strip()) == ["guidance", "steps", "FID ↓", "precision ↑", "recall ↑", "F ↑"]
    assert [line.split()[:2] for line in lines[1:5]] == [["1", "1"], ["1", "2"], ["3", "1"], ["3", "2"]]
    assert lines[5].startswith("real images") and len(lines) == 6
    assert "FID: tiny features, 12 images: biased; 10,000 needed" in done.err
    assert "real images: 7 of the reference against 7 others of it" in done.err
    results = json.loads(Path("r/results.json").read_text())
    assert [record["point"]["steps"] for record in results["records"]] == [1, 2, 1, 2]
    assert results["command"].startswith("bigr evaluate generation steps=1,2 ")
    assert Path("r/index.html").read_text().count("<svg") == 4
    again = bigr(*words, "--report", "r")
    assert again.code == 2
    assert "exists already" in again.err


def test_a_sweep_goes_on_where_it_was(
    bigr: Run, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    noise("real", 14)
    words = ("evaluate", "generation", *FEW[:2], "--timesteps", 2, "--reference", "real", *tiny, "--json")
    sweep = (*words, "--sweep", "steps=1,2,3")
    whole = [json.loads(line) for line in bigr(*sweep).out.splitlines()]
    assert not any((home / "cache" / "evaluation").iterdir())
    sampled, counted = samples.Samples._sampled, []

    def stopping(self: samples.Samples, jobs: list) -> torch.Tensor:
        counted.append(self.settings.steps)
        if len(counted) == 2:
            raise KeyboardInterrupt
        return sampled(self, jobs)

    monkeypatch.setattr(samples.Samples, "_sampled", stopping)
    stopped = bigr(*sweep)
    assert stopped.code == 130
    assert len(stopped.out.splitlines()) == 1
    done = bigr(*sweep)
    assert done.code == 0, done.err
    assert "steps 1: was done before" in done.err
    assert counted == [1, 2, 2, 3]
    for one, other in zip(whole, map(json.loads, done.out.splitlines()), strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    assert not any((home / "cache" / "evaluation").iterdir())


def test_the_inception_score_needs_no_reference(bigr: Run) -> None:
    noise("fakes", 12, (64, 64))
    record = only(bigr("evaluate", "generation", "fakes", "--metrics", "is", "--features", "scenes", "--json").out)
    assert record["inception_score_mean"] >= 1
    assert record["reference"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "its weights are not here"),
        (("--features", "scenes", "--resize", 64), "nothing to compare with"),
        (("empty", "--reference", "real"), "holds no images"),
        (("nowhere", "--reference", "real"), "nowhere: no such folder"),
        (("one", "--reference", "real", "--resize", 64), "1 image; fid needs at least 2"),
        (("real", "--reference", "one", "--resize", 64), "1 image; fid needs at least 2"),
        (("two", "--reference", "real"), "figures would depend on how they are scaled"),
        (("real", "--reference", "two", "--features", "MODEL"), "figures would depend on how they are scaled"),
        (("real", "--reference", "large", "--features", "MODEL"), "20 × 16 pixels, the samples have 16 × 16"),
        (("real", "--reference", "real"), "scenes-classifier"),
        (("real", "other", "--reference", "real"), "expected one folder"),
        (("real", "--reference", "real", "--metrics", "fid,sid", "--resize", 64), "got 'sid'"),
        (("real", "--reference", "real", "--seed", 3), "--seed is about images that are sampled"),
        (("real", "--reference", "real", "--guidance-schedule", "linear"), "--guidance-schedule is about"),
        (("steps=1,2", "--reference", "real"), "follow --sweep"),
        (("--sweep", "stepps=1,2", "--reference", "real"), "did you mean steps"),
        (("--sweep", "steps=1,2", "--npz", "s.npz"), "a sweep samples several"),
        (("--sweep", "steps=0", "--reference", "real"), "steps"),
        (("--npz", "s.txt"), "ends in .npz"),
        (("--reference", "real", "--weights", "text.pth"), "text.pth: not a file of tensors"),
        (("--reference", "real", "--weights", "other.pth"), "other.pth: not the weights of inception"),
        (("--reference", "real", "--weights", "none.pth"), "none.pth: no such file"),
        (("--reference", "broken.npz", "--features", "MODEL"), "not a .npz file"),
        (("--reference", "real", "--reference-count", 99, "--resize", 64), "99 images are wanted, 12 are there"),
        (("broken", "--reference", "real", "--resize", 64), "not an image of a kind that can be read"),
        (("real", "--reference", "real", "--resize", 64, "--report", "real"), "something else than a report"),
    ],
)
def test_bad_input(
    bigr: Run, words: tuple[object, ...], message: str, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")
    for name, count, width in (("real", 12, 16), ("one", 1, 16), ("large", 12, 20), ("two", 3, 16)):
        noise(name, count, (width, 16))
    Path("text.pth").write_text("no weights")
    torch.save({"conv.weight": torch.zeros(3)}, "other.pth")
    Image.new("RGB", (9, 16)).save("two/999.png")
    for folder in ("empty", "broken"):
        Path(folder).mkdir()
    Path("broken/a.png").write_bytes(b"no image")
    noise("broken", 12)
    Path("broken.npz").write_bytes(b"no numbers")
    before = sorted(Path().rglob("*"))
    scenes = () if {"--features", "--weights"} & {*words} or not words else ("--features", "scenes")
    done = bigr("evaluate", "generation", *(tiny_model if word == "MODEL" else word for word in words), *scenes)
    assert done.code == 2, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert sorted(Path().rglob("*")) == before


def test_features_that_are_not_finite(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigr_cli.evaluation.classifier import ScenesClassifier

    noise("real", 12, (64, 64))
    monkeypatch.setattr(ScenesClassifier, "embedding", lambda *words: torch.full((len(words[1]), 160), torch.nan))
    done = bigr("evaluate", "generation", "real", "--reference", "real", "--features", "scenes", "--report", "r")
    assert done.code == 2
    assert "features embedding are not finite, first at image 0 of 12" in done.err
    assert not Path("r").exists()


@pytest.fixture
def inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights of torch-fidelity's Inception, drawn at random."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: {})
        patch.setattr(Inception, "load_state_dict", lambda *_, **__: None)
        made = Inception("inception-v3-compat", ["2048"], feature_extractor_weights_path="none")
    torch.save(made.state_dict(), tmp_path / "inception.pth")
    return tmp_path / "inception.pth"


@pytest.mark.slow
def test_inception_from_a_file_of_weights(bigr: Run, inception: Path) -> None:
    noise("fakes", 10, (32, 24))
    noise("reals", 11, (32, 24))
    words = ("evaluate", "generation", "fakes", "--reference", "reals", "--metrics", "fid,is", "--json")
    done = bigr(*words, "--weights", inception)
    assert done.code == 0, done.err
    record = only(done.out)
    assert record["extractor"]["layers"] == {"fid": "2048", "isc": "logits_unbiased"}
    assert list(record["extractor"]["weights"]) == ["inception.pth"]
    wanted = torch_fidelity.calculate_metrics(
        input1="fakes", input2="reals", fid=True, isc=True, cuda=False, save_cpu_ram=True, cache=False, verbose=False,
        feature_extractor_weights_path=str(inception),
    )  # fmt: skip
    assert {name: record[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow
def test_two_processes_draw_the_same(bigr: Run, tmp_path: Path, home: Path) -> None:
    words = ["evaluate", "generation", "-n", "150", "--steps", "2", "--timesteps", "2", "--device", "cpu"]
    assert bigr(*words, "--npz", "one.npz").code == 0
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bigr_cli"]
    done = subprocess.run([*launched, *words, "--npz", "two.npz"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load("one.npz") as one, np.load("two.npz") as two:
        assert np.array_equal(one["arr_0"], two["arr_0"])
