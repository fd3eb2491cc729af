"""What the published scripts do and our defaults do not: saved passes, whole frames, sampled codes, visible masks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bigr_cli
from bigr_cli.core.config import SamplingConfig
from bigr_cli.editing.interpolate_request import PUBLISHED_SHARES, Interpolate
from bigr_cli.errors import UsageError

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]


def pixels(name: str | Path) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image).astype(float)


@pytest.fixture
def square(workplace: object) -> None:
    """square.png, of the model's size."""
    Image.effect_noise((16, 16), 60).convert("RGB").save("square.png")


@pytest.mark.usefixtures("square")
def test_all_passes_are_saved(bigr: Run) -> None:
    """As script/app_enrich.sh does it; each is what fewer passes give."""
    way = ("--seed", 4, "--strength", 1, "--reduce", "--sample-codes")
    done = bigr("enrich", "square.png", *way, "--passes", 3, "--save-passes", "-o", "all.png", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["passes"] == ["all-pass1.png", "all-pass2.png"]
    for turns, name in ((1, "all-pass1.png"), (2, "all-pass2.png"), (3, "all.png")):
        assert bigr("enrich", "square.png", *way, "--passes", turns, "-o", f"{turns}.png").code == 0
        assert np.array_equal(pixels(name), pixels(f"{turns}.png"))
    assert not np.array_equal(pixels("all-pass1.png"), pixels("all.png"))
    assert "--save-passes" not in bigr("info", "all.png").out


@pytest.mark.usefixtures("square")
def test_saved_passes_overwrite_nothing(bigr: Run) -> None:
    Path("all-pass1.png").write_text("mine")
    words = ("enrich", "square.png", "--passes", 2, "--save-passes")
    done = bigr(*words, "-o", "all.png")
    assert (done.code, Path("all-pass1.png").read_text(), Path("all.png").exists()) == (2, "mine", False)
    assert "all-pass1.png" in done.err
    assert bigr(*words, "-o", "all.png", "--overwrite").code == 0
    done = bigr(*words, "-o", "-")
    assert (done.code, "--save-passes writes several" in done.err) == (2, True)


def test_frames_of_the_published_interpolation(bigr: Run) -> None:
    """27 frames, each sampled whole, at the shares of the published code: the ends are the labels by themselves."""
    done = bigr("interpolate", "cat", "dog", "--mixed", "published", "--seed", 2, "--gumbel", 0, "-o", "frames/")
    assert done.code == 0, done.err
    files = sorted(Path("frames").iterdir())
    assert len(files) == 27
    assert np.allclose(PUBLISHED_SHARES, [0, 0.1, 0.2, *np.linspace(0.3, 0.7, 21), 0.8, 0.9, 1])
    assert "--mixed published" in bigr("info", files[0]).out


def test_frames_of_whole_mixtures_in_even_steps(bigr: Run) -> None:
    """With the same random numbers in all, so that the ends are what generate samples."""
    assert bigr("interpolate", "cat", "dog", "--mixed", "even", "--frames", 5, "--seed", 2, "-o", "strip.png").code == 0
    strip = pixels("strip.png")
    assert strip.shape == (16, 80, 3)
    for label, left in (("cat", 0), ("dog", 64)):
        assert bigr("generate", label, "--seed", 2, "-o", f"{label}.png").code == 0
        assert np.array_equal(strip[:, left : left + 16], pixels(f"{label}.png"))


def test_numbers_of_the_published_frames_are_their_own(tiny_model: Path) -> None:
    """Between two equal labels the even frames are all the same, and the published ones are not."""
    model = bigr_cli.load(tiny_model)
    even = model.interpolate([0, 0], mixed="even", frames=3, seed=1)
    assert len({image.tobytes() for image in even}) == 1
    published = model.interpolate([0, 0], mixed="published", seed=1)
    assert len({image.tobytes() for image in published}) > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixed": "published", "frames": 9}, "--mixed published has 27 frames, got 9"),
        ({"mixed": "published", "loop": True}, "in no loop"),
        ({"mixed": "even", "strength": 0.5}, "--strength is of no use with --mixed"),
        ({"mixed": "odd"}, "mixed: expected one of even, published, got 'odd'"),
    ],
)
def test_mixtures_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Interpolate(sampling=SamplingConfig(), **options)


def test_mixtures_are_for_two_labels(bigr: Run) -> None:
    done = bigr("interpolate", "cat", "dog", "house", "--mixed", "published", "-o", "a.png")
    assert (done.code, "from one label to another, got 3" in done.err) == (2, True)
    done = bigr("interpolate", "in.png", "in.png", "--mixed", "even", "-o", "a.png")
    assert (done.code, "--mixed is for ways between labels" in done.err) == (2, True)


@pytest.mark.parametrize("task", [("inpaint",), ("outpaint",), ("edit", "--class", "cat")])
def test_codes_are_sampled_and_masks_seen_through(bigr: Run, task: tuple[str, ...]) -> None:
    """Each option changes the image, by itself and reproducibly; outside the mask nothing changes."""
    made = {}
    ways = {"plain": (), "sampled": ("--sample-codes",), "seen": ("--see-masked",)}
    for name, options in {**ways, "both": ("--sample-codes", "--see-masked"), "again": ("--sample-codes",)}.items():
        words = ("in.png", "--mask-box", "10,10,12,12", *options, "--seed", 3, "--blend", "none")
        done = bigr(task[0], *words, *task[1:], "-o", f"{name}.png")
        assert done.code == 0, done.err
        made[name] = pixels(f"{name}.png")
    assert np.array_equal(made["sampled"], made["again"])
    assert len({made[name].tobytes() for name in ("plain", "sampled", "seen", "both")}) == 4
    kept = np.ones((30, 40), dtype=bool)
    kept[10:22, 10:22] = False
    kept = ~kept if task[0] == "outpaint" else kept
    assert np.array_equal(made["both"][kept], pixels("in.png")[kept])
    assert "--sample-codes" in bigr("info", "both.png").out


def test_eight_variants_differ(bigr: Run) -> None:
    """As script/app_inpaint.sh makes them."""
    words = ("--sample-codes", "--see-masked", "-n", 8, "--seed", 0, "-o", "eight/")
    assert bigr("inpaint", "in.png", "--mask-box", "10,10,12,12", *words).code == 0
    assert len({pixels(path).tobytes() for path in Path("eight").iterdir()}) == 8
