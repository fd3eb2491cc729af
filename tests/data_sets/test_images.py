"""The one reader: every door gives the same numbers, nothing but images of known formats is decoded."""

import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
import zlib
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin, features

from bigr_cli.data import decoding
from bigr_cli.data import images as reader
from bigr_cli.data.decoding import FORMATS
from bigr_cli.data.images import inspect_image, read_header, read_image, read_square
from bigr_cli.data.sources import open_source
from bigr_cli.errors import ImageError
from bigr_cli.evaluation.image_sets import folder
from bigr_cli.imaging.modes import square, to_levels
from bigr_cli.imaging.originals import Original
from bigr_cli.plain_text import WHITE
from bigr_cli.representation.items import Item, read_item

SIDE = 16
_SPEC = spec_from_file_location("odd_images", Path(__file__).parents[1] / "odd_images.py")
if _SPEC is None or _SPEC.loader is None:
    pytest.fail("odd_images.py is not there")
odd = module_from_spec(_SPEC)
_SPEC.loader.exec_module(odd)
HELD, SUFFIX, encoded, levels, not_read = odd.HELD, odd.SUFFIX, odd.encoded, odd.levels, odd.not_read


def drawn() -> st.SearchStrategy[tuple[str, str, int, int, int]]:
    pairs = [(mode, kind) for mode, kinds in HELD.items() for kind in kinds]
    if not features.check("avif"):
        pairs = [pair for pair in pairs if pair[1] != "AVIF"]
    side = st.one_of(st.just(SIDE), st.integers(1, 90))
    return st.tuples(st.sampled_from(pairs), side, side, st.integers(0, 10_000)).map(lambda t: (*t[0], *t[1:]))


def compare(folder_of: Callable[[], Path], mode: str, kind: str, width: int, height: int, seed: int) -> int:
    """How many numbers differ between training, embedding, classifying, evaluating, shards and the editor's view."""
    data = encoded(levels(mode, width, height, seed), kind, seed)
    root = folder_of()
    path = root / "a" / f"x.{SUFFIX.get(kind, kind.lower())}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(data)
    with tarfile.open(root / "x.tar", "w") as tar:
        tar.add(path, path.name)
    trained = open_source(str(root / "a"), SIDE).image(0).pixels
    views = {
        "shard": open_source(str(root / "x.tar"), SIDE).image(0).pixels,
        "embed": read_item(Item(str(path)), SIDE).levels,
        "evaluate": next(iter(folder(root, resize=SIDE).batches(1)))[0].permute(1, 2, 0).numpy(),
        "interpolate": np.asarray(read_image(path).square(SIDE)),
        "bytes": read_square(data, SIDE),
    }
    whole = next(iter(folder(root).batches(1)))[0].permute(1, 2, 0).numpy()
    edited = read_image(path)
    wrong = int((whole != edited.levels()).sum()) if whole.shape == edited.levels().shape else whole.size
    wrong += int((edited.seen() != np.float32(whole) / np.float32(255)).sum())
    if edited.size == (SIDE, SIDE):
        views["inpaint"] = edited.levels()
    return wrong + sum(int((view != trained).sum()) for view in views.values())


@given(drawn())
def test_all_readers_give_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, one: tuple[str, str, int, int, int]
) -> None:
    root = tmp_path_factory.getbasetemp() / "same"
    assert compare(lambda: root, *one) == 0, one


@pytest.mark.slow
@settings(max_examples=500)
@given(drawn())
def test_all_readers_give_the_same_numbers_500_times(
    tmp_path_factory: pytest.TempPathFactory, one: tuple[str, str, int, int, int]
) -> None:
    root = tmp_path_factory.getbasetemp() / "same-500"
    assert compare(lambda: root, *one) == 0, one


