from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., object]


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("options", "size", "corner"),
    [
        (("--right", "50%"), (60, 30), (0, 0)),
        (("--left", "7", "--top", "5"), (47, 35), (7, 5)),
        (("--aspect", "2:1"), (60, 30), (10, 0)),
        (("--size", "41x50"), (41, 50), (0, 10)),
    ],
)
def test_the_canvas_grows_and_the_image_stays(
    bigr: Run, options: tuple[str, ...], size: tuple[int, int], corner: tuple[int, int]
) -> None:
    done = bigr("outpaint", "in.png", *options, "--seed", 1, "-o", "out.png")
    assert done.code == 0, done.err
    made = pixels("out.png")
    assert made.shape == (size[1], size[0], 3)
    x, y = corner
    assert np.array_equal(made[y : y + 30, x : x + 40], pixels("in.png"))
    outside = np.ones(made.shape[:2], dtype=bool)
    outside[y : y + 30, x : x + 40] = False
    assert made[outside].std() > 5


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_the_new_part_is_opaque_and_of_the_images_mode(bigr: Run, mode: str) -> None:
    with Image.open("in.png") as image:
        image.convert(mode).save("m.png")
    assert bigr("outpaint", "m.png", "--bottom", "10", "-o", "out.png").code == 0
    with Image.open("out.png") as made:
        assert made.mode == mode
        assert made.size == (40, 40)
        if mode == "RGBA":
            assert made.getchannel("A").getextrema() == (255, 255)


def test_a_mask_says_what_to_keep(bigr: Run) -> None:
    assert bigr("outpaint", "in.png", "--mask-box", "10,10,8,8", "-o", "out.png").code == 0
    before, after = pixels("in.png"), pixels("out.png")
    assert np.array_equal(before[10:18, 10:18], after[10:18, 10:18])
    assert (before != after).any(axis=-1).mean() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "larger canvas or a mask"),
        (("--right", "5", "--mask-box", "0,0,5,5"), "larger canvas or a mask"),
        (("--right", "0"), "nothing to paint"),
        (("--right", "-5"), "--right"),
        (("--right", "999999999"), "too large"),
        (("--size", "10x10"), "smaller than the image"),
        (("--aspect", "wide"), "--aspect"),
        (("--aspect", "1:1", "--left", "5"), "exclude"),
    ],
)
def test_wrong_usage(bigr: Run, options: tuple[str, ...], message: str) -> None:
    done = bigr("outpaint", "in.png", *options)
    assert done.code == 2
    assert message in done.err
    assert [path.name for path in Path().iterdir()] == ["in.png"]
