import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data.images import read_image
from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.imaging import files
from bigr_cli.imaging.files import KINDS, check_targets, kind_of, write_bytes, write_image
from bigr_cli.imaging.output_names import resolve


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff", ".PNG"])
def test_lossless_kinds_keep_every_pixel(suffix: str, noise: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_image(path, noise)
    assert read_image(path).image.convert("RGB").tobytes() == noise.tobytes()
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", KINDS)
def test_suffix_decides_the_kind(suffix: str, noise: Image.Image, tmp_path: Path) -> None:
    write_image(tmp_path / f"x{suffix}", noise)
    with Image.open(tmp_path / f"x{suffix}") as image:
        assert image.format == KINDS[suffix] == kind_of(Path(f"x{suffix}"))


def test_alpha_is_kept_or_turns_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    write_image(tmp_path / "x.webp", half)
    assert read_image(tmp_path / "x.webp").image.getpixel((0, 0)) == (255, 0, 0, 0)
    write_image(tmp_path / "x.jpg", half)
    assert read_image(tmp_path / "x.jpg").image.getpixel((0, 0)) == (255, 255, 255)


def test_folders_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a/b/c.bin", b"x")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"x"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists already") as raised:
        write_bytes(path, b"new")
    assert raised.value.hint == "pass --overwrite to replace it"
    assert path.read_bytes() == b"old"
    write_bytes(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x.png"]


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(UsageError, match="exists already"):
        write_bytes(tmp_path / "x.png", b"new")
    assert os.listdir(tmp_path) == ["x.png"]


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bigr_cli.files.flush", full)
    with pytest.raises(RunError, match="No space left"):
        write_bytes(tmp_path / "a/b/x.png", b"new")
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError):
        write_bytes(tmp_path / "x.png", b"new")
    assert os.listdir(tmp_path) == []


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "a/x.png", b"new")
    assert os.listdir(tmp_path) == []


def test_longest_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".png")
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_unreadable_images(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    for name in ("x.png", "missing.png"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


def test_targets(tmp_path: Path) -> None:
    old, new, deep = tmp_path / "old.png", tmp_path / "new.png", tmp_path / "not/yet/there.png"
    old.write_bytes(b"")
    assert check_targets([new, deep], overwrite=False) == [True, True]
    assert check_targets([old, new], overwrite=True) == [True, True]
    assert check_targets([old, new], overwrite=False, skip_existing=True) == [False, True]
    assert os.listdir(tmp_path) == ["old.png"]
    (tmp_path / "folder.png").mkdir()
    for paths, message in (
        ([old], "exists already"),
        ([new, tmp_path / "x/../new.png"], "written twice"),
        ([tmp_path / "folder.png"], "is a folder"),
        ([old / "x.png"], "is a file, so no file can be in it"),
        ([old / "deep" / "x.png"], "is a file, so there can be no .*deep"),
        ([tmp_path / ("x" * 300 + ".png")], "no file can have this name"),
        ([tmp_path / "a\0b.png"], "no file can have this name"),
    ):
        with pytest.raises(UsageError, match=message):
            check_targets(paths, overwrite=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and devices of POSIX")
def test_targets_behind_links_and_devices(tmp_path: Path) -> None:
    links = {"far.png": "missing/real.png", "loop.png": "loop.png", "nowhere": "missing", "new.png": "real.png"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    for name, message in (
        ("far.png", "is a link to .*missing/real.png, and there is no folder for that"),
        ("loop.png", "symbolic links"),
        ("nowhere/x.png", "is a link that leads nowhere"),
    ):
        with pytest.raises(UsageError, match=message):
            check_targets([tmp_path / name], overwrite=True)
    assert check_targets([tmp_path / "new.png"], overwrite=True) == [True]
    assert check_targets([Path(os.devnull)], overwrite=False) == [True]
    write_image(Path(os.devnull), Image.new("RGB", (4, 4)))
    assert resolve(os.devnull, [{"seed": 1}], default="{seed}.png") == [Path(os.devnull)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_forbidden_folders(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="no permission"):
        check_targets([tmp_path / "closed/x.png"], overwrite=False)
