"""`bigr mask`, and the options by which masks find themselves, wherever they stand."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.editing import mask_finders

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]

PLUGIN = """
import numpy as np

class Corner:
    def find(self, network, image, wanted):
        if wanted == "trouble":
            raise ValueError("the corner is lost")
        width, height = image.size
        mask = np.zeros((3, 3) if wanted == "wrong" else (height, width), np.float32)
        mask[:8, :8] = {"much": 2.0, "nothing": 0.0}.get(wanted, 1.0)
        return mask

def open_finder():
    return Corner()
"""


@pytest.fixture
def corner(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A plugin's mask finder, `corner`, of an installed package."""
    folder = tmp_path_factory.mktemp("plugin")
    information = folder / "bigr_plugin_corner-0.3.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bigr-plugin-corner\nVersion: 0.3\n")
    lines = "[bigr.masks]\ncorner = bigr_plugin_corner:open_finder\nclass = bigr_plugin_corner:open_finder\n"
    (information / "entry_points.txt").write_text(lines)
    (folder / "bigr_plugin_corner.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("BIGR_PLUGINS", "bigr-plugin-corner")
    mask_finders._opened.cache_clear()
    yield
    mask_finders._opened.cache_clear()


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own finder, on images that it cannot know: it finds every label in the left half."""

    def find(network: Any, original: Any, label: Any) -> np.ndarray:
        width, height = original.size
        return np.repeat((np.arange(width) < width / 2)[None], height, 0).astype(np.float32) * (label != 3)

    monkeypatch.setattr("bigr_cli.editing.mask_finders.class_mask", find)


def levels(name: str) -> np.ndarray:
    with Image.open(name) as image:
        assert image.mode == "L"
        return np.asarray(image)


def changed(name: str) -> np.ndarray:
    with Image.open("in.png") as before, Image.open(name) as after:
        return (np.asarray(before) != np.asarray(after)).any(axis=-1)


def test_masks_are_written_and_made_again(bigr: Run, half: None) -> None:
    done = bigr("mask", "in.png", "--mask-class", "dog", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["path"] == "in-mask.png"
    mask = levels("in-mask.png")
    assert mask.shape == (30, 40) and (mask[:, :20] == 255).all() and (mask[:, 20:] == 0).all()
    again = bigr("info", "in-mask.png", "--json")
    command = json.loads(again.out)["command"]
    assert "--mask-class dog" in command and "--seed" not in command and "--steps" not in command
    done = bigr(*command.replace("in-mask.png", "b.png").split()[1:])
    assert done.code == 0, done.err
    assert np.array_equal(levels("b.png"), mask)
    options = ("--mask-class", "dog", "--mask-box", "30,0,10,10", "--invert-mask", "--mask-grow", 2)
    assert bigr("mask", "in.png", *options, "-o", "c.png").code == 0
    mask = levels("c.png")
    assert (mask[:, :18] == 0).all() and (mask[12:, 18:] == 255).all() and (mask[:8, 32:] == 0).all()


def test_many_images_and_streams(bigr: Run, half: None) -> None:
    Image.open("in.png").save("two.jpg")
    Path("bad.png").write_bytes(Path("in.png").read_bytes()[:300])
    done = bigr("mask", "in.png", "two.jpg", "bad.png", "--mask-class", "cat", "-o", "masks/", "--json")
    assert done.code == 1 and "bad.png" in done.err and len(done.out.splitlines()) == 2
    assert sorted(os.listdir("masks")) == ["in-mask.png", "two-mask.png"]
    lines = [{"image": "in.png", "mask-class": "cat"}, {"image": "in.png", "mask-box": "0,0,9,9", "output": "box.png"}]
    Path("jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = bigr("mask", "--manifest", "jobs.jsonl")
    assert done.code == 0, done.err
    assert levels("box.png").mean() == pytest.approx(255 * 81 / 1200)


def test_other_commands_paint_there(bigr: Run, half: None) -> None:
    for words in (("inpaint",), ("edit", "--prompt", "cat")):
        done = bigr(words[0], "in.png", *words[1:], "--mask-class", "dog", "--seed", 1, "-o", f"{words[0]}.png")
        assert done.code == 0, done.err
        found = changed(f"{words[0]}.png")
        assert found[:, :20].mean() > 0.9 and found[:, 20:24].any() and not found[:, 24:].any()  # half a token more
        done = bigr(words[0], "in.png", *words[1:], "--mask-class", "dog", "--mask-grow", 0, "-o", f"{words[0]}-0.png")
        assert done.code == 0, done.err
        assert not changed(f"{words[0]}-0.png")[:, 20:].any()
    done = bigr("outpaint", "in.png", "--mask-class", "dog", "--seed", 1, "-o", "o.png")
    assert done.code == 0, done.err
    assert changed("o.png")[:, 20:].mean() > 0.9 and not changed("o.png")[:, :20].any()
    done = bigr("inpaint", "in.png", "--mask-class", "tree", "--seed", 1, "-o", "none.png")
    assert done.code == 0 and "'class' finds no 'tree'" in done.err and "the mask is empty" in done.err
    assert not changed("none.png").any()


def test_from_python(half: None, tiny_model: Path) -> None:
    import bigr_cli

    model = bigr_cli.load(tiny_model)
    made = model.mask("in.png", mask_class="dog", mask_grow=1)
    assert made.mode == "L" and (np.asarray(made)[:, :21] == 255).all()
    several = model.mask(["in.png", np.zeros((8, 8, 3), np.uint8)], mask_class=1)
    assert [one.size for one in several] == [(40, 30), (8, 8)]
    done = np.asarray(model.inpaint("in.png", mask_class="dog", mask_grow=0, seed=1))
    with Image.open("in.png") as image:
        assert np.array_equal(done[:, 20:], np.asarray(image)[:, 20:]) and not np.array_equal(done, np.asarray(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no mask given"),
        (("--mask-class", "horse"), "horse"),
        (("--mask-class", "none"), "--mask-class: expected a label"),
        (("--mask-text", " "), "--mask-text: expected words"),
        (("--mask-find", "corner"), "--mask-find: expected NAME=WORDS"),
        (("--mask-find", "korner=a"), "did you mean corner"),
        (("--mask-find", "corner=trouble"), "'corner' (bigr-plugin-corner 0.3) is left out: ValueError: the corner is"),
        (("--mask-find", "corner=wrong"), "expected a mask (30, 40), got (3, 3)"),
        (("--mask-find", "corner=much"), "expected a mask from 0 to 1"),
    ],
)
def test_wrong_usage(bigr: Run, corner: None, options: tuple[str, ...], message: str) -> None:
    done = bigr("mask", "in.png", *options)
    assert done.code == 2, done.err
    assert message in done.err
    assert not Path("in-mask.png").exists()


def test_a_finder_of_a_plugin(bigr: Run, corner: None) -> None:
    words = ("--mask-find", "corner=any", "--mask-find", "corner=nothing", "-o", "a.png")
    done = bigr("mask", "in.png", *words)
    assert done.code == 0, done.err
    assert "there is a mask finder of this name already, from bigr-cli" in done.err
    assert "the mask finder 'corner' finds no 'nothing'" in done.err
    mask = levels("a.png")
    assert (mask[:8, :8] == 255).all() and mask.sum() == 64 * 255
    assert "corner" in json.loads(bigr("doctor", "--json").out)["mask_finders"]
