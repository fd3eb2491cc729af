import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.imaging.grids import grid, square_columns

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
