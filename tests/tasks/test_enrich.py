from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., object]


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image).astype(float)


@pytest.mark.parametrize("scale", [1, 2])
def test_size_and_seed(bigr: Run, scale: int) -> None:
    for name in ("a.png", "b.png"):
        done = bigr("enrich", "in.png", "--scale", scale, "--seed", 4, "-o", name)
        assert done.code == 0, done.err
    assert pixels("a.png").shape == (30 * scale, 40 * scale, 3)
    assert np.array_equal(pixels("a.png"), pixels("b.png"))


def test_passes_go_on_and_sharpening_keeps_the_colours(bigr: Run) -> None:
    for name, options in {"one": (), "two": ("--passes", 2), "sharp": ("--sharpen-only",)}.items():
        assert bigr("enrich", "in.png", "--seed", 4, *options, "-o", f"{name}.png").code == 0
    assert not np.array_equal(pixels("one.png"), pixels("two.png"))
    drift = {name: abs(pixels(f"{name}.png").mean() - pixels("in.png").mean()) for name in ("one", "sharp")}
    assert drift["sharp"] < drift["one"] + 1
    assert drift["sharp"] < 10


def test_more_strength_changes_more_and_reducing_takes_detail_away(bigr: Run) -> None:
    ways = {"little": ("--strength", 0.1), "all": ("--strength", 1), "paper": ("--strength", 1, "--reduce")}
    for name, options in ways.items():
        assert bigr("enrich", "in.png", "--seed", 4, *options, "-o", f"{name}.png").code == 0
    assert bigr("enrich", "in.png", "--seed", 4, "--strength", 0.01, "--groups", 1, "-o", "least.png").code == 0
    least = pixels("least.png")  # one token at most
    assert np.abs(pixels("little.png") - least).mean() < np.abs(pixels("all.png") - least).mean()
    assert not np.array_equal(pixels("all.png"), pixels("paper.png"))


def test_a_label_guides_and_can_be_guessed(bigr: Run) -> None:
    import json

    lines = {}
    for name, options in {"none": (), "cat": ("--class", "cat"), "guessed": ("--guess-class",)}.items():
        done = bigr("enrich", "in.png", "--seed", 4, *options, "--json", "-o", f"{name}.png")
        assert done.code == 0, done.err
        lines[name] = json.loads(done.out)["label"]
    assert lines["none"] == "none"
    assert lines["cat"] == "cat"
    assert lines["guessed"] in ("cat", "dog", "house", "tree")
    assert not np.array_equal(pixels("none.png"), pixels("cat.png"))


@pytest.mark.parametrize(
    "options",
    [
        ("--class", "cat", "--guess-class"),
        ("--rate", 1, "--groups", 2),
        ("--rate", 0),
        ("--strength", 0),
        ("--strength", 1.1),
        ("--scale", 99),
        ("--passes", 0),
    ],
)
def test_wrong_usage(bigr: Run, options: tuple[object, ...]) -> None:
    assert bigr("enrich", "in.png", *options).code == 2


def test_transparency_stays(bigr: Run) -> None:
    with Image.open("in.png") as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save("in.png")
    assert bigr("enrich", "in.png", "-o", "out.png").code == 0
    with Image.open("out.png") as made, Image.open("in.png") as before:
        assert made.mode == "RGBA"
        assert made.getchannel("A").tobytes() == before.getchannel("A").tobytes()


def test_an_enlarged_image_reduced_again_is_the_given_one(bigr: Run) -> None:
    """Whatever detail the model makes up; with --reduce, detail is given up on purpose."""
    across, down = np.meshgrid(np.linspace(60, 190, 20), np.linspace(60, 190, 12))
    Image.fromarray(np.stack([across, down, 250 - across], axis=-1).astype(np.uint8)).save("smooth.png")
    drift = {}
    for name, options in {"kept": (), "reduced": ("--reduce",)}.items():
        done = bigr("enrich", "smooth.png", "--scale", 2, "--seed", 4, *options, "-o", f"{name}.png")
        assert done.code == 0, done.err
        with Image.open(f"{name}.png") as image:
            drift[name] = np.abs(np.asarray(image.reduce(2)).astype(float) - pixels("smooth.png")).mean()
    assert drift["kept"] < 8  # noise beyond black and white cannot be made up for
    assert drift["reduced"] > 2 * drift["kept"]