@pytest.mark.parametrize(("mode", "kind"), [(mode, kind) for mode, kinds in HELD.items() for kind in kinds])
def test_every_mode_of_every_format_once(mode: str, kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for seed in (3, 4, 8):  # of which the second is stored on its side
        assert compare(lambda: tmp_path, mode, kind, 21, 34, seed) == 0


def test_grey_of_16_bits_is_the_grey_of_8() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    plain = read_image(encoded(Image.fromarray(grey), "PNG")).levels()
    wide = Image.frombytes("I;16", (30, 20), (grey.astype("<u2") * 257).tobytes())
    for kind in ("PNG", "TIFF", "PPM"):
        assert np.array_equal(read_image(encoded(wide, kind)).levels(), plain)
    assert np.array_equal(read_image(encoded(Image.fromarray(grey.astype(np.int32) * 257), "TIFF")).levels(), plain)
    unit = Image.fromarray(grey.astype(np.float32) / 255)
    assert np.array_equal(read_image(encoded(unit, "TIFF")).levels(), plain)


@pytest.mark.parametrize("ground", [WHITE, (0, 0, 0), (10, 200, 30)])
def test_transparency_is_composited_on_the_background(ground: tuple[int, int, int], tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    half = Image.new("LA", (16, 16), (100, 128))
    key = Image.new("RGB", (16, 16), (1, 2, 3))
    key.info["transparency"] = (1, 2, 3)
    expected = np.rint(np.array(ground) + (100 - np.array(ground)) * (128 / 255))
    for image, shown in ((clear, ground), (key, ground), (half, expected)):
        assert np.array_equal(to_levels(image, ground)[3, 4], shown)
        (tmp_path / "x.png").write_bytes(encoded(image, "PNG", 1))
        source = open_source(str(tmp_path), 16, background=ground)
        assert np.array_equal(source.image(0).pixels[3, 4], shown)
        assert np.array_equal(read_item(Item(str(tmp_path / "x.png")), 16, ground).levels[3, 4], shown)
    assert (
        open_source(str(tmp_path), 16).fingerprint()
        != open_source(str(tmp_path), 16, background=(0, 0, 0)).fingerprint()
    )


def test_what_is_painted_half_transparent_shows_as_it_was_painted() -> None:
    image = Image.fromarray(np.full((4, 4, 4), (200, 100, 0, 128), np.uint8))
    original = Original(image, background=WHITE)
    wanted = np.full((4, 4, 3), (0.75, 0.7, 0.6), np.float32)
    made = original.changed(wanted, np.ones((4, 4), np.float32), opaque=False)
    assert np.abs(to_levels(made) / 255 - wanted).max() < 0.01
    assert np.array_equal(np.asarray(made)[..., 3], np.asarray(image)[..., 3])
    same = original.changed(original.seen(), np.ones((4, 4), np.float32), opaque=False)
    assert np.abs(np.asarray(same).astype(int) - np.asarray(image)).max() <= 1


def test_a_square_in_strips_is_the_square_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = levels("RGB", 97, 131, 1)
    image.info.clear()
    left, top = 0, 17
    whole = np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS, box=(left, top, 97, top + 97)))
    for strip in (1, 500, 1 << 20):
        monkeypatch.setattr("bigr_cli.imaging.modes._STRIP", strip)
        assert np.array_equal(square(image, 16), whole)


def test_a_huge_jpeg_is_decoded_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    data = encoded(Image.fromarray(np.dstack([np.tile(ramp, (512, 1))] * 3)), "JPEG", 59)
    sizes = []
    spied = reader.square
    monkeypatch.setattr(
        reader, "square", lambda image, *args, **more: sizes.append(image.size) or spied(image, *args, **more)
    )
    exact = read_square(data, 32)
    monkeypatch.setattr(reader, "_DRAFT_FROM", 1000)
    small = read_square(data, 32)
    cropped = read_square(data, 32, crop=lambda size: (size[0] - 300, 100, size[0], 400), share=0.5)
    assert sizes == [(640, 512), (80, 64), (160, 128)]
    assert np.abs(exact.astype(int) - small).max() <= 2
    assert cropped[:, -1].mean() > 245 and cropped[:, 0].mean() == pytest.approx(ramp[345], abs=4)


