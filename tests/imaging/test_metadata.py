import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.files import KINDS, encode_image, write_image
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.recipe import Recipe

RECIPE = Recipe(
    task="generate",
    model="tiny",
    labels=('a "quoted" Kätzchen 猫 \\ <b>',),
    seed=7,
    sampling=SamplingConfig(),
    device="cpu",
    dtype="float32",
)


WITH_ROOM = [suffix for suffix in KINDS if suffix != ".bmp"]  # for any text


@pytest.mark.parametrize("suffix", WITH_ROOM)
def test_recipes_survive_every_kind_of_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_image(path, Image.new("RGB", (8, 8), "red"), recipe=RECIPE)
    assert read_metadata(path) == RECIPE


@pytest.mark.parametrize("suffix", WITH_ROOM)
def test_long_recipes_too(suffix: str, tmp_path: Path) -> None:
    long = replace(RECIPE, labels=tuple(f"label number {index}" for index in range(1000)))
    path = tmp_path / f"x{suffix}"
    write_image(path, Image.new("RGB", (8, 8), "red"), recipe=long)
    assert read_metadata(path) == long


@pytest.mark.parametrize("suffix", KINDS)
def test_no_recipe_is_said(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_image(path, Image.new("RGB", (8, 8), "red"))
    with pytest.raises(UsageError, match="holds no recipe"):
        read_metadata(path)


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_a_recipe_of_old_is_not_carried_over(kind: str, tmp_path: Path) -> None:
    once = Image.open(io.BytesIO(encode_image(Image.new("RGB", (8, 8)), kind, RECIPE)))
    for other in sorted(set(KINDS.values())):
        assert b"Quoted" not in encode_image(once, other)
        assert b"generate" not in encode_image(once, other)


def test_a_chunk_after_the_pixels_is_found(tmp_path: Path) -> None:
    data = encode_image(Image.new("RGB", (8, 8)), "PNG", RECIPE)
    start = data.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    ending = data.index(b"IEND") - 4
    path = tmp_path / "x.png"
    path.write_bytes(data[:start] + data[end:ending] + data[start:end] + data[ending:])
    assert read_metadata(path) == RECIPE


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(" \n" + RECIPE.to_json())
    assert read_metadata(path) == RECIPE
    path.write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        read_metadata(path)


def test_other_programs_metadata_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    info = PngInfo()
    info.add_text("parameters", "a cat")
    info.add_text("bigr", "a cat")
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    with pytest.raises(UsageError, match="holds no recipe"):
        read_metadata(path)
    exif = Image.Exif()
    exif[0x010E] = '{"Model": "X100"}'
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0{\0}\0"
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=exif)
    with pytest.raises(UsageError, match="holds no recipe"):
        read_metadata(tmp_path / "x.jpg")


def test_what_is_no_image(tmp_path: Path) -> None:
    for name, data in (("empty.png", b""), ("text.txt", b"hello"), ("cut.png", b"\x89PNG\r\n\x1a\n\0\0")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=r"is (not an image|empty)"):
            read_metadata(tmp_path / name)
    with pytest.raises(ImageError, match=r"cannot be read|is a folder"):
        read_metadata(tmp_path / "missing.png")
    with pytest.raises(ImageError, match=r"cannot be read|is a folder"):
        read_metadata(tmp_path)


@given(kind=st.sampled_from(sorted(set(KINDS.values()))), data=st.data())
def test_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    whole = bytearray(encode_image(Image.new("RGB", (8, 8), "red"), kind, RECIPE))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"  # in one place: no fixture starts afresh for every example
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(ImageError, UsageError):
        assert isinstance(read_metadata(path), Recipe)
