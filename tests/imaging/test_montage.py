import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.imaging.metadata import read_comment, read_metadata
from bigr_cli.imaging.montage import (
    SamplingFilm,
    encode_animation,
    grid,
    square_columns,
    strip,
    veiled,
    write_animation,
    write_film,
)
from bigr_cli.recipe import Recipe

COLOURS = ["red", "green", "blue", "black", "yellow"]


def several(count: int, size: tuple[int, int] = (4, 3)) -> list[Image.Image]:
    return [Image.new("RGB", size, COLOURS[index % len(COLOURS)]) for index in range(count)]


def test_images_go_row_by_row_with_gaps_of_white() -> None:
    sheet = grid(several(5), columns=3, gap=2)
    assert sheet.size == (3 * 4 + 2 * 2, 2 * 3 + 2)
    assert [sheet.getpixel((x, 0)) for x in (0, 6, 12)] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert [sheet.getpixel((x, 5)) for x in (0, 6, 12)] == [(0, 0, 0), (255, 255, 0), (255, 255, 255)]
    assert sheet.getpixel((4, 0)) == sheet.getpixel((0, 3)) == (255, 255, 255)


@given(st.integers(1, 40), st.none() | st.integers(1, 50), st.integers(0, 5))
def test_every_image_is_there_once(count: int, columns: int | None, gap: int) -> None:
    sheet = grid([Image.new("RGB", (2, 2), "black")] * count, columns=columns, gap=gap)
    black = sum(pixels for pixels, colour in sheet.getcolors(1 << 20) if colour == (0, 0, 0))
    assert black == 4 * count


@given(st.integers(1, 500))
def test_sheets_are_about_square_and_nearly_full(count: int) -> None:
    columns = square_columns(count)
    rows = -(-count // columns)
    assert rows <= columns <= max(2, 3 * rows)
    assert columns * rows - count <= (-count % rows if rows < columns else columns)
    assert [square_columns(number) for number in (1, 2, 3, 5, 8, 10, 16)] == [1, 2, 3, 3, 4, 5, 4]


def test_rows_and_columns_are_no_larger_than_their_images() -> None:
    sizes = [(40, 10), (10, 30), (20, 10), (10, 10)]
    sheet = grid([Image.new("RGB", size, "black") for size in sizes], columns=2, gap=0)
    assert sheet.size == (50, 40)
    assert sheet.getpixel((9, 35)) == (255, 255, 255) and sheet.getpixel((10, 35)) == (0, 0, 0)  # in its middle


def test_labels_are_wrapped_and_nothing_of_them_is_lost() -> None:
    plain = grid(several(2, (40, 40)), columns=2)
    short, longer, word = (
        grid(several(2, (40, 40)), columns=2, labels=["a", label])
        for label in ("b", "a label that is much too long", "house-0012.png")
    )
    assert short.height < word.height < longer.height
    edge = longer.crop((longer.width - 1, 41, longer.width, longer.height))
    assert edge.convert("L").getextrema()[0] > 100  # no letter is cut off
    labelled = longer
    assert labelled.width == plain.width
    assert labelled.height > plain.height
    assert labelled.crop((0, 0, *plain.size)).tobytes() == plain.tobytes()
    assert labelled.crop((0, 41, labelled.width, labelled.height)).convert("L").getextrema()[0] < 100


def test_what_makes_no_sheet_is_refused() -> None:
    for images, columns, labels in (([], 1, None), (several(1), 0, None), (several(2), 1, ["a"])):
        with pytest.raises(ValueError, match="expected"):
            grid(images, columns=columns, labels=labels)


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


LEVELS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 240), (20, 20, 20))


@pytest.fixture
def frames() -> list[Image.Image]:
    return [Image.new("RGB", (21, 17), colour) for colour in LEVELS]


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(task="interpolate", model="tiny", seed=3, sampling=SamplingConfig(), device="cpu", dtype="float32")


def test_a_strip_is_one_row(frames: list[Image.Image]) -> None:
    assert strip(frames).size == (5 * 21, 17)
    assert strip(frames, gap=2).size == (5 * 23 - 2, 17)
    assert strip(frames).getpixel((25, 3)) == LEVELS[1]


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
        for index, colour in enumerate(LEVELS):
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
    for pixels, colour in zip(shown, LEVELS, strict=True):
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


def test_masked_tokens_are_greyed_and_the_others_left() -> None:
    image = Image.new("RGB", (4, 4), (200, 0, 100))
    masked = np.array([[True, False], [False, False]])
    pixels = np.asarray(veiled(image, masked)).astype(int)
    assert (pixels[:2, :2] == [142, 102, 122]).all()
    assert (pixels[2:] == [200, 0, 100]).all()
    assert (pixels[:2, 2:] == [200, 0, 100]).all()


def test_film_has_a_frame_per_iteration_whatever_the_order_of_batches() -> None:
    film, clear = SamplingFilm(), np.zeros((2, 2), dtype=bool)
    for index in (1, 0):
        for iteration in range(3):
            film.add(iteration, index, Image.new("RGB", (16, 16), (index * 50, iteration * 50, 0)), clear)
    frames, durations = film.frames()
    assert [frame.size for frame in frames] == [(34 * 16, 16 * 16)] * 3
    assert [frame.getpixel((0, 0)) for frame in frames] == [(0, 0, 0), (0, 50, 0), (0, 100, 0)]
    assert [frame.getpixel((543, 0)) for frame in frames] == [(50, 0, 0), (50, 50, 0), (50, 100, 0)]
    assert len(durations) == 3
    assert durations[-1] > durations[0]


def test_nothing_added_is_no_film() -> None:
    assert SamplingFilm().frames()[0] == []


def test_large_images_are_not_enlarged() -> None:
    film = SamplingFilm()
    film.add(0, 0, Image.new("RGB", (300, 300)), np.ones((2, 2), dtype=bool))
    assert film.frames()[0][0].size == (300, 300)