def test_nothing_but_known_formats_is_decoded() -> None:
    for name, data in not_read().items():
        for door in (read_image, read_header, lambda data: read_square(data, 16)):
            with pytest.raises(ImageError, match="stdin: is not an image of a kind that can be read"):
                door(data)
            assert name
    assert not {"EPS", "WMF", "GRIB", "PDF"} & set(FORMATS)


def test_no_decoder_starts_a_process() -> None:
    """In a process of its own, since audit hooks stay: every door, every format, PostScript among them."""
    script = """
import sys, io
started = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.forkpty", "os.startfile"):
        started.append((event, arguments))
sys.addaudithook(hook)
import pickle
from bigr_cli.data.images import read_header, read_image, read_square
from bigr_cli.errors import BigrError
from bigr_cli.imaging.metadata import read_metadata
read = 0
for data in pickle.load(sys.stdin.buffer):
    for door in (read_image, read_header, lambda data: read_square(data, 16), read_metadata):
        try:
            door(data)
            read += 1
        except BigrError:
            pass
print(read, started)
"""
    good = [
        encoded(levels(mode, 20, 20, 1), kind, 1) for mode, kinds in HELD.items() for kind in kinds if kind != "AVIF"
    ]
    sent = pickle.dumps([*not_read().values(), *good])
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, check=True, timeout=120)
    read, _, started = done.stdout.decode().strip().partition(" ")
    assert int(read) == 3 * len(good)
    assert started == "[]"
    assert done.stderr == b""


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read_and_the_rest_is_counted(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue", "white")]
    path = tmp_path / f"x.{kind.lower()}"
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], duration=100, **options)
    for _ in range(2):
        assert read_square(path, 16)[0, 0].tolist() == [255, 0, 0]
    original = read_image(path)
    assert original.levels()[0, 0].tolist() == [255, 0, 0] and original.frames == 4
    assert capsys.readouterr().err.count(f"{path}: only the first of 4 frames is read\n") == 1


def test_a_preview_in_a_cameras_file_is_no_frame(capsys: pytest.CaptureFixture[str]) -> None:
    data = encoded(levels("RGB", 30, 20, 1), "MPO")
    assert (read_image(data).frames, read_image(data).kind, read_header(data).kind) == (1, "JPEG", "JPEG")
    assert "frames" not in capsys.readouterr().err


def png(*chunks: tuple[bytes, bytes], kind: int = 2, pixels: bytes = b"\0" + bytes(range(12))) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, kind, 0, 0, 0))
    middle = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


LARGE = zlib.compress(b"x" * 3_000_000)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + LARGE),
        (b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
        (b"iCCP", b"icc\0\0" + LARGE),
        (b"zTXt", b"Comment\0\x07" + LARGE),  # an unknown kind of compression
        (b"zTXt", b"Comment\0\0" + LARGE[:100]),
        (b"iTXt", b"\xff\xff"),
        (b"pHYs", b"\1"),
        (b"acTL", b"\0\0"),
        (b"cHRM", b"\1\2\3"),
        (b"gAMA", b""),
    ],
)
def test_the_pixels_of_a_png_file_are_read_without_its_texts(
    chunk: tuple[bytes, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(png(chunk)).levels().reshape(-1).tolist() == list(range(12))
        assert read_square(png(chunk), 1).shape == (1, 1, 3)
    assert "Traceback" not in capsys.readouterr().err


def test_a_large_text_as_pillow_writes_it_and_a_recipe_beside_it() -> None:
    from bigr_cli.imaging.metadata import embedding

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 3_000_000, zip=True)
    info.add_itxt("bigr", '{"a": 1}')
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "PNG", pnginfo=info)
    assert read_image(stream.getvalue()).levels()[0, 0].tolist() == [255, 0, 0]
    assert inspect_image(stream.getvalue(), "x", lambda image: image.info["bigr"]) == '{"a": 1}'
    assert embedding("PNG", "x")


