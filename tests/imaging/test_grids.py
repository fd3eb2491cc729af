import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.imaging.grids import grid, square_columns

COLOURS = ["red", "green", "blue", "black", "yellow"]


def pictures(count: int, size: tuple[int, int] = (4, 3)) -> list[Image.Image]:
    return [Image.new("RGB", size, COLOURS[index % len(COLOURS)]) for index in range(count)]


def test_pictures_go_row_by_row_with_gaps_of_white() -> None:
    sheet = grid(pictures(5), columns=3, gap=2)
    assert sheet.size == (3 * 4 + 2 * 2, 2 * 3 + 2)
    assert [sheet.getpixel((x, 0)) for x in (0, 6, 12)] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert [sheet.getpixel((x, 5)) for x in (0, 6, 12)] == [(0, 0, 0), (255, 255, 0), (255, 255, 255)]
    assert sheet.getpixel((4, 0)) == sheet.getpixel((0, 3)) == (255, 255, 255)


@given(st.integers(1, 40), st.none() | st.integers(1, 50), st.integers(0, 5))
def test_every_picture_is_there_once(count: int, columns: int | None, gap: int) -> None:
    sheet = grid([Image.new("RGB", (2, 2), "black")] * count, columns=columns, gap=gap)
    black = sum(pixels for pixels, colour in sheet.getcolors(1 << 20) if colour == (0, 0, 0))
    assert black == 4 * count


@given(st.integers(1, 500))
def test_squares_are_square(count: int) -> None:
    columns = square_columns(count)
    assert (columns - 1) ** 2 < count <= columns**2


def test_labels_stand_below_and_are_cut_off() -> None:
    plain = grid(pictures(2, (40, 40)), columns=2)
    labelled = grid(pictures(2, (40, 40)), columns=2, labels=["a", "a label that is much too long"])
    assert labelled.width == plain.width
    assert labelled.height > plain.height
    assert labelled.crop((0, 0, *plain.size)).tobytes() == plain.tobytes()
    assert labelled.crop((0, 41, labelled.width, labelled.height)).convert("L").getextrema()[0] < 100


def test_what_makes_no_sheet_is_refused() -> None:
    for images, columns, labels in (([], 1, None), (pictures(1), 0, None), (pictures(2), 1, ["a"])):
        with pytest.raises(ValueError, match="expected"):
            grid(images, columns=columns, labels=labels)
