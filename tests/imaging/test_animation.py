from pathlib import Path

import pytest
from PIL import Image

from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.imaging.animation import encode_animation, write_animation
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.recipe import Recipe

FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
RECIPE = Recipe(task="generate", model="m", seed=1, sampling=SamplingConfig(), device="cpu", dtype="float32")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_durations_and_recipe(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_animation(path, FRAMES, [100, 200, 300], recipe=RECIPE)
    assert read_metadata(path) == RECIPE
    with Image.open(path) as film:
        assert film.n_frames == 3
        shown = []
        for frame in range(3):
            film.seek(frame)
            shown.append((film.convert("RGB").getpixel((4, 4)), film.info["duration"]))
        assert film.info["loop"] == 0
    assert shown == [((255, 0, 0), 100), ((0, 128, 0), 200), ((0, 0, 255), 300)]


def test_what_cannot_be_animated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.gif, \.webp"):
        write_animation(tmp_path / "x.png", FRAMES, [1, 1, 1])
    with pytest.raises(ValueError, match="durations"):
        encode_animation(FRAMES, [1], "GIF")
    with pytest.raises(ValueError, match="durations"):
        encode_animation([], [], "GIF")
