from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.imaging import originals as mixing
from bigr_cli.imaging.modes import WITH_ALPHA, to_alpha, to_rgb
from bigr_cli.imaging.originals import mixed

MakeImage = Callable[..., Image.Image]

MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I;16", "I;16L", "I;16B", "I;16N", "I", "F"),
)
KEYED = (("1", 255), ("L", 7), ("RGB", (1, 2, 3)), ("I;16", 1000), ("P", 3), ("P", bytes([0, 255, 0, 128, 9])))


def filled(image: Image.Image, colour: tuple[float, float, float], weight: float = 1) -> Image.Image:
    width, height = image.size
    return mixed(image, np.broadcast_to(np.array(colour), (height, width, 3)), np.full((height, width), weight))


@pytest.mark.parametrize(("mode", "key"), [*((mode, None) for mode in MODES), *KEYED])
@settings(max_examples=8, deadline=None)
@given(width=st.integers(1, 12), height=st.integers(1, 12), seed=st.integers(0, 1 << 30), share=st.floats(0, 1))
def test_every_byte_stays_where_the_weight_is_0(
    mode: str, key: object, width: int, height: int, seed: int, share: float, make_image: MakeImage
) -> None:
    info = {"icc_profile": b"profile", "dpi": (72, 72)} | ({} if key is None else {"transparency": key})
    image = make_image(mode, (width, height), seed, **info)
    before = image.tobytes()
    random = np.random.default_rng(seed)
    weight = random.random((height, width)) * (random.random((height, width)) < share)
    result = mixed(image, random.random((height, width, 3)), weight)
    assert (result.mode, result.size, result.info) == (image.mode, image.size, image.info)
    assert image.tobytes() == before
    assert np.array_equal(np.asarray(result)[weight == 0], np.asarray(image)[weight == 0])
    if mode in ("P", "PA"):
        assert result.getpalette() == image.getpalette()
    alpha, painted = to_alpha(image), to_alpha(result)
    if alpha is None:
        assert painted is None
    elif key is None:
        assert painted is not None
        assert np.abs(painted - (alpha + weight * (1 - alpha))).max() <= 0.5 / 255 + 1e-6
    else:
        assert painted is not None
        assert (painted[weight > 0] == 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_no_weight_is_a_copy(mode: str, make_image: MakeImage) -> None:
    image = make_image(mode)
    result = filled(image, (float("nan"),) * 3, 0)
    assert result.tobytes() == image.tobytes()
    assert result is not image


@pytest.mark.parametrize("mode", MODES)
def test_full_weight_is_the_new_colour(mode: str, make_image: MakeImage) -> None:
    for colour in ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.8, 0.2, 0.4)):
        image = make_image(mode)
        if mode in ("P", "PA"):  # an entry for the colour
            palette = image.getpalette()
            image.putpalette([*(round(255 * value) for value in colour), *palette[3:]])
        result = filled(image, colour)
        wanted = np.full_like(to_rgb(result), colour)
        if mode in ("1", "L", "LA", "La", "F") or mode[0] == "I":
            wanted[:] = np.dot(colour, [19595, 38470, 7471]) / 65536
        tolerance = 0.5 if mode == "1" else 6 / 255 if mode in ("LAB", "YCbCr", "HSV") else 0.51 / 255
        assert np.abs(to_rgb(result) - wanted).max() <= tolerance
        if mode in WITH_ALPHA:
            assert (np.asarray(result)[..., -1] == 255).all()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("LAB", "YCbCr", "HSV", "RGBa", "La", "CMYK")])
def test_own_colours_change_nothing(mode: str, make_image: MakeImage) -> None:
    image = make_image(mode)
    opaque = np.asarray(image)[..., -1] == 255 if mode in WITH_ALPHA else np.ones(image.size[::-1], bool)
    result = mixed(image, to_rgb(image), np.where(opaque, 0.3, 0))
    if mode == "F":
        assert np.asarray(result) == pytest.approx(np.asarray(image), abs=1e-6)
    else:
        assert result.tobytes() == image.tobytes()


def test_half_way() -> None:
    assert filled(Image.new("L", (1, 1), 100), (1, 1, 1), 0.5).getpixel((0, 0)) == 178
    assert filled(Image.new("I;16", (1, 1), 1001), (1, 1, 1), 0.5).getpixel((0, 0)) == 33268
    assert filled(Image.new("RGBA", (1, 1), (0, 100, 200, 100)), (1, 0, 0), 0.5).getpixel((0, 0)) == (128, 50, 100, 178)
    assert filled(Image.new("RGBX", (1, 1), (0, 100, 200, 7)), (1, 0, 0), 0.5).getpixel((0, 0)) == (128, 50, 100, 7)
    assert filled(Image.new("1", (1, 1), 0), (1, 1, 1), 0.4).getpixel((0, 0)) == 0
    assert filled(Image.new("1", (1, 1), 0), (1, 1, 1), 0.5).getpixel((0, 0)) == 255
    # half of blue at half alpha: straight (0, 0, 255, 128) becomes (128, 0, 128, 192), stored multiplied by alpha
    premultiplied = filled(Image.new("RGBa", (1, 1), (0, 0, 128, 128)), (1, 0, 0), 0.5)
    assert premultiplied.getpixel((0, 0)) == (96, 0, 96, 192)


