from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., object]


def changed(name: str) -> np.ndarray:
    with Image.open("in.png") as before, Image.open(name) as after:
        return (np.asarray(before) != np.asarray(after)).any(axis=-1)


def test_under_a_mask(bigr: Run) -> None:
    options = ("--class", "cat", "--mask-box", "8,8,16,16", "--seed", 1)
    done = bigr("edit", "in.png", *options, "-o", "a.png")
    assert done.code == 0, done.err
    assert changed("a.png")[8:24, 8:24].mean() > 0.9
    assert changed("a.png").sum() <= 16 * 16
    assert bigr("edit", "in.png", *options, "--from-class", "dog", "-o", "b.png").code == 0
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


def test_strength_says_how_much_is_drawn_anew(bigr: Run) -> None:
    shares = []
    for strength in (0, 0.25, 0.5, 1):
        done = bigr("edit", "in.png", "--class", "cat", "--strength", strength, "--seed", 1, "-o", f"{strength}.png")
        assert done.code == 0, done.err
        shares.append(changed(f"{strength}.png").mean())
    assert "--strength 0.0" in bigr("info", "0.png").out
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.1 < shares[1] < 0.45
    assert shares[-1] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no class given"),
        (("--class", "cat", "--guess-class"), "exclude each other"),
        (("--class", "cat", "--mask-box", "0,0,5,5", "--strength", "0.5"), "without a mask"),
        (("--class", "cat", "--strength", "1.5"), "--strength"),
        (("--class", "cat", "--best-of", "3"), "needs a mask"),
        (("--class", "cat", "--from-class", "horse"), "did you mean house"),
    ],
)
def test_wrong_usage(bigr: Run, options: tuple[str, ...], message: str) -> None:
    done = bigr("edit", "in.png", *options)
    assert done.code == 2
    assert message in done.err


def test_the_whole_is_edited_in_other_modes_with_transparency_kept(bigr: Run) -> None:
    with Image.open("in.png") as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save("in.png")
    assert bigr("edit", "in.png", "--class", "cat", "--strength", 1, "-o", "out.png").code == 0
    with Image.open("out.png") as made, Image.open("in.png") as before:
        assert made.getchannel("A").tobytes() == before.getchannel("A").tobytes()
