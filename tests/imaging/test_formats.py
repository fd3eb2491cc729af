import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bigr_cli.imaging.files import default_suffix, storable
from bigr_cli.imaging.modes import has_transparency, to_alpha, to_rgb

MakeImage = Callable[..., Image.Image]

MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I;16", "I;16L", "I;16B", "I;16N", "I", "F"),
)
SAVING = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 100, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "GIF": {},
    "BMP": {},
}
# What comes back from the file in the same mode, with the same bytes.
EXACT = {
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"},
    "WEBP": {"RGB", "RGBA"},
    # compressed, so YCbCr comes back as RGB, and I;16B as I;16
    "TIFF": {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"},
    "BMP": {"1", "L", "P", "RGB"},
    "JPEG": set[str](),
    "GIF": set[str](),
}
# What is converted, and to what.
CONVERTED = {
    "PNG": {"La": "LA", "PA": "RGBA", "RGBa": "RGBA", "I;16L": "I;16", "I;16N": "I;16", "I": "I;16", "F": "L"},
    "JPEG": {"LA": "L", "La": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBa": "RGB", "I;16": "L", "F": "L"},
    "WEBP": {"1": "RGB", "L": "RGB", "LA": "RGBA", "P": "RGB", "PA": "RGBA", "I;16B": "RGB", "CMYK": "RGB"},
    "TIFF": {"La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "HSV": "RGB", "I;16N": "I;16"},
    "GIF": {"LA": "RGBA", "PA": "RGBA", "CMYK": "RGB", "I;16": "L", "F": "L"},
    "BMP": {"LA": "L", "RGBA": "RGB", "CMYK": "RGB", "I": "L"},
}


def saved(image: Image.Image, kind: str) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **SAVING[kind])
    with Image.open(io.BytesIO(buffer.getvalue())) as opened:
        opened.load()
        return opened


def over_white(image: Image.Image) -> np.ndarray:
    alpha = to_alpha(image)
    return to_rgb(image) if alpha is None else 1 + (to_rgb(image) - 1) * alpha[..., None]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SAVING)
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_holds_every_mode(mode: str, kind: str, make_image: MakeImage) -> None:
    image = make_image(mode, (16, 16))
    before = image.tobytes()
    fit = storable(image, kind)
    assert image.tobytes() == before
    back = saved(fit, kind)
    assert fit.mode == CONVERTED[kind].get(mode, fit.mode)
    if mode in EXACT[kind]:
        assert fit is image
        assert (back.mode, back.tobytes()) == (mode, before)
    if kind in ("PNG", "WEBP", "TIFF"):
        # these keep transparency, and the colours of all modes up to rounding
        assert has_transparency(back) == has_transparency(image)
        assert to_alpha(back) == pytest.approx(to_alpha(image))
        assert to_rgb(back) == pytest.approx(to_rgb(image), abs=(1.01 if mode == "YCbCr" else 0.51) / 255)
    elif kind == "BMP" or (kind == "GIF" and mode in ("1", "L", "P", "I;16", "I", "F")):
        assert to_rgb(back) == pytest.approx(over_white(image), abs=0.51 / 255)
    elif kind == "JPEG" and mode in ("1", "L", "LA", "La", "I;16", "I", "F"):
        assert np.abs(to_rgb(back) - over_white(image)).mean() < 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SAVING)
