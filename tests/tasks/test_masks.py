"""What counts as masked is the same for every command that takes a mask, and for manifests."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")

COMMANDS = {
    "inpaint": ["inpaint", "in.png"],
    "edit": ["edit", "in.png", "--class", "dog"],
    "outpaint": ["outpaint", "in.png"],
    "manifest": ["inpaint", "--manifest", "jobs.jsonl"],
}


def box(inside: int, outside: int) -> Image.Image:
    mask = Image.new("L", (40, 30), outside)
    mask.paste(inside, (8, 6, 20, 18))
    return mask


@pytest.mark.parametrize("command", COMMANDS)
def test_nearly_black_is_kept_by_every_command(command: str, bigr: Callable) -> None:
    box(255, 0).save("hard.png")
    box(253, 3).save("floor.png")
    box(1, 0).save("zero-one.png")
    box(255, 0).save("noisy.jpg", quality=80)
    made = {}
    for name in ("hard.png", "floor.png", "zero-one.png", "noisy.jpg"):
        line = {"image": "in.png", "mask": name, "seed": 1}
        Path("jobs.jsonl").write_text(json.dumps(line) + "\n")
        masked = [] if command == "manifest" else ["--mask", name]
        done = bigr(*COMMANDS[command], *masked, "--seed", 1, "--no-metadata", "-o", f"{name}.png", "--overwrite")
        assert done.code == 0, done.err
        made[name] = np.asarray(Image.open(f"{name}.png"))
    before, kept = np.asarray(Image.open("in.png")), np.asarray(box(0, 1) if command != "outpaint" else box(1, 0)) > 0
    assert np.array_equal(made["hard.png"][kept], before[kept])
    assert not np.array_equal(made["hard.png"], before)
    for name in ("floor.png", "zero-one.png", "noisy.jpg"):
        assert np.array_equal(made[name], made["hard.png"]), name


def test_the_threshold_is_an_option_that_recipes_keep(bigr: Callable) -> None:
    box(255, 30).save("m.png")
    exact = bigr("inpaint", "in.png", "--mask", "m.png", "--seed", 1, "-o", "a.png")
    near = bigr("inpaint", "in.png", "--mask", "m.png", "--seed", 1, "--mask-threshold", 0.12, "-o", "b.png")
    assert (exact.code, near.code) == (0, 0)
    before, kept = np.asarray(Image.open("in.png")), np.asarray(box(0, 1)) > 0
    assert not np.array_equal(np.asarray(Image.open("a.png"))[kept], before[kept])
    assert np.array_equal(np.asarray(Image.open("b.png"))[kept], before[kept])
    assert "nearly black count as kept" in near.err and "--mask-threshold 0.12" in bigr("info", "b.png").out
    refused = bigr("inpaint", "in.png", "--mask", "m.png", "--mask-threshold", 0.5, "-o", "c.png")
    assert refused.code == 2 and "--mask-threshold" in refused.err