def test_colours_without_a_palette_are_refused() -> None:
    with pytest.raises(ImageError, match="without a palette"):
        read_image(png(kind=3, pixels=b"\0" + bytes(4)))
    image = read_image(png((b"PLTE", bytes(range(12))), kind=3, pixels=b"\0\0\1\2\3"))
    assert image.levels()[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    stream = io.BytesIO()
    levels("P", 16, 16, 2).save(stream, "TIFF")
    content = bytearray(stream.getvalue())
    at = content.index(struct.pack("<H", 320))  # the tag of the colour map
    content[at : at + 2] = struct.pack("<H", 65000)
    with pytest.raises(ImageError, match="is not an image"):
        read_image(bytes(content))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["none", "eXIf", "XMP", "ImageMagick"])
def test_a_png_files_header_is_read_without_its_pixels_unless_its_orientation_follows_them(
    kind: str, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    profile = exif.tobytes()
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    texts = {
        "none": (b"tIME", bytes(7)),
        "eXIf": (b"eXIf", profile.removeprefix(b"Exif\0\0")),
        "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode()),
        "ImageMagick": (
            b"tEXt",
            f"Raw profile type exif\0\nexif\n{len(profile):8}\n{profile.hex()}\n".encode("latin-1"),
        ),
    }
    name, body = texts[kind]
    extra = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path = tmp_path / "a.png"
    Image.effect_noise((40, 20), 50).convert("RGB").save(path)
    plain = path.read_bytes()
    place = plain.index(b"IEND" if late else b"IDAT") - 4
    path.write_bytes(plain[:place] + extra + plain[place:])
    loads, load = [], PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: loads.append(1) or load(image))
    size = (40, 20) if kind == "none" else (20, 40)
    assert read_header(path).size == size
    assert bool(loads) == (late and kind != "none")
    monkeypatch.undo()
    assert read_image(path).size == size


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: is a named pipe, not a file"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"/dev/zero: is a device, not a file"):
        read_square(Path("/dev/zero"), 16)
    with pytest.raises(ImageError, match="is a folder, not a file"):
        read_header(tmp_path)


def test_a_shells_pipe_is_read() -> None:
    sent, data = os.pipe(), encoded(levels("RGB", 300, 200, 1), "PNG")

    def write() -> None:
        with os.fdopen(sent[1], "wb") as stream:
            stream.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_image(Path(f"/dev/fd/{sent[0]}")).size == (300, 200)
    finally:
        writer.join()
        os.close(sent[0])


def test_decoders_write_nothing_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = levels("RGB", 64, 64, 1)
    noise.info.clear()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4", "zstd"):
        stream = io.BytesIO()
        (noise if compression != "group4" else noise.convert("1")).save(stream, "TIFF", compression=compression)
        for seed in range(8):
            data, random = bytearray(stream.getvalue()), np.random.default_rng(seed)
            for _ in range(20):
                data[int(random.integers(8, len(data)))] = int(random.integers(0, 256))
            for door in (read_image, read_header):
                try:
                    door(bytes(data))
                except ImageError:
                    continue
    captured = capfd.readouterr().err
    if sys.platform.startswith("linux"):
        assert [line for line in captured.splitlines() if "frames is read" not in line] == []


def test_the_limit_holds_at_every_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "x.png"
    path.parent.mkdir()
    levels("RGB", 40, 40, 1).save(path)
    monkeypatch.setenv("BIGR_MAX_PIXELS", "1500")
    doors: list[Callable[[], object]] = [
        lambda: read_image(path),
        lambda: read_square(path, 16),
        lambda: read_header(path),
        lambda: open_source(str(tmp_path), 16).image(0),
        lambda: read_item(Item(str(path)), 16),
        lambda: folder(tmp_path),
        lambda: next(iter(folder(tmp_path, resize=16).batches(1))),
    ]
    for door in doors:
        with pytest.raises(ImageError, match="has 1,600 pixels, but at most 1,500 are read") as raised:
            door()
        assert "BIGR_MAX_PIXELS" in str(raised.value.hint)
    monkeypatch.setenv("BIGR_MAX_PIXELS", "300000000")
    for door in doors:
        door()