@pytest.mark.parametrize(
    ("mode", "key"),
    [("1", 255), ("L", 7), ("RGB", (9, 8, 7)), ("I;16", 1000), ("P", 3), ("P", bytes([0, 255, 0, 128]))],
)
def test_colours_that_stand_for_transparency(mode: str, key: object, kind: str, make_image: MakeImage) -> None:
    image = make_image(mode, (16, 16), transparency=key)
    if isinstance(key, tuple):
        image.paste(key, (0, 0, 4, 4))
    elif mode == "I;16":
        image.putpixel((0, 0), key)
    elif mode != "1":
        image.paste(key if isinstance(key, int) else 0, (0, 0, 4, 4))
    fit = storable(image, kind)
    back = saved(fit, kind)
    if kind == "PNG":
        assert fit is image
    if kind in ("JPEG", "BMP"):
        assert to_alpha(back) is None
        assert fit.mode == ("RGB" if mode in ("P", "RGB") else "L")
        assert to_rgb(fit) == pytest.approx(over_white(image), abs=0.51 / 255)
        return
    alpha, wanted = to_alpha(back), to_alpha(image)
    assert alpha is not None and wanted is not None
    assert alpha == pytest.approx((wanted >= 0.5).astype(float) if kind == "GIF" else wanted)
    assert to_rgb(back)[wanted > 0.5] == pytest.approx(
        to_rgb(image)[wanted > 0.5], abs=1 if kind == "GIF" and mode in ("RGB", "I;16") else 0.51 / 255
    )


def test_palettes_with_alpha_of_their_own(make_image: MakeImage) -> None:
    image = make_image("RGBA", (16, 16)).quantize(16)
    assert has_transparency(image)
    assert storable(image, "PNG") is image
    for kind in ("TIFF", "WEBP"):
        assert to_alpha(saved(storable(image, kind), kind)) == pytest.approx(to_alpha(image))
    assert storable(image, "JPEG").mode == "RGB"


def test_gif_cuts_out() -> None:
    levels = np.zeros((16, 16, 4), np.uint8)
    levels[..., 0], levels[..., 3] = 200, np.arange(256).reshape(16, 16)
    alpha = to_alpha(saved(storable(Image.fromarray(levels), "GIF"), "GIF"))
    assert alpha == pytest.approx((levels[..., 3] >= 128).astype(float))
    clear = Image.new("RGBA", (4, 4), (1, 2, 3, 0))
    assert storable(clear, "GIF") is clear


def test_values_of_32_bits_keep_their_scale() -> None:
    dark, wide = (Image.fromarray(np.array([[0, top]], np.int32)) for top in (255, 65535))
    assert storable(dark, "PNG").mode == "L"
    assert storable(wide, "PNG").mode == "I;16"
    for image in (dark, wide, Image.fromarray(np.array([[-1000, 1_000_000]], np.int32))):
        assert to_rgb(storable(image, "PNG"))[0, :, 0].tolist() == [0, 1]
        assert to_rgb(storable(image, "JPEG"))[0, :, 0].tolist() == [0, 1]


def test_profiles_stay_where_they_fit(make_image: MakeImage) -> None:
    colour, grey, press = (bytes(16) + space + bytes(108) for space in (b"RGB ", b"GRAY", b"CMYK"))
    for mode, kind, profile, stays in (
        ("RGBA", "JPEG", colour, True),
        ("P", "WEBP", colour, True),
        ("CMYK", "TIFF", press, True),
        ("CMYK", "PNG", press, False),
        ("LA", "JPEG", grey, True),
        ("L", "WEBP", grey, False),
        ("RGB", "PNG", b"damaged", True),
        ("RGBA", "JPEG", b"damaged", False),
    ):
        image = make_image(mode, icc_profile=profile, dpi=(72, 72))
        fit = storable(image, kind)
        assert ("icc_profile" in fit.info) == stays
        assert fit.info["dpi"] == (72, 72)
        assert image.info["icc_profile"] == profile


def test_suffixes_that_lose_nothing() -> None:
    suffixes = {mode: default_suffix(mode) for mode in MODES}
    held = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"}
    assert {mode for mode, suffix in suffixes.items() if suffix == ".png"} == held
    assert set(suffixes.values()) == {".png", ".tif"}


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of PNG, JPEG, WEBP, TIFF, GIF, BMP, got 'EPS'"):
        storable(Image.new("L", (1, 1)), "EPS")
