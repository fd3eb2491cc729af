"""Images unlike those that a model was trained on: a warning for a batch, a field, and `--strict`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]
SETTINGS = ("--steps", 2, "--timesteps", 2, "--seed", 1)
TASKS = {
    "inpaint": ("--mask-box", "40%,40%,20%,20%"),
    "outpaint": ("--right", "25%"),
    "edit": ("--class", "cat"),
    "enrich": (),
}


@pytest.fixture
def knowing(workplace: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Have the tiny model know images that it reconstructs at such a PSNR in dB: the 1 % quantile and the median."""

    def know(rare: float, median: float) -> None:
        folder = workplace / "knowing"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_model, folder)
        with (folder / "config.yaml").open("a") as file:
            file.write(f"held_out: {{images: 100, psnr: [{rare}, {median}], likelihood: [-0.01, 0.0]}}\n")
        monkeypatch.setenv("BIGR_MODEL", str(folder))

    return know


def record(outcome: Any) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out.splitlines()[0])
    return found


@pytest.mark.parametrize("task", TASKS)
def test_every_task_warns_and_strict_refuses(bigr: Run, knowing: Run, task: str) -> None:
    knowing(90, 95)
    done = bigr(task, "in.png", *TASKS[task], *SETTINGS, "-o", "a.png", "--json")
    found = record(done)["familiarity"]
    assert found["unfamiliar"]
    assert done.err.count("warning: in.png") == 1
    assert f"{found['psnr']:.1f} dB" in done.err
    assert "bigr train" in done.err
    refused = bigr(task, "in.png", *TASKS[task], *SETTINGS, "-o", "b.png", "--strict")
    assert refused.code == 1
    assert "unlike" in refused.err
    assert not Path("b.png").exists()
    knowing(-90, -80)
    done = bigr(task, "in.png", *TASKS[task], *SETTINGS, "-o", "c.png", "--json", "--strict")
    assert not record(done)["familiarity"]["unfamiliar"]
    assert "warning" not in done.err
    if task != "enrich":  # what is painted does not depend on what is said
        assert Path("a.png").read_bytes() != b""
        with Image.open("a.png") as one, Image.open("c.png") as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_batch_warns_once_and_strict_refuses_only_what_is_unknown(bigr: Run, knowing: Run) -> None:
    """A flat image and a noisy one, and a model whose limit lies between the two."""
    Image.new("RGB", (40, 30), (90, 120, 90)).save("flat.png")
    knowing(-90, -80)
    levels = {}
    for name in ("flat.png", "in.png"):
        made = bigr("edit", name, "--class", "cat", *SETTINGS, "--json", "-o", f"{name}-made.png")
        levels[name] = record(made)["familiarity"]["psnr"]
    better, worse = sorted(levels, key=lambda name: -levels[name])
    middle = sum(levels.values()) / 2
    knowing(middle, middle + 0.01)
    Path("two").mkdir()
    shutil.copy(worse, "two/a.png")
    shutil.copy(worse, "two/b.png")
    shutil.copy(better, "two/c.png")
    done = bigr("edit", "two", "--class", "cat", *SETTINGS, "-o", "out/")
    assert done.code == 0, done.err
    assert done.err.count("warning: ") == 1
    assert "2 of 3 images are unlike" in done.err
    strict = bigr("edit", "two", "--class", "cat", *SETTINGS, "-o", "strict/", "--strict", "--failures", "f.jsonl")
    assert strict.code == 1
    assert [path.name for path in Path("strict").iterdir()] == ["c-edit-1.png"]
    assert len(Path("f.jsonl").read_text().splitlines()) == 2


def test_interpolation_between_images_warns(bigr: Run, knowing: Run) -> None:
    knowing(90, 95)
    Image.new("RGB", (40, 30), "teal").save("flat.png")
    done = bigr("interpolate", "in.png", "flat.png", "--frames", 3, *SETTINGS, "-o", "a.png", "--json")
    assert record(done)["familiarity"]["unfamiliar"]
    assert done.err.count("warning: ") == 1
    refused = bigr("interpolate", "in.png", "flat.png", "--frames", 3, *SETTINGS, "-o", "b.png", "--strict")
    assert refused.code == 1 and "error: in.png is unlike" in refused.err
    assert not Path("b.png").exists()
    labels = bigr("interpolate", "cat", "dog", "--frames", 3, *SETTINGS, "-o", "c.png", "--json", "--strict")
    assert "familiarity" not in record(labels)


def test_models_without_statistics_say_nothing(bigr: Run) -> None:
    done = bigr("inpaint", "in.png", *TASKS["inpaint"], *SETTINGS, "-o", "a.png", "--json")
    assert "familiarity" not in record(done)
    assert "warning" not in done.err
    strict = bigr("inpaint", "in.png", *TASKS["inpaint"], *SETTINGS, "-o", "b.png", "--strict")
    assert strict.code == 0 and strict.err.count("--strict refuses nothing") == 1


def test_enriching_leaves_what_the_model_cannot_reconstruct(bigr: Run, knowing: Run) -> None:
    """Such windows are enlarged by Lanczos, exactly."""
    knowing(90, 95)
    with Image.open("in.png") as image:
        image.crop((0, 0, 14, 10)).save("in.png")
    done = bigr("enrich", "in.png", "--scale", 2, *SETTINGS, "-o", "left.png", "--json")
    found = record(done)
    assert found["windows"] == found["windows_left"] > 1
    assert f"{found['windows']} of {found['windows']} windows" in done.err
    with Image.open("in.png") as image, Image.open("left.png") as left:
        expected = image.resize((28, 20), Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(left), np.asarray(expected))
    every = bigr("enrich", "in.png", "--scale", 2, *SETTINGS, "-o", "every.png", "--every-window", "--json")
    assert record(every)["windows_left"] == 0
    with Image.open("every.png") as image:
        assert not np.array_equal(np.asarray(image), np.asarray(expected))


def test_the_shipped_model_tells_drawings_from_scenes(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_MODEL", "scenes-64")
    assert bigr("data", "scenes", "--count", 1, "--seed", 41, "-o", "scenes", "-q").code == 0
    drawing = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(drawing)
    for side in range(8, 62, 6):
        pen.ellipse((4, 4, side, side), outline="black", fill=(side * 3, 40, 255 - side))
    drawing.save("scenes/drawing.png")
    done = bigr("edit", "scenes/", "--recursive", "--class", "cat", *SETTINGS, "-o", "out/", "--strict")
    assert done.code == 1
    assert sorted(path.name for path in Path("out").rglob("*.png")) == ["000000-edit-1.png"]
