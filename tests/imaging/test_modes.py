from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bigr_cli.imaging.modes import to_alpha, to_rgb

MakeImage = Callable[..., Image.Image]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_colours_are_those_that_pillow_shows(mode: str, make_image: MakeImage) -> None:
    image = make_image(mode, (16, 16))
    straight = image.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode))
    rgb = to_rgb(image)
    assert rgb.dtype == np.float32
    assert rgb * 255 == pytest.approx(np.asarray(straight.convert("RGB")), abs=1e-3)
    alpha = to_alpha(image)
    assert (alpha is not None) == (mode[-1] in "aA" and mode != "LAB")
    if alpha is not None:
        assert alpha * 255 == pytest.approx(np.asarray(straight)[..., -1], abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_transparent_pixels_show_their_colour(make_image: MakeImage) -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 51, 0))
    assert to_rgb(clear)[0, 0].tolist() == pytest.approx([1, 0, 0.2])
    assert to_alpha(clear) == pytest.approx(np.zeros((2, 2)))
    for mode in ("P", "PA"):
        image = make_image(mode)
        index = np.asarray(image)[..., 0] if mode == "PA" else np.asarray(image)
        wanted = np.array(image.getpalette("RGB")).reshape(-1, 3)[index]
        if mode == "P":
            assert to_alpha(image) is None
            image.info["transparency"] = bytes([0, 128])
            assert to_alpha(image) == pytest.approx(np.array([0, 128 / 255] + [1] * 14)[index])
        assert to_rgb(image) * 255 == pytest.approx(wanted)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_grey_of_16_bits(mode: str, make_image: MakeImage) -> None:
    image = make_image(mode)
    assert to_rgb(image)[..., 1] * 65535 == pytest.approx(np.asarray(image).astype(float), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 51, 255], np.int32, [0, 0.2, 1]),
        ([0, 1, 1], np.int32, [0, 1 / 255, 1 / 255]),
        ([0, 13107, 65535], np.int32, [0, 0.2, 1]),
        ([-100, 0, 100], np.int32, [0, 0.5, 1]),
        ([0, 0.25, 1], np.float32, [0, 0.25, 1]),
        ([0, 51, 200], np.float32, [0, 0.2, 200 / 255]),
        ([0, 13107, 256], np.float32, [0, 0.2, 256 / 65535]),
        ([-1, 0, 3], np.float32, [0, 0.25, 1]),
        ([-3.4e38, 0, 3.4e38], np.float32, [0, 0.5, 1]),
        ([-5, -5, -5], np.float32, [0, 0, 0]),
        ([np.nan, np.inf, 1], np.float32, [0, 0, 1]),
        ([np.nan, -np.inf, np.inf], np.float32, [0, 0, 0]),
    ],
)
def test_scale_of_values_of_32_bits(values: list[float], kind: type, expected: list[float]) -> None:
    rgb = to_rgb(Image.fromarray(np.array([values], kind)))
    assert rgb[0, :, 0].tolist() == pytest.approx(expected)
