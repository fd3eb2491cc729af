"""What people bring, through the commands they bring it to: each once failed."""

import os
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(PWNED) (w) file closefile\nshowpage\n%%EOF\n"
QUICK = ("--steps", 1, "--timesteps", 1, "--seed", 1)
TRAIN = ("run.steps=1", "run.batch=8", "data.validation=1", "tokenizer.architecture=compact", "data.workers=0",
         "tokenizer.image_size=64")  # fmt: skip


@pytest.fixture
def ghostscript(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A `gs` in front of the PATH; whether it was ever started."""
    Path("bin").mkdir()
    Path("bin/gs").write_text('#!/bin/sh\ntouch "$(dirname "$0")/started"\nexit 1\n')
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}{os.pathsep}{os.environ['PATH']}")
    return Path("bin/started").exists


def classes(root: str, count: int = 8, side: int = 64) -> None:
    for number in range(2 * count):
        path = Path(root, "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(levels).save(path)


def test_postscript_called_png_is_never_run(bigr: Run, ghostscript: Callable[[], bool]) -> None:
    classes("data")
    for name in ("0", "evil", "zz"):
        Path(f"data/a/{name}.png").write_bytes(EPS)
    with tarfile.open("data.tar", "w") as tar:
        for path in sorted(Path("data").rglob("*.png")):
            tar.add(path, path.name)
    Path("evil.png").write_bytes(EPS)
    for line in (
        ("train-tokenizer", "--data", "data", "-o", "r1", *TRAIN),
        ("train-tokenizer", "--data", "data.tar", "-o", "r2", *TRAIN, "data.check=images"),
        ("train-tokenizer", "--data", "data", "-o", "r3", *TRAIN, "data.check=images"),
        ("evaluate", "generation", "data", "--reference", "data", "--features", "scenes"),
        ("evaluate", "generation", "data", "--reference", "data", "--features", "scenes", "--resize", 64),
        ("evaluate", "probe", "--data", "data"),
        ("embed", "data", "-o", "e.npz"),
        ("info", "evil.png"),
        ("search", "evil.png", "--index", "e.npz"),
        ("inpaint", "evil.png", "--mask-box", "0,0,5,5"),
        ("inpaint", "in.png", "--mask", "evil.png"),
        ("edit", "evil.png", "--class", "cat"),
        ("enrich", "evil.png"),
        ("outpaint", "evil.png", "--right", 5),
        ("interpolate", "evil.png", "in.png"),
    ):
        done = bigr(*line)
        assert "Traceback" not in done.err and "Error: " not in done.err, line
        assert (
            "evil.png: is not an image of a kind that can be read" in done.err
            or "unreadable" in done.err
            or ("0.png: is not an image of a kind" in done.err)
        ), (line, done.err)
        assert not ghostscript() and not Path("PWNED").exists(), line


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
def test_an_animation_is_said_to_be_one(bigr: Run, kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue", "white")]
    frames[0].save(f"x.{kind}", save_all=True, append_images=frames[1:])
    word = f"x.{kind}: only the first of 4 frames is read"
    done = bigr("inpaint", f"x.{kind}", "--mask-box", "0,0,9,9", *QUICK, "-o", "o.png", "--overwrite")
    assert done.code == 0 and done.err.count(word) == 1
    quiet = bigr("inpaint", f"x.{kind}", "--mask-box", "0,0,9,9", *QUICK, "-o", "o.png", "--overwrite", "-q")
    assert (quiet.code, quiet.err) == (0, "")
    for line in (
        ("embed", f"x.{kind}", "-o", "e.npz"),
        ("inpaint", "in.png", "--mask", f"x.{kind}", "--mask-resize", *QUICK),
    ):
        assert word in bigr(*line).err


def test_many_animations_are_counted(bigr: Run) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime")]
    Path("many").mkdir()
    for number in range(6):
        frames[0].save(f"many/{number}.gif", save_all=True, append_images=frames[1:])
    said = bigr("embed", "many", "-o", "e.npz").err
    assert said.count("only the first of 2 frames is read") == 3
    assert "and 3 more files like these (frames)" in said


def test_sixteen_bits_of_grey_are_the_same_set(bigr: Run) -> None:
    for root in ("g8", "g16"):
        for number in range(12):
            grey = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
            path = Path(root, "ab"[number % 2], f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            wide = Image.frombytes("I;16", (64, 64), (grey.astype("<u2") * 257).tobytes())
            (Image.fromarray(grey) if root == "g8" else wide).save(path)
    line = ("evaluate", "generation", "g16", "--reference", "g8", "--features", "scenes", "--metrics", "fid", "--json")
    done = bigr(*line)
    fid = re.search(r'"(?:fid|frechet_inception_distance)": ?(-?[0-9.e-]+)', done.out)
    assert done.code == 0 and fid is not None and abs(float(fid[1])) < 0.01
    assert bigr("embed", "g8", "g16", "-o", "e.npz").code == 0
    features = np.load("e.npz", allow_pickle=False)["features"]
    assert np.allclose(features[:12], features[12:])


def test_the_limit_of_pixels_is_the_same_in_evaluation(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    classes("set", 2)
    line = (
        "evaluate",
        "generation",
        "set",
        "--reference",
        "set",
        "--features",
        "scenes",
        "--metrics",
        "fid",
        "--resize",
        64,
    )
    monkeypatch.setenv("BIGR_MAX_PIXELS", "4000")
    refused = bigr(*line)
    assert refused.code == 2 and "has 4,096 pixels, but at most 4,000 are read" in refused.err
    assert "BIGR_MAX_PIXELS" in refused.err
    outgrown = bigr("outpaint", "in.png", "--right", 200, *QUICK)
    assert outgrown.code == 2 and "at most 4,000 in all" in outgrown.err


def test_libraries_say_nothing_of_their_own(bigr: Run) -> None:
    classes("warn", 4)
    palette = Image.new("P", (64, 64))
    palette.putpalette(bytes(range(48)))
    palette.save("warn/a/0.png", transparency=bytes([0, 128, 255]))
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0"
    Image.new("RGB", (64, 64)).save("warn/b/1.jpg", exif=exif)
    line = ("evaluate", "generation", "warn", "--reference", "warn", "--features", "scenes", "--metrics", "fid", "-q")
    done = bigr(*line)
    assert (done.code, done.err) == (0, "")


def test_a_screen_that_a_small_file_claims(bigr_process: Run) -> None:
    """35 bytes, one pixel on a screen of 32767 × 4095: what is decoded is a byte a pixel, and nothing of it is kept."""
    head = b"GIF87a" + struct.pack("<HHBBB", 32767, 4095, 0x80, 0, 0) + bytes(6)
    Path("screen.gif").write_bytes(head + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0;")
    script = (
        "import resource, sys; from pathlib import Path; from bigr_cli.data.images import read_square; import torch; "
    )
    script += "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; read_square(Path('screen.gif'), 64); "
    script += "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 400  # megabytes; 134 million pixels


def test_damaged_films_and_pipes_have_no_recipe(bigr: Run) -> None:
    box = struct.pack(">I", 32) + b"ftypavif\0\0\0\0avifmif1miafMA1A"
    for name, data in (
        ("pw.mp4", box + bytes(500)),
        ("cut.mp4", box[:20]),
        ("moov.mp4", box + b"\0\0\0\x10moov" + bytes(8)),
    ):
        Path(name).write_bytes(data)
        done = bigr("info", name)
        assert done.code == 2 and f"{name}: holds no recipe" in done.err
    Image.new("RGB", (8, 8)).save("x.dds")
    Path("x.png").write_bytes(Path("x.dds").read_bytes())
    assert "x.png: is not an image of a kind that can be read" in bigr("info", "x.png").err
    os.mkfifo("pipe.png")
    done = bigr("info", "pipe.png")
    assert done.code == 2 and "pipe.png: is a named pipe, not a file" in done.err


def test_pixels_outside_the_mask_stay_whatever_the_file_carries(bigr: Run) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    plain = Path("in.png").read_bytes()
    for name, data in ((b"zTXt", b"Comment\0\0"), (b"iCCP", b"icc\0\0"), (b"iTXt", b"Comment\0\1\0\0\0")):
        large = chunk(name, data + zlib.compress(b"x" * 3_000_000))
        Path("t.png").write_bytes(plain[:33] + large + plain[33:])
        done = bigr("inpaint", "t.png", "--mask-box", "0,0,9,9", *QUICK, "-o", "o.png", "--overwrite")
        assert done.code == 0 and "left out" in done.err
        before, after = np.asarray(Image.open("in.png")), np.asarray(Image.open("o.png"))
        assert np.array_equal(before[9:], after[9:]) and np.array_equal(before[:, 9:], after[:, 9:])
