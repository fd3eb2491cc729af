import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., object]


def test_a_strip_from_label_to_label(bigr: Run) -> None:
    done = bigr("interpolate", "cat", "dog", "--frames", 5, "--seed", 2, "--json")
    assert done.code == 0, done.err
    line = json.loads(done.out)
    assert line["path"] == "cat-to-dog-2.png"
    assert line["frames"] == 5
    with Image.open("cat-to-dog-2.png") as strip:
        assert strip.size == (5 * 16, 16)
        left = np.asarray(strip)[:, :16]
    bigr("generate", "cat", "--seed", 2, "-o", "cat.png")
    with Image.open("cat.png") as alone:
        assert np.array_equal(np.asarray(alone), left)


def test_strength_is_in_the_recipe(bigr: Run) -> None:
    assert bigr("interpolate", "cat", "dog", "--frames", 3, "--seed", 2, "--strength", 1, "-o", "all.png").code == 0
    assert "--strength 1" in bigr("info", "all.png").out
    bigr("generate", "dog", "--seed", 2, "-o", "dog.png")
    with Image.open("all.png") as strip, Image.open("dog.png") as alone:
        assert np.array_equal(np.asarray(strip)[:, -16:], np.asarray(alone))


@pytest.mark.parametrize(("name", "kind"), [("a.gif", "GIF"), ("a.webp", "WEBP")])
def test_a_film(bigr: Run, name: str, kind: str) -> None:
    assert bigr("interpolate", "cat", "dog", "house", "--loop", "--frames", 6, "--fps", 10, "-o", name).code == 0
    with Image.open(name) as film:
        assert film.format == kind
        assert film.n_frames == 6
        assert min(film.size) >= 256


def test_an_mp4(bigr: Run) -> None:
    import av

    done = bigr("interpolate", "cat", "dog", "--frames", 7, "--fps", 10, "-o", "a.mp4")
    assert done.code == 0, done.err
    with av.open("a.mp4") as container:
        assert len(list(container.decode(video=0))) == 7
    shown = bigr("info", "a.mp4")
    assert shown.code == 0, shown.err
    assert "bigr interpolate cat dog" in shown.out


def test_frames_of_their_own(bigr: Run) -> None:
    assert bigr("interpolate", "cat", "dog", "--frames", 3, "--seed", 1, "-o", "frames/").code == 0
    assert sorted(path.name for path in Path("frames").iterdir()) == [f"cat-to-dog-1-00{i}.png" for i in range(3)]


def test_images_are_met_at_both_ends(bigr: Run, tiny_model: Path) -> None:
    import bigr_cli

    Image.linear_gradient("L").convert("RGB").save("b.png")
    done = bigr("interpolate", "in.png", "b.png", "--frames", 4, "--seed", 1, "-o", "f/{index}.png")
    assert done.code == 0, done.err
    model = bigr_cli.load(tiny_model)
    for name, frame in (("b.png", "f/3.png"),):
        with Image.open(name) as image, Image.open(frame) as end:
            fitted = image.resize((16, 16), Image.Resampling.LANCZOS)
            assert np.array_equal(np.asarray(model.decode(model.encode(fitted))[0]), np.asarray(end))


def test_classes_are_guessed_between_images(bigr: Run, tiny_model: Path) -> None:
    """Each frame is guided by the class of the nearer image, unless told otherwise."""
    import bigr_cli

    Image.linear_gradient("L").convert("RGB").save("b.png")
    words = ("interpolate", "in.png", "b.png", "--frames", 5, "--seed", 3)
    for name, *options in (
        ("own",),
        ("asked", "--guess-class"),
        ("none", "--no-guess-class"),
        ("class", "--class", "cat"),
    ):
        assert bigr(*words, *options, "-o", f"{name}.png").code == 0
    own, asked, none, by_class = (np.asarray(Image.open(f"{name}.png")) for name in ("own", "asked", "none", "class"))
    assert np.array_equal(own, asked) and not np.array_equal(own, none) and not np.array_equal(by_class, none)
    for name, option in (("own", "--guess-class"), ("none", "--no-guess-class"), ("class", "--class cat")):
        assert f" {option} " in bigr("info", f"{name}.png").out
    model = bigr_cli.load(tiny_model)
    images = [Image.open("in.png"), Image.open("b.png")]
    frames = model.interpolate(images, frames=5, seed=3)
    assert np.array_equal(np.hstack([np.asarray(frame) for frame in frames]), own)


