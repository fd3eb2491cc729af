import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from bigr_cli.data.images import MAX_PIXELS, read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.originals import Original

MakeImage = Callable[..., Image.Image]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, kind: int, pixels: bytes, *chunks: bytes) -> bytes:
    """One row of pixels, whatever the header says."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(b"\0" + pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_what_is_stored_is_kept(make_image: MakeImage, tmp_path: Path) -> None:
    image = make_image("P")
    (tmp_path / "x.png").write_bytes(encoded(image, transparency=3, icc_profile=b"profile", dpi=(72, 96), title="no"))
    original = read_image(tmp_path / "x.png")
    assert (original.mode, original.size, original.kind) == ("P", (7, 5), "PNG")
    assert original.name == str(tmp_path / "x.png")
    assert original.image.tobytes() == image.tobytes()
    assert original.image.info["icc_profile"] == b"profile"
    assert original.image.info["transparency"] == 3
    assert original.image.info["dpi"] == pytest.approx((72, 96), abs=0.1)
    assert len(original.image.info) == 3
    assert type(original.image) is Image.Image
    for name, expected in (("cat", "cat"), (None, "stdin")):
        assert read_image(encoded(image), name).name == expected


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "TIFF") for mode in ("PA", "CMYK", "YCbCr", "LAB", "I;16B", "I", "F")),
    ],
)
def test_modes_are_kept(mode: str, kind: str, make_image: MakeImage) -> None:
    image = make_image(mode)
    original = read_image(encoded(image, kind))
    assert (original.mode, original.kind) == (mode, kind)
    assert original.image.tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[16:, 32:] = (255, 0, 0), (0, 0, 255)
    turn = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM},
        **{5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    image = Image.fromarray(upright)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(image.transpose(turn) if turn is not None else image, kind, exif=exif, dpi=(72, 144))
    original = read_image(data)
    assert original.size == (48, 32)
    assert np.abs(original.rgb() - upright / 255).mean() < 0.03
    assert "exif" not in original.image.info
    if kind in ("JPEG", "PNG"):
        assert original.image.info["dpi"] == pytest.approx((144, 72) if orientation > 4 else (72, 144), abs=0.1)


def test_damaged_orientation_does_no_harm() -> None:
    image = Image.new("RGB", (4, 2))
    for damaged in (
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02",
    ):
        for kind in ("JPEG", "PNG", "WEBP"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert read_image(encoded(image, kind, exif=damaged)).size == (4, 2)
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = value
        assert read_image(encoded(image, "JPEG", exif=exif)).size == (4, 2)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    original = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert original.rgb()[0, 0].tolist() == [1, 0, 0]


def test_a_camera_file_of_several_images_is_a_jpeg() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    assert read_image(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])).kind == "JPEG"


@pytest.mark.parametrize(
    ("depth", "pixels", "key"), [(1, b"\x40", 1), (2, b"\x1b", 1), (4, b"\x4a", 10), (8, b"\5\6", 6)]
)
def test_the_grey_that_stands_for_transparency(depth: int, pixels: bytes, key: int) -> None:
    width = {1: 8, 2: 4}.get(depth, 2)
    original = read_image(png(width, 1, depth, 0, pixels, chunk(b"tRNS", struct.pack(">H", key))))
    alpha = original.alpha()
    assert alpha is not None
    assert alpha[0].tolist() == [1, 0] + [1] * (width - 2)
    again = read_image(encoded(original.image)).alpha()
    assert again is not None
    assert again[0].tolist() == alpha[0].tolist()


def test_colours_of_16_bits_become_8() -> None:
    wide = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0, 0)
    original = read_image(png(2, 1, 16, 2, wide, chunk(b"tRNS", wide[:6])))
    assert original.mode == "RGB"
    assert original.image.getpixel((0, 0)) == (0x12, 0x56, 0x9A)
    alpha = original.alpha()
    assert alpha is not None
    assert alpha[0].tolist() == [0, 1]


@pytest.mark.parametrize("dpi", [(0, 0), (-1, 72), (1e300, 1e300)])
def test_densities_that_no_file_could_hold_are_left_out(dpi: tuple[float, float]) -> None:
    image = Image.new("L", (1, 1))
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = (max(0.0, min(number, 4e9)) for number in dpi)
    exif[ExifTags.Base.ResolutionUnit] = 2
    original = read_image(encoded(image, "TIFF", tiffinfo=exif))
    assert "dpi" not in original.image.info
    encoded(original.image, "PNG", **original.image.info)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "stdin: is empty"),
        (b"hello\nworld\n", "stdin: is not an image of a kind that can be read"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not an image of a kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "is not an image of a kind"),
        (b"\x89PNG\r\n\x1a\n", "is not an image"),
        (b"\xff\xd8\xff", "is not an image"),
    ],
)
def test_what_is_no_image(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(data)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message.replace("stdin", "x.png")) as raised:
        read_image(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "is a folder, not a file"),
        (tmp_path / "missing.png", "cannot be read: No such file"),
        (tmp_path / "a\0b.png", "null"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(ImageError, match=message):
            read_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_forbidden_files(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch(mode=0)
    with pytest.raises(ImageError, match="Permission denied"):
        read_image(tmp_path / "x.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_files(kind: str, make_image: MakeImage) -> None:
    data = encoded(make_image("RGB", (32, 32)), kind)
    for length in (*range(0, 40, 3), *np.linspace(40, len(data) * 3 // 4, 25).astype(int)):
        with pytest.raises(ImageError) as raised:
            read_image(data[:length])
        assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("error")
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "MPO"]), data=st.data())
def test_damaged_files_are_images_or_errors(kind: str, data: st.DataObject) -> None:
    intact = bytearray(encoded(Image.radial_gradient("L").resize((16, 16)).convert("RGB"), kind))
    places = st.tuples(st.integers(0, len(intact) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=8)):
        intact[place] = value
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    try:
        read_image(bytes(intact)).rgb()
    except ImageError as error:
        assert "\n" not in str(error)
    assert Image.MAX_IMAGE_PIXELS == limit
    assert warnings.filters == filters


@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF"]),
    rest=st.binary(),
)
def test_random_bytes_are_no_images(start: bytes, rest: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(start + rest)


BOMBS = {
    "PNG": png(20_000, 20_000, 8, 2, b""),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"!\xf9\x04\x08\0\0\0\0"
    b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;",
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs(kind: str) -> None:
    before = Image.MAX_IMAGE_PIXELS
    pixels = {"PNG": "400,000,000", "GIF": "4,294,836,225", "BMP": "900,000,000"}[kind]
    with pytest.raises(ImageError, match=f"stdin: has {pixels} pixels, but at most {MAX_PIXELS:,} are read") as raised:
        read_image(BOMBS[kind])
    assert raised.value.hint == "BIGR_MAX_PIXELS sets another limit"
    assert Image.MAX_IMAGE_PIXELS == before


@pytest.mark.filterwarnings("error")
def test_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (10, 10)))
    monkeypatch.setenv("BIGR_MAX_PIXELS", "100")
    assert read_image(data).size == (10, 10)
    for limit in ("99", "49", "1"):
        monkeypatch.setenv("BIGR_MAX_PIXELS", limit)
        with pytest.raises(ImageError, match=f"has 100 pixels, but at most {limit} are read"):
            read_image(data)
    for wrong in ("0", "-1", "many", "1e9", "1.5"):
        monkeypatch.setenv("BIGR_MAX_PIXELS", wrong)
        with pytest.raises(UsageError, match="BIGR_MAX_PIXELS: expected a number of pixels"):
            read_image(data)
    monkeypatch.setenv("BIGR_MAX_PIXELS", "")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # somebody else's limit
    assert read_image(data).size == (10, 10)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_changed_keeps_the_rest(make_image: MakeImage) -> None:
    original = Original(make_image("RGBA"))
    weight = np.zeros((5, 7))
    weight[2, 3] = 1
    changed = original.changed(np.ones((5, 7, 3)), weight)
    assert changed.getpixel((3, 2)) == (255, 255, 255, 255)
    differs = (np.asarray(changed) != np.asarray(original.image)).any(axis=2)
    assert not differs[weight == 0].any()
