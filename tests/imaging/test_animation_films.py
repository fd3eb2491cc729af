import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.imaging.animation import strip, write_film
from bigr_cli.imaging.metadata import read_comment, read_metadata
from bigr_cli.recipe import Recipe

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 240), (20, 20, 20))


@pytest.fixture
def frames() -> list[Image.Image]:
    return [Image.new("RGB", (21, 17), colour) for colour in COLOURS]


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(task="interpolate", model="tiny", seed=3, sampling=SamplingConfig(), device="cpu", dtype="float32")


def test_a_strip_is_one_row(frames: list[Image.Image]) -> None:
    assert strip(frames).size == (5 * 21, 17)
    assert strip(frames, gap=2).size == (5 * 23 - 2, 17)
    assert strip(frames).getpixel((25, 3)) == COLOURS[1]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("fps", [3.0, 7.0, 24.0, 50.0])
def test_an_animation_lasts_as_long_as_it_should(
    frames: list[Image.Image], tmp_path: Path, suffix: str, fps: float
) -> None:
    path = tmp_path / f"x{suffix}"
    write_film(path, frames, fps=fps)
    with Image.open(path) as film:
        assert film.n_frames == 5
        assert min(film.size) >= 256
        total = 0
        for index, colour in enumerate(COLOURS):
            film.seek(index)
            film.load()  # only then WebP says how long
            total += film.info["duration"]
            assert np.abs(np.asarray(film.convert("RGB"))[5, 5].astype(int) - colour).max() < 12
    assert abs(total - 5000 / fps) <= 6


def test_an_mp4_has_all_frames_and_its_recipe(frames: list[Image.Image], tmp_path: Path, recipe: Recipe) -> None:
    import av

    path = tmp_path / "x.mp4"
    write_film(path, frames, fps=10, recipe=recipe)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10
        assert stream.width % 2 == stream.height % 2 == 0
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 5
    for pixels, colour in zip(shown, COLOURS, strict=True):
        assert np.abs(pixels[100, 100].astype(int) - colour).max() < 25
    assert read_metadata(path) == recipe
    assert read_comment(io.BytesIO(b"GIF89a")) == ""


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_one_frame_is_a_film_too(tmp_path: Path, suffix: str) -> None:
    write_film(tmp_path / f"x{suffix}", [Image.new("RGB", (300, 300))], fps=1)
    assert (tmp_path / f"x{suffix}").stat().st_size > 0


def test_what_cannot_be_written(frames: list[Image.Image], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 50"):
        write_film(tmp_path / "x.gif", frames, fps=60)
    for fps in (0, -1, float("nan"), 1e-5, 1e6):
        with pytest.raises(UsageError, match="frames a second"):
            write_film(tmp_path / "x.mp4", frames, fps=fps)
    with pytest.raises(UsageError, match="a film ends with"):
        write_film(tmp_path / "x.avi", frames, fps=10)
    with pytest.raises(ValueError, match="at least one"):
        write_film(tmp_path / "x.gif", [], fps=10)
    with pytest.raises(ValueError, match="one size"):
        write_film(tmp_path / "x.gif", [*frames, Image.new("RGB", (5, 5))], fps=10)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(frames: list[Image.Image], tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists already"):
        write_film(path, frames, fps=10)
    assert path.read_bytes() == b"old"
