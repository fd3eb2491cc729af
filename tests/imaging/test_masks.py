from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging import masks
from bigr_cli.imaging.masks import MaskRequest, parse_box, read_mask
from bigr_cli.imaging.originals import Original

GREY = np.array([[0, 51, 102, 255]], np.uint8)


@pytest.fixture
def original() -> Original:
    return Original(Image.new("RGB", (4, 1)), name="cat.png")


def mask_of(image: Image.Image, original: Original, folder: Path, **options: object) -> np.ndarray:
    path = folder / ("m.tif" if image.mode in ("F", "I", "CMYK") else "m.png")
    image.save(path)
    return read_mask(MaskRequest(path=path, **options), original)


def disc(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilation by its definition."""
    grown = mask.copy()
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
            grown[y, x] = mask[(rows - y) ** 2 + (columns - x) ** 2 <= radius * radius].max()
    return grown


def test_white_is_repainted(original: Original, tmp_path: Path) -> None:
    mask = mask_of(Image.fromarray(GREY), original, tmp_path)
    assert mask.dtype == np.float32
    assert mask[0].tolist() == pytest.approx([0, 0.2, 0.4, 1])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_masks_of_any_mode(mode: str, original: Original, tmp_path: Path) -> None:
    hard = np.array([[0, 255, 0, 255]], np.uint8)
    image = Image.fromarray(hard).convert("RGB" if mode == "CMYK" else "L").convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(hard.astype(np.uint16) * 257)
    assert image.mode == mode
    assert mask_of(image, original, tmp_path)[0].tolist() == [0, 1, 0, 1]


def test_colours_are_repainted_in_full(original: Original, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colours = np.array([[[255, 0, 0], [64, 0, 0], [9, 5, 9], [255, 255, 255]]], np.uint8)
    assert mask_of(Image.fromarray(colours), original, tmp_path)[0].tolist() == [1, 1, 0, 1]
    assert "m.png: a mask with colours: all that is not nearly black is repainted in full (75% of it)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize("clear", [(0, 0, 0), (255, 255, 255), None])
def test_alpha_is_the_mask_where_it_alone_has_the_shape(
    colour: tuple[int, ...], clear: tuple[int, ...] | None, original: Original, tmp_path: Path
) -> None:
    levels = np.empty((1, 4, 4), np.uint8)
    levels[..., :3], levels[..., 3] = colour, GREY
    levels[0, 0, :3] = clear or colour
    assert mask_of(Image.fromarray(levels), original, tmp_path)[0].tolist() == pytest.approx([0, 0.2, 0.4, 1])
    rounded = Image.fromarray(levels).convert("RGBa").convert("RGBA")
    assert mask_of(rounded, original, tmp_path)[0].tolist() == pytest.approx([0, 0.2, 0.4, 1])


def test_transparent_parts_of_a_mask_are_black(original: Original, tmp_path: Path) -> None:
    levels = np.array([[[255] * 4, [255, 255, 255, 0], [0, 0, 0, 255], [255, 255, 255, 51]]], np.uint8)
    assert mask_of(Image.fromarray(levels), original, tmp_path)[0].tolist() == pytest.approx([1, 0, 0, 0.2])
    assert mask_of(Image.new("RGBA", (4, 1), (255, 255, 255, 0)), original, tmp_path).max() == 0
    assert mask_of(Image.new("RGBA", (4, 1), (0, 0, 0, 255)), original, tmp_path).max() == 0


def test_size_must_fit_or_be_made_to(original: Original, tmp_path: Path) -> None:
    hard = Image.fromarray(np.array([[0, 255]], np.uint8))
    with pytest.raises(ImageError, match=r"m\.png: the mask has 2×1 pixels, the image cat\.png has 4×1") as raised:
        mask_of(hard, original, tmp_path)
    assert raised.value.hint == "--mask-resize scales the mask"
    assert mask_of(hard, original, tmp_path, resize=True)[0].tolist() == [0, 0, 1, 1]
    soft = mask_of(Image.fromarray(np.array([[0, 100, 255]], np.uint8)), original, tmp_path, resize=True)[0]
    assert len(set(soft.tolist())) == 4
    assert np.all((soft >= 0) & (soft <= 1))
    assert mask_of(Image.new("L", (9, 9), 255), original, tmp_path, resize=True).min() == 1


def test_transparency_of_the_image() -> None:
    levels = np.zeros((1, 4, 4), np.uint8)
    levels[..., 3] = GREY
    mask = read_mask(MaskRequest(alpha=True), Original(Image.fromarray(levels)))
    assert mask[0].tolist() == pytest.approx([1, 0.8, 0.6, 0])
    with pytest.raises(ImageError, match=r"cat\.png: has no transparency that --mask-alpha could go by"):
        read_mask(MaskRequest(alpha=True), Original(Image.new("RGB", (4, 1)), name="cat.png"))


def test_masks_add_up_then_are_inverted_then_grown(tmp_path: Path) -> None:
    levels = np.zeros((1, 8, 4), np.uint8)
    levels[..., 3] = 255
    levels[0, 7, 3] = 0
    make_image = np.zeros((1, 8), np.uint8)
    make_image[0, 2], make_image[0, 4] = 102, 51
    original = Original(Image.fromarray(levels))
    together = {"boxes": ("0,0,1,1", "4,0,1,1"), "alpha": True}
    mask = mask_of(Image.fromarray(make_image), original, tmp_path, **together)
    assert mask[0].tolist() == pytest.approx([1, 0, 0.4, 0, 1, 0, 0, 1])
    mask = mask_of(Image.fromarray(make_image), original, tmp_path, invert=True, **together)
    assert mask[0].tolist() == pytest.approx([0, 1, 0.6, 1, 0, 1, 1, 0])
    mask = mask_of(Image.fromarray(make_image), original, tmp_path, invert=True, grow=1, boxes=("0,0,5,1",))
    assert mask[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_nothing_given_is_nothing(original: Original, tmp_path: Path) -> None:
    assert not MaskRequest(invert=True, grow=3, resize=True).given
    assert MaskRequest(alpha=True).given and MaskRequest(boxes=("",)).given and MaskRequest(path=tmp_path).given
    assert read_mask(MaskRequest(), original).tolist() == [[0, 0, 0, 0]]
    assert read_mask(MaskRequest(invert=True), original).tolist() == [[1, 1, 1, 1]]


@given(
    width=st.integers(1, 14),
    height=st.integers(1, 14),
    radius=st.integers(0, 30),
    levels=st.sampled_from([2, 5, 256]),
    seed=st.integers(0, 1 << 30),
)
def test_growing_is_the_greatest_within_a_disc(width: int, height: int, radius: int, levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, levels, (height, width)) * (random.random((height, width)) < 0.3)
    mask = (values / (levels - 1)).astype(np.float32)
    assert np.array_equal(masks.grown(mask, radius), disc(mask, radius))


def test_both_ways_of_growing_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = np.random.default_rng(0).random((40, 50)).astype(np.float32) ** 20
    hard = (soft > 0.5).astype(np.float32)
    grown = {}
    for cost in (0, 1e9):
        monkeypatch.setattr(masks, "_DILATION", cost)
        grown[cost] = masks.grown(hard, 5), masks.grown(soft, 5)
    assert np.array_equal(grown[0][0], grown[1e9][0])
    assert grown[0][1] == pytest.approx(grown[1e9][1], abs=1 / 255)  # of many levels 255 are kept


def test_growing_beyond_the_image(original: Original) -> None:
    request = MaskRequest(boxes=("0,0,1,1",), grow=10**12)
    assert read_mask(request, original).min() == 1
    assert read_mask(MaskRequest(grow=10**12), original).max() == 0
    with pytest.raises(UsageError, match="--mask-grow: expected 0 pixels or more, got -1"):
        read_mask(MaskRequest(grow=-1), original)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("10,20,30,40", (10, 20, 40, 60)),
        (" 10 , 20 ,30, 40 ", (10, 20, 40, 60)),
        ("0,0,100%,100%", (0, 0, 200, 100)),
        ("25%,10%,50%,20", (50, 10, 150, 30)),
        ("10%,0,20%,1", (20, 0, 60, 1)),
        ("0.5,0,1,1", (0, 0, 2, 1)),
        (".5%, 0, 1.%, 1", (1, 0, 3, 1)),
        ("199,99,5000,999999999999", (199, 99, 200, 100)),
        ("199.5,99,1,1", (199, 99, 200, 100)),
        ("99.9%,0,0.0001%,1", (199, 0, 200, 1)),
    ],
)
def test_boxes(text: str, box: tuple[int, int, int, int]) -> None:
    assert parse_box(text, 200, 100) == box


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "expected four numbers") for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,nan", "inf,0,1,1")),
        *((text, "expected four numbers") for text in ("1e999,0,1,1", "-1,0,1,1", "0,0,1,-1", "1 2,0,1,1", "%,0,1,1")),
        *(
            (text, "expected four numbers")
            for text in ("9" * 5000 + ",0,1,1", "١,0,1,1", "0,0,1%%,1", "1,,2,3", ".,0,1,1")
        ),
        *((text, "has no size") for text in ("0,0,0,5", "0,0,5,0%", "500,0,0,1")),
        *((text, "lies outside") for text in ("200,0,1,1", "0,100,1,1", "100%,0,10%,1")),
    ],
)
def test_what_is_no_box(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_box(text, 200, 100)
    assert "10,20,64,48" in str(raised.value.hint)


@given(
    numbers=st.lists(st.integers(0, 30), min_size=4, max_size=4), width=st.integers(1, 20), height=st.integers(1, 20)
)
def test_boxes_lie_in_the_image(numbers: list[int], width: int, height: int) -> None:
    try:
        x0, y0, x1, y1 = parse_box(",".join(map(str, numbers)), width, height)
    except UsageError:
        assert 0 in numbers[2:] or numbers[0] >= width or numbers[1] >= height
    else:
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert (x0, y0) == tuple(numbers[:2])


@given(text=st.text(max_size=30))
def test_any_text_is_a_box_or_an_error(text: str) -> None:
    try:
        parse_box(text, 10, 10)
    except UsageError as error:
        assert "\n" not in str(error)


def test_images_that_are_none(original: Original, tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"no image")
    for name in ("m.png", "missing.png"):
        with pytest.raises(ImageError, match=name):
            read_mask(MaskRequest(path=tmp_path / name), original)
