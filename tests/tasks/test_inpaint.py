"""`bigr inpaint` as its users meet it, and with it what every task does with images in and images out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigr_cli.imaging.metadata import read_metadata

Run = Callable[..., object]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    noise(40, 30).save(path)
    return path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def folder(path: Path, count: int) -> Path:
    path.mkdir()
    for index in range(count):
        noise(16 + index, 16, seed=index).save(path / f"p{index}.png")
    return path


def test_outside_the_mask_nothing_changes(bigr: Run, image: Path) -> None:
    done = bigr("inpaint", image, "--mask-box", "5,5,10,10", "--seed", 3)
    assert done.code == 0, done.err
    before, after = pixels(image), pixels(Path("in-inpaint-3.png"))
    changed = (before != after).any(axis=-1)
    assert changed[5:15, 5:15].mean() > 0.9
    changed[5:15, 5:15] = False
    assert not changed.any()


def test_the_recipe_makes_it_again(bigr: Run, image: Path) -> None:
    bigr("inpaint", image, "--mask-box", "5,5,10,10", "--class", "dog", "--steps", 2, "-o", "a.png")
    recipe = read_metadata(Path("a.png"))
    assert recipe.task == "inpaint"
    assert recipe.labels == ("dog",)
    assert recipe.options["mask-box"] == ["5,5,10,10"]
    shown = bigr("info", "--json", "a.png")
    command = json.loads(shown.out)["command"]
    assert "--mask-box 5,5,10,10" in command
    words = command.replace("-o a.png", "-o b.png").split()
    assert bigr(*words[1:]).code == 0
    assert np.array_equal(pixels(Path("a.png")), pixels(Path("b.png")))


def test_variants_have_seeds_that_follow_and_each_can_be_made_alone(bigr: Run, image: Path) -> None:
    done = bigr("inpaint", image, "--mask-box", "0,0,20,20", "-n", 3, "--seed", 7, "--json", "-o", "out/")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["seed"] for line in lines] == [7, 8, 9]
    assert {line["task"] for line in lines} == {"inpaint"}
    assert {line["label"] for line in lines} == {"none"}
    assert {line["source"] for line in lines} == {str(image)}
    assert lines[1]["path"] == "out/in-inpaint-8.png"
    bigr("inpaint", image, "--mask-box", "0,0,20,20", "--seed", 8, "-o", "alone.png")
    assert np.array_equal(pixels(Path("alone.png")), pixels(Path("out/in-inpaint-8.png")))


def test_batches_change_no_image(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "many", 5)
    for size in (1, 3):
        done = bigr(
            "inpaint", "many", "--mask-box", "25%,25%,50%,50%", "--seed", 1, "--batch-size", size, "-o", f"o{size}/"
        )
        assert done.code == 0, done.err
    names = sorted(path.name for path in Path("o1").iterdir())
    assert names == [f"p{index}-inpaint-1.png" for index in range(5)]
    assert all(np.array_equal(pixels(Path("o1") / name), pixels(Path("o3") / name)) for name in names)


def test_a_broken_file_costs_only_itself(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "many", 4)
    Path("many/p2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    done = bigr("inpaint", "many", "--mask-box", "0,0,9,9", "--seed", 1, "-o", "out/", "--failures", "failed.jsonl")
    assert done.code == 1
    assert "1 image of 4 failed" in done.err
    assert "p2.png" in done.err
    assert len(list(Path("out").iterdir())) == 3
    (failure,) = [json.loads(line) for line in Path("failed.jsonl").read_text().splitlines()]
    assert failure["source"] == "many/p2.png"


def test_a_single_broken_file_is_bad_input(bigr: Run) -> None:
    Path("x.png").write_bytes(b"no image")
    done = bigr("inpaint", "x.png", "--mask-box", "0,0,9,9")
    assert done.code == 2
    assert done.err.count("x.png") == 1
    assert not list(Path().glob("*inpaint*"))


def test_skip_existing_goes_on_whatever_seed_was_drawn(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "many", 4)
    bigr("inpaint", "many", "--mask-box", "0,0,9,9", "-o", "out/")
    gone = sorted(Path("out").iterdir())[1]
    gone.unlink()
    done = bigr("inpaint", "many", "--mask-box", "0,0,9,9", "-o", "out/", "--skip-existing")
    assert done.code == 0, done.err
    assert "skipped 3" in done.err
    assert len(list(Path("out").iterdir())) == 4
    again = bigr("inpaint", "many", "--mask-box", "0,0,9,9", "-o", "out/", "--skip-existing")
    assert "nothing to do" in again.err


def test_nothing_is_overwritten_unasked(bigr: Run, image: Path) -> None:
    before = image.read_bytes()
    refused = bigr("inpaint", image, "--mask-box", "0,0,9,9", "-o", image)
    assert refused.code == 2
    assert image.read_bytes() == before
    done = bigr("inpaint", image, "--mask-box", "0,0,9,9", "-o", image, "--overwrite")
    assert done.code == 0, done.err
    assert image.read_bytes() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no mask given"),
        (("--mask-box", "1,2,3"), "four numbers"),
        (("--mask-box", "99,0,5,5"), "outside the image"),
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--mask-alpha",), "no transparency"),
        (("--mask-box", "0,0,5,5", "--class", "catt"), "did you mean cat"),
        (("--mask-box", "0,0,5,5", "--class", "cat", "--guess-class"), "exclude each other"),
        (("--mask-box", "0,0,5,5", "--steps", "0"), "--steps"),
        (("--mask-box", "0,0,5,5", "-o", "x.xyz"), "unknown kind of image"),
        (("--mask-box", "0,0,5,5", "-n", "2", "-o", "x.png"), "one file for 2 images"),
        (("--mask-box", "0,0,5,5", "--seed", str(2**63 - 1), "-n", "2"), "beyond"),
    ],
)
def test_wrong_usage(bigr: Run, image: Path, options: tuple[str, ...], message: str) -> None:
    done = bigr("inpaint", image, *options)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in Path().iterdir()] == ["in.png"]


def test_a_mask_of_another_size_is_resized_only_if_asked(bigr: Run, image: Path) -> None:
    mask = Image.new("L", (4, 3))
    mask.putpixel((0, 0), 255)
    mask.save("m.png")
    refused = bigr("inpaint", image, "--mask", "m.png")
    assert refused.code == 2
    assert "4×3" in refused.err
    assert "40×30" in refused.err
    done = bigr("inpaint", image, "--mask", "m.png", "--mask-resize", "-o", "x.png")
    assert done.code == 0, done.err
    changed = (pixels(image) != pixels(Path("x.png"))).any(axis=-1)
    assert not changed[10:, :].any()
    assert not changed[:, 10:].any()
    assert changed.any()


def test_an_empty_mask_warns_and_a_full_one_is_allowed(bigr: Run, image: Path) -> None:
    Image.new("L", (40, 30)).save("m.png")
    done = bigr("inpaint", image, "--mask", "m.png", "-o", "same.png")
    assert done.code == 0
    assert "the mask is empty" in done.err
    assert np.array_equal(pixels(image), pixels(Path("same.png")))
    done = bigr("inpaint", image, "--mask", "m.png", "--invert-mask", "-o", "all.png")
    assert done.code == 0
    assert (pixels(image) != pixels(Path("all.png"))).any(axis=-1).mean() > 0.9


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_the_mode_stays(bigr: Run, mode: str) -> None:
    image = noise(30, 20, "RGBA" if mode in ("LA", "RGBA") else "L").convert(mode) if mode != "I;16" else (
        Image.fromarray(np.random.default_rng(0).integers(0, 65536, (20, 30), dtype=np.uint16))
    )  # fmt: skip
    image.save("m.png")
    done = bigr("inpaint", "m.png", "--mask-box", "3,3,9,9", "-o", "out.png")
    assert done.code == 0, done.err
    with Image.open("out.png") as made:
        assert made.mode == mode
        assert made.size == (30, 20)
        before, after = np.asarray(image), np.asarray(made)
    changed = before != after
    changed[3:12, 3:12] = False
    assert not changed.any()


def test_a_pipe_carries_the_image_alone(bigr_process: Run, image: Path, tiny_model: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    words = [sys.executable, "-m", "bigr_cli", "inpaint", "-", "--mask-box", "0,0,9,9", "--seed", "1", "-o", "-"]
    done = subprocess.run(words, input=image.read_bytes(), capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (tmp_path / "piped.png").write_bytes(done.stdout)
    assert pixels(tmp_path / "piped.png").shape == (30, 40, 3)


def test_a_manifest_has_a_job_a_line(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "jobs", 3)
    Image.new("L", (17, 16), 255).save("jobs/m.png")
    lines = [
        {"image": "p0.png", "mask-box": ["0,0,4,4", "8,8,4,4"], "seed": 5, "class": "cat"},
        {"image": "p1.png", "mask": "m.png", "output": "made/one.png", "steps": 2},
        {"images": ["p2.png"], "mask_box": "0,0,50%,50%", "guess-class": True, "count": 2},
    ]
    Path("jobs/jobs.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    done = bigr("inpaint", "--manifest", "jobs/jobs.jsonl", "--seed", 9, "-o", "out/", "--json", "--timesteps", 2)
    assert done.code == 0, done.err
    made = {line["path"]: line for line in map(json.loads, done.out.splitlines())}
    assert set(made) == {"out/p0-inpaint-5.png", "jobs/made/one.png", "out/p2-inpaint-9.png", "out/p2-inpaint-10.png"}
    assert made["out/p0-inpaint-5.png"]["label"] == "cat"
    assert made["jobs/made/one.png"]["recipe"]["sampling"]["steps"] == 2
    assert {line["recipe"]["sampling"]["timesteps"] for line in made.values()} == {2}
    assert made["out/p2-inpaint-9.png"]["label"] in ("cat", "dog", "house", "tree")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "expected a JSON object"),
        ('{"image": "p0.png", "masc": "m.png"}', "unknown key 'masc'"),
        ('{"image": "p0.png", "mask-box": "0,0,4,4", "model": "x"}', "holds for the whole run"),
        ('{"image": "p0.png", "mask-box": "0,0,4,4", "steps": "many"}', "--steps"),
        ('{"image": "p0.png", "mask-box": {"x": 1}}', "expected text"),
        ('{"image": "p0.png"}', "no mask given"),
        ('{"mask-box": "0,0,4,4"}', "no image given"),
        ("{", "is not JSON"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_made(bigr: Run, tmp_path: Path, line: str, message: str) -> None:
    folder(tmp_path / "jobs", 1)
    Path("jobs/jobs.jsonl").write_text('{"image": "p0.png", "mask-box": "0,0,4,4"}\n' + line)
    done = bigr("inpaint", "--manifest", "jobs/jobs.jsonl", "-o", "out/")
    assert done.code == 2
    assert message in done.err
    assert "line 2" in done.err
    assert not Path("out").exists()


def test_a_dry_run_makes_nothing(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "many", 3)
    done = bigr("inpaint", "many", "--mask-box", "0,0,9,9", "--seed", 1, "-o", "out/", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[0] == "many/p0.png -> out/p0-inpaint-1.png"
    assert "3 would be made" in done.err
    assert not Path("out").exists()


def test_folders_below_keep_their_places(bigr: Run, tmp_path: Path) -> None:
    folder(tmp_path / "many", 1)
    folder(tmp_path / "many/deeper", 1)
    done = bigr("inpaint", "many", "--recursive", "--mask-box", "0,0,9,9", "--seed", 1, "-o", "out/")
    assert done.code == 0, done.err
    found = sorted(str(path) for path in Path("out").rglob("*.png"))
    assert found == ["out/deeper/p0-inpaint-1.png", "out/p0-inpaint-1.png"]


def test_the_best_of_several_says_its_score(bigr: Run, image: Path) -> None:
    options = ("--mask-box", "0,0,20,20", "--seed", 2, "--json")
    best = json.loads(bigr("inpaint", image, *options, "--best-of", 3, "-o", "best.png").out)
    assert best["score"] < 0
    assert "score" not in json.loads(bigr("inpaint", image, *options, "-o", "one.png").out)


def test_a_mode_that_png_lacks_becomes_tiff_unless_a_file_is_named(bigr: Run) -> None:
    noise(30, 20).convert("CMYK").save("m.jpg", quality=95)
    with Image.open("m.jpg") as image:
        before = np.asarray(image)
    done = bigr("inpaint", "m.jpg", "--mask-box", "3,3,9,9", "--seed", 1)
    assert done.code == 0, done.err
    with Image.open("m-inpaint-1.tif") as made:
        assert made.mode == "CMYK"
        changed = (np.asarray(made) != before).any(axis=-1)
    changed[3:12, 3:12] = False
    assert not changed.any()
    done = bigr("inpaint", "m.jpg", "--mask-box", "3,3,9,9", "--seed", 1, "-o", "m.png")
    assert done.code == 0
    assert "does not hold mode CMYK" in done.err