def test_a_variable_for_ways_between_images_does_not_hinder_others(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_REFINE", "3")
    assert bigr("interpolate", "cat", "dog", "--frames", 2, "-o", "a.png").code == 0
    assert "--refine" not in bigr("info", "a.png").out


def test_a_seed_that_is_drawn_is_said(bigr: Run) -> None:
    done = bigr("interpolate", "cat", "dog", "--frames", 2, "-o", "a.png")
    said = re.search(r"seed (\d+) \(drawn\)", done.err)
    assert said and f"--seed {said[1]} " in bigr("info", "a.png").out


def test_refined_ends_are_nearer_to_the_images(bigr: Run) -> None:
    Image.linear_gradient("L").convert("RGB").save("b.png")
    distances = []
    for refine in (0, 20):
        words = ("--frames", 3, "--refine", refine, "--overwrite", "-o", "f/{index}.png")
        assert bigr("interpolate", "in.png", "b.png", *words).code == 0
        with Image.open("b.png") as image, Image.open("f/2.png") as end:
            fitted = np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS), dtype=float)
            distances.append(np.square(fitted - np.asarray(end)).mean())
    assert distances[1] < 0.9 * distances[0]
    assert "--refine 20" in bigr("info", "f/2.png").out


def test_ends_are_looked_for_in_the_models_own_number_of_steps(bigr: Run, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "searching")
    with Path(tmp_path / "searching/config.yaml").open("a") as config:
        config.write("refine: 20\n")
    Image.linear_gradient("L").convert("RGB").save("b.png")
    words = ("interpolate", "in.png", "b.png", "--frames", 3, "--seed", 2, "--model")
    assert bigr(*words, "searching", "-o", "own.png").code == 0
    assert bigr(*words, tiny_model, "--refine", 20, "-o", "asked.png").code == 0
    assert bigr(*words, "searching", "--refine", 0, "-o", "none.png").code == 0
    own, asked, none = (np.asarray(Image.open(f"{name}.png")) for name in ("own", "asked", "none"))
    assert np.array_equal(own, asked) and not np.array_equal(own, none)
    assert "--refine 20" in bigr("info", "own.png").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cat",), "two stops"),
        (("cat", "in.png"), "either all labels or all images"),
        (("cat", "doge"), "did you mean dog"),
        (("cat", "none"), "no stop"),
        (("cat", "dog", "--frames", "1"), "--frames"),
        (("cat", "dog", "--class", "house"), "guides"),
        (("cat", "dog", "--strength", "1.5"), "--strength"),
        (("cat", "dog", "--refine", "5"), "--refine is for ways between images"),
        (("cat", "dog", "--no-guess-class"), "--guess-class is for ways between images"),
        (("in.png", "in.png", "--guess-class", "--class", "cat"), "--class and --guess-class exclude each other"),
        (("in.png", "in.png", "--strength", "0.5"), "between labels or texts"),
        (("cat", "dog", "--fps", "100", "-o", "x.gif"), "at most 50"),
        (("cat", "dog", "-o", "x.avi"), "unknown kind"),
        (("gone.png", "in.png"), "gone.png"),
    ],
)
def test_wrong_usage(bigr: Run, arguments: tuple[str, ...], message: str) -> None:
    done = bigr("interpolate", *arguments)
    assert done.code == 2
    assert message in done.err
    assert [path.name for path in Path().iterdir()] == ["in.png"]


def test_variants_have_seeds_that_follow_and_each_can_be_made_alone(bigr: Run) -> None:
    words = ("interpolate", "cat", "dog", "--frames", 3, "--json")
    done = bigr(*words, "-n", 2, "--seed", 7, "-o", "{label}-{seed}.png")
    assert done.code == 0, done.err
    assert [(line["path"], line["seed"]) for line in map(json.loads, done.out.splitlines())] == [
        ("cat-to-dog-7.png", 7),
        ("cat-to-dog-8.png", 8),
    ]
    assert bigr(*words, "--seed", 8, "-o", "alone.png").code == 0
    assert np.array_equal(np.asarray(Image.open("alone.png")), np.asarray(Image.open("cat-to-dog-8.png")))