def test_grey_is_as_bright_as_pillow_makes_it() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    result = mixed(Image.new("L", (64, 64)), levels / 255, np.ones((64, 64)))
    assert result.tobytes() == Image.fromarray(levels).convert("L").tobytes()


@pytest.mark.parametrize(
    ("mode", "values"),
    [("I", [0, 255]), ("I", [0, 300]), ("I", [-7, 100_000]), ("F", [0, 1]), ("F", [2, 200]), ("F", [-1e30, 1e30])],
)
def test_values_are_scaled_back(mode: str, values: list[float]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.int32 if mode == "I" else np.float32))
    assert image.mode == mode
    result = mixed(image, np.ones((1, 2, 3)), np.array([[1, 0]]))
    high = next((top for top in (1, 255, 65535) if values[1] <= top and (mode, top) != ("I", 1)), values[1])
    assert np.asarray(result).tolist() == [[pytest.approx(high), pytest.approx(values[1])]]


def test_values_that_are_none_stay_or_are_painted_over() -> None:
    image = Image.fromarray(np.array([[np.nan, np.inf, np.nan, 0.5]], np.float32))
    result = np.asarray(mixed(image, np.ones((1, 4, 3)), np.array([[0, 0, 0.25, 1]])))
    assert np.isnan(result[0, 0])
    assert result[0, 1:].tolist() == [np.inf, 0.25, 1]


@pytest.mark.parametrize(("mode", "key"), [("1", 0), ("1", 255), ("L", 0), ("L", 255), ("I;16", 65535)])
def test_paint_is_never_the_colour_that_stands_for_transparency(mode: str, key: int, make_image: MakeImage) -> None:
    image = make_image(mode, transparency=key)
    result = filled(image, (1.0, 1.0, 1.0) if key else (0.0, 0.0, 0.0))
    alpha = to_alpha(result)
    assert alpha is not None and alpha.all()
    top = {"1": 1, "L": 255, "I;16": 65535}[mode]
    assert set(np.asarray(result).ravel().tolist()) == {min(key, top) - 1 if key else 1}


def test_paint_is_never_the_rgb_that_stands_for_transparency() -> None:
    for key, beside in (((255, 0, 0), (255, 0, 1)), ((255, 0, 255), (255, 0, 254))):
        image = Image.new("RGB", (2, 2), key)
        image.info["transparency"] = key
        result = mixed(image, np.full((2, 2, 3), key) / 255, np.array([[1, 0], [0, 0]]))
        assert result.getpixel((0, 0)) == beside
        assert result.getpixel((1, 1)) == key


def test_palettes_are_painted_with_entries_that_are_there_and_opaque() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 0, 250, 5, 5, 0, 255, 0])
    image.info["transparency"] = 0
    assert set(filled(image, (1, 0, 0)).tobytes()) == {2}
    image.info["transparency"] = bytes([0, 255, 90])
    assert set(filled(image, (1, 0, 0)).tobytes()) <= {1, 3}
    image.info["transparency"] = bytes([0, 0, 90, 90])
    assert set(filled(image, (0, 1, 0)).tobytes()) == {3}
    assert set(filled(Image.new("P", (2, 2)), (1, 1, 1)).tobytes()) == {0}


def test_blocks_fit_together(monkeypatch: pytest.MonkeyPatch, make_image: MakeImage) -> None:
    image, random = make_image("RGBA", (40, 30)), np.random.default_rng(1)
    rgb, weight = random.random((30, 40, 3)), random.random((30, 40)).round()
    whole = mixed(image, rgb, weight)
    monkeypatch.setattr(mixing, "_BLOCK", 17)
    assert mixed(image, rgb, weight).tobytes() == whole.tobytes()


def test_what_does_not_fit_is_refused() -> None:
    image = Image.new("RGB", (4, 3))
    with pytest.raises(ValueError, match=r"expected shapes \(h, w, 3\) and \(h, w\), got \(4, 3, 3\)"):
        mixed(image, np.zeros((4, 3, 3)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"got \(3, 4, 3\), \(4, 3\)"):
        mixed(image, np.zeros((3, 4, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="lies outside 4 × 3 pixels"):
        mixed(image, np.zeros((3, 4, 3)), np.zeros((3, 4)), (1, 0))
    with pytest.raises(ValueError, match="finite"):
        filled(image, (float("nan"), 0, 0), 0.5)