@pytest.mark.parametrize(("kind", "share"), [("JPEG2000", 4), ("AVIF", 2), ("PNG", 1)])
def test_formats_whose_decoders_take_much_memory_have_a_lower_limit_by_default(
    kind: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow without {kind}")
    buffer = io.BytesIO()
    levels("RGB", 40, 40, 1).save(buffer, kind)
    data = buffer.getvalue()
    monkeypatch.delenv("BIGR_MAX_PIXELS", raising=False)
    doors: list[Callable[[], object]] = [
        lambda: read_image(data, "x"),
        lambda: read_square(data, 16, "x"),
        lambda: read_header(data, "x"),
    ]
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1600 * share - 4)
    for door in doors:
        with pytest.raises(ImageError, match="has 1,600 pixels, but at most 1,59") as raised:
            door()
        assert "BIGR_MAX_PIXELS" in str(raised.value.hint)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1600 * share)
    for door in doors:
        door()
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    monkeypatch.setenv("BIGR_MAX_PIXELS", "1600")
    for door in doors:
        door()


def test_an_image_without_memory_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(image: Image.Image) -> None:
        raise MemoryError

    with pytest.raises(ImageError, match=r"x\.png: there is too little memory"):
        inspect_image(png(), "x.png", hungry)


def test_threads_read_at_once_and_leave_pillow_as_it_was() -> None:
    data, before = encoded(levels("RGB", 200, 200, 1), "PNG"), (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    results: list[object] = []

    def work() -> None:
        for _ in range(10):
            results.append(read_square(data, 16).sum())
            try:
                read_image(data[:200])
            except ImageError as error:
                results.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 120 and len(set(map(str, results))) == 2
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes cut, doubled in part, or with some of them changed, mostly near the beginning."""
    way, changed = int(random.integers(4)), bytearray(data)
    if way == 0:
        return data[: int(random.integers(len(data) + 1))]
    if way == 1:
        at = int(random.integers(len(data)))
        return data[:at] + data[at : at + int(random.integers(60))] + data[at:]
    for _ in range(int(random.integers(1, 9))):
        changed[int(len(changed) * random.random() ** (3 if way == 2 else 1))] = int(random.integers(256))
    return bytes(changed)


def attack(seed: int) -> int:
    """How many of the doors read an image that was tampered with; whatever else they do must be an ImageError."""
    random = np.random.default_rng(seed)
    pairs = [(mode, kind) for mode, kinds in HELD.items() for kind in kinds]
    mode, kind = pairs[int(random.integers(len(pairs)))]
    if kind == "AVIF" and not features.check("avif"):
        return 0
    data = mutated(encoded(levels(mode, 1 + seed % 50, 1 + seed % 37, seed), kind, seed), random)
    read = 0
    for door in (read_header, read_image, lambda data: read_square(data, SIDE)):
        try:
            door(data)
            read += 1
        except ImageError as error:
            assert str(error).startswith("stdin: ") and "\n" not in str(error)
    return read


@pytest.mark.parametrize("seeds", [range(150), pytest.param(range(1000, 6000), marks=pytest.mark.slow)])
def test_what_was_tampered_with_is_read_or_refused(
    seeds: range, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIGR_MAX_PIXELS", "4000000")
    read = sum(map(attack, seeds))
    assert len(seeds) // 5 < read < 3 * len(seeds)
    lines = [line for line in capfd.readouterr().err.splitlines() if "frames is read" not in line]
    assert [line for line in lines if "left out" not in line] == []