def test_a_manifest_has_a_path_in_each_line(bigr: Run) -> None:
    Path("jobs").mkdir()
    shutil.copy("in.png", "jobs/first.png")
    lines = [
        {"stops": ["cat", "dog"], "seed": 5},
        {"stops": ["first.png", "../in.png"], "frames": 4, "refine": 2},
        {"stops": ["dog", "tree", "cat"], "loop": True, "output": "made/tour.gif"},
    ]
    Path("jobs/paths.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ("interpolate", "--manifest", "jobs/paths.jsonl", "--frames", 3, "--seed", 9, "-o", "out/{label}.png")
    done = bigr(*words, "--json")
    assert done.code == 0, done.err
    made = {line["path"]: line for line in map(json.loads, done.out.splitlines())}
    assert set(made) == {"out/cat-to-dog.png", "out/first-to-in.png", "jobs/made/tour.gif"}
    assert [made[f"out/{name}.png"]["frames"] for name in ("cat-to-dog", "first-to-in")] == [3, 4]
    assert made["out/cat-to-dog.png"]["seed"] == 5 and made["out/first-to-in.png"]["seed"] == 9
    assert bigr("interpolate", "cat", "dog", "--frames", 3, "--seed", 5, "-o", "alone.png").code == 0
    assert np.array_equal(np.asarray(Image.open("alone.png")), np.asarray(Image.open("out/cat-to-dog.png")))
    again = bigr(*words, "--skip-existing")
    assert again.code == 0 and "all are there already" in again.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"stops": ["cat"]}', "two stops"),
        ('{"stops": ["cat", "doge"]}', "did you mean dog"),
        ('{"stops": ["cat", "dog"], "image": "a.png"}', "unknown key 'image'"),
        ('{"stops": ["cat", "dog"], "model": "x"}', "whole run"),
        ('{"stops": ["cat", "house"], "seed": 1, "output": "out/a.png"}', "one file for 2 interpolations"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_made(bigr: Run, line: str, message: str) -> None:
    Path("paths.jsonl").write_text('{"stops": ["cat", "dog"], "output": "out/a.png"}\n' + line)
    done = bigr("interpolate", "--manifest", "paths.jsonl", "--frames", 2)
    assert done.code == 2 and message in done.err
    assert "line 2" in done.err or "one file" in done.err
    assert not Path("out").exists()


def test_one_of_several_that_fails_costs_only_itself(bigr: Run) -> None:
    data = Path("in.png").read_bytes()
    Path("cut.png").write_bytes(data[: len(data) // 2])
    lines = [{"stops": ["in.png", "cut.png"]}, {"stops": ["cat", "dog"]}]
    Path("paths.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = bigr(
        "interpolate",
        "--manifest",
        "paths.jsonl",
        "--frames",
        2,
        "--seed",
        1,
        "-o",
        "{label}.png",
        "--failures",
        "failed.jsonl",
    )
    assert done.code == 1 and "cut.png" in done.err and "1 of 2 failed" in done.err
    failed = json.loads(Path("failed.jsonl").read_text())
    assert failed["source"] == "in-to-cut" and "cut.png" in failed["error"]
    assert Path("cat-to-dog.png").exists() and not Path("in-to-cut.png").exists()


def test_a_dry_run(bigr: Run, workplace: Path) -> None:
    said = bigr("interpolate", "cat", "dog", "--frames", 3, "--seed", 4, "--dry-run", "-o", "a.gif")
    assert (said.code, said.out) == (0, "cat-to-dog, 3 frames -> a.gif\n")
    broadcast = json.loads(bigr("interpolate", "cat", "dog", "--seed", 4, "--dry-run", "--json", "-o", "b.png").out)
    assert (broadcast["path"], broadcast["seed"], broadcast["frames"]) == ("b.png", 4, 9)
    assert sorted(path.name for path in workplace.iterdir()) == ["in.png"]
