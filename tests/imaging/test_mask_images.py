"""Masks as programs write them: JPEG, 0 and 1, class numbers with a palette, colours, transparency."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from bigr_cli.data.images import read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.masks import MaskRequest, image_weights, mask_array, read_mask
from bigr_cli.imaging.originals import Original

SIZE = (64, 48)
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128, 64, 0, 0]


def disc(inside: int = 255, outside: int = 0) -> Image.Image:
    image = Image.new("L", SIZE, outside)
    ImageDraw.Draw(image).ellipse((16, 10, 44, 38), fill=inside)
    return image


HARD = np.asarray(disc()) > 0


def palette(inside: int) -> Image.Image:
    """Class numbers, with the colours that VOC gives them."""
    image = Image.frombytes("P", SIZE, disc(inside).tobytes())
    image.putpalette(VOC)
    return image


def drawn_on_nothing(colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste(colour, mask=disc())
    return image


def photo_with_hole() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(levels).filter(ImageFilter.GaussianBlur(1))
    image.putalpha(disc(0, 255))
    return image


def on_colours(outside: int, inside: int) -> Image.Image:
    return Image.merge("RGB", [disc(inside, outside), disc(outside, outside), disc(outside, outside)])


MASKS: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "hard.png": (disc, ""),
    "one-bit.png": (lambda: disc().convert("1"), ""),
    "floor.png": (lambda: disc(255, 1), ""),
    "ceiling.png": (lambda: disc(254, 0), ""),
    "zero-one.png": (lambda: disc(1), "holds 0 and 1 alone"),
    "zero-one-16.png": (lambda: Image.fromarray(np.asarray(disc(1)).astype(np.uint16)), "holds 0 and 1 alone"),
    "zero-one-rgb.png": (lambda: disc(1).convert("RGB"), "holds 0 and 1 alone"),
    "zero-one.tif": (lambda: Image.fromarray(np.asarray(disc(1)).astype(np.int32)), "holds 0 and 1 alone"),
    "float.tif": (lambda: Image.fromarray(np.asarray(disc(1)).astype(np.float32)), ""),
    "sixteen.png": (lambda: Image.fromarray(np.asarray(disc()).astype(np.uint16) * 257), ""),
    "voc-1.png": (lambda: palette(1), "a mask with colours"),
    "voc-8.png": (lambda: palette(8), "a mask with colours"),
    "grey-palette.png": (lambda: disc(3).convert("P"), "nearly black colours"),
    "red.png": (lambda: on_colours(0, 255), "a mask with colours"),
    "stroke.png": (lambda: drawn_on_nothing((0, 0, 0)), ""),
    "red-stroke.png": (lambda: drawn_on_nothing((255, 30, 30)), ""),
    "photo.png": (photo_with_hole, "an image with transparent parts"),
    "quality-75.jpg": (disc, ""),
}


def saved(image: Image.Image, name: str, folder: Path) -> Path:
    image.save(folder / name)
    return folder / name


@pytest.mark.parametrize("name", MASKS)
def test_masks_as_programs_write_them(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, said = MASKS[name]
    mask = read_mask(MaskRequest(path=saved(make(), name, tmp_path)), Original(Image.new("RGB", SIZE)))
    assert np.array_equal(mask, HARD.astype(np.float32))
    err = capsys.readouterr().err
    assert (said in err and name in err) if said else "warning" not in err


@pytest.mark.parametrize("alpha", [(0, 254), (1, 254), (0, 255)])
def test_nearly_opaque_is_kept(alpha: tuple[int, int]) -> None:
    image = Image.new("RGB", SIZE, (9, 99, 199))
    image.putalpha(disc(*alpha))
    assert np.array_equal(read_mask(MaskRequest(alpha=True), Original(image)), HARD)
    assert np.array_equal(read_mask(MaskRequest(alpha=True, invert=True), Original(image)), ~HARD)


def test_soft_masks_stay_soft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft = disc().filter(ImageFilter.GaussianBlur(4))
    path = saved(soft, "soft.png", tmp_path)
    mask, levels = read_mask(MaskRequest(path=path), Original(Image.new("RGB", SIZE))), np.asarray(soft) / 255
    between = (levels > 0.05) & (levels < 0.95)
    assert between.sum() > 500
    assert mask[between] == pytest.approx(levels[between], abs=1e-6)
    assert np.all(mask[levels <= 0.05] == 0) and np.all(mask[levels >= 0.95] == 1)
    assert "nearly black count as kept" in capsys.readouterr().err
    exact = read_mask(MaskRequest(path=path, threshold=0), Original(Image.new("RGB", SIZE)))
    assert exact == pytest.approx(levels, abs=1e-6)


def test_the_threshold_is_asked_for() -> None:
    image = Original(Image.fromarray(np.array([[0, 26, 51, 77, 204, 255]], np.uint8)))
    assert image_weights(image, 0.1)[0].tolist() == pytest.approx([0, 26 / 255, 0.2, 77 / 255, 0.8, 1])
    assert image_weights(image, 0.2)[0].tolist() == pytest.approx([0, 0, 0, 77 / 255, 1, 1])
    for wrong in (-0.1, 0.5, float("nan")):
        with pytest.raises(UsageError, match=r"--mask-threshold: expected from 0 to less than 0\.5"):
            image_weights(image, wrong)
        with pytest.raises(UsageError, match="--mask-threshold"):
            mask_array(np.ones((1, 6)), image, wrong)


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_jpeg_noise_is_neither_black_nor_white(quality: int) -> None:
    stream = io.BytesIO()
    disc().save(stream, "JPEG", quality=quality)
    mask = image_weights(read_image(stream.getvalue(), "m.jpg"))
    assert np.mean((mask > 0) != HARD) < (0.01 if quality < 75 else 1e-9)
    inverted = read_mask(MaskRequest(boxes=("0,0,1,1",)), Original(Image.new("RGB", SIZE)))
    assert inverted.sum() == 1


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_noise_of_other_lossy_formats_repaints_nothing(kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow without {kind}")
    stream, drawn = io.BytesIO(), disc()
    drawn.save(stream, kind, quality=75)
    mask = image_weights(read_image(stream.getvalue(), "m"))
    black = np.asarray(drawn) == 0
    assert mask[black].mean() < 0.001 and np.mean(mask[black] == 0) > 0.995 and mask[~black].mean() > 0.97


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (HARD, HARD),
        (HARD.astype(np.uint8), HARD),
        (HARD.astype(np.int64), HARD),
        (HARD.astype(np.uint8) * 255, HARD),
        (HARD.astype(np.uint16) * 65535, HARD),
        (HARD * 0.5, HARD * 0.5),
        (HARD * 255.0, HARD),
        (HARD[..., None], HARD),
        (HARD[None], HARD),
        (np.repeat(HARD[..., None], 3, axis=2).astype(np.uint8) * 255, HARD),
        (HARD.astype(np.uint8) * 128, HARD * (128 / 255)),
    ],
)
def test_arrays_follow_the_same_rule(array: np.ndarray, expected: np.ndarray) -> None:
    assert mask_array(array, Original(Image.new("RGB", SIZE))) == pytest.approx(expected.astype(np.float32), abs=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (HARD.T, "expected (48, 64), as the image, got (64, 48)"),
        (np.zeros(3), "expected an array (H, W)"),
        (np.zeros((48, 64, 5)), "expected an array (H, W)"),
        (np.full((48, 64), np.nan), "expected finite numbers"),
        (np.full((48, 64), "a"), "expected finite numbers"),
    ],
)
def test_arrays_that_are_no_masks(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError) as raised:
        mask_array(array, Original(Image.new("RGB", SIZE)))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (disc(5), "its brightest grey is 5 of 255, which counts as black"),
        (disc(15), "grey is mixed in, here by 6% on average"),
        (Image.merge("LA", [Image.linear_gradient("L").resize(SIZE), disc(255, 0)]), "its transparent parts count as"),
        (on_colours(255, 0), "a mask with colours: all that is not nearly black is repainted in full (100% of it)"),
    ],
)
def test_what_may_not_be_meant_is_warned_of_once(
    image: Image.Image, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        image_weights(Original(image, name="m.png"))
    err = capsys.readouterr().err
    assert err.count(f"warning: m.png: {said}") == 1
