"""Reduced copies of large images: the same pixels with and without them, in bounded room."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data import cached
from bigr_cli.data.cached import ReducedSource
from bigr_cli.data.file_source import FileSource
from bigr_cli.data.sources import open_source
from tests.tasks.test_train import MACHINE, TOKENIZER

Run = Callable[..., Any]
COUNT = 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs' like: upright and across, JPEG and PNG, one turned by EXIF, one small, one very long."""
    root = tmp_path_factory.mktemp("data") / "large"
    root.mkdir()
    down, across = np.mgrid[0:240, 0:320] / 40
    for number in range(COUNT):
        waves = np.stack([np.sin(across * (1 + number / 9) + phase) * np.cos(down + number) for phase in range(3)], -1)
        image = Image.fromarray(np.uint8(127 + 120 * waves))
        if number % 3 == 1:
            image = image.transpose(Image.Transpose.ROTATE_90)
        image = image.resize((18, 18)) if number == 4 else image.resize((1600, 80)) if number == 5 else image
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 6 else 1
        image.save(root / f"{number:02}.{'png' if number % 4 == 0 else 'jpg'}", exif=exif)
    return root


def source(root: Path) -> FileSource:
    found = open_source(str(root), 16)
    assert isinstance(found, FileSource)
    return found.take(np.arange(len(found)), flip=True, crop=0.8)


def crops(source: Any) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([source.image(index, variant).pixels for index in range(COUNT) for variant in range(3)])


def test_crops_are_the_same_pixels_whatever_is_kept(large: Path, home: Path) -> None:
    """And close to those of the files themselves, of the same places."""
    first = ReducedSource(source(large))
    made = crops(first)
    copies = sorted(first.folder.rglob("*.rgb"))
    assert len(copies) == COUNT - 2  # neither the small one nor the long one
    assert first.shorter == 30
    assert np.array_equal(crops(first), made)
    copies[0].write_bytes(copies[0].read_bytes()[:-1] + b"\0")
    copies[1].write_bytes(b"")
    assert np.array_equal(crops(ReducedSource(source(large))), made)
    shutil.rmtree(home / "cache")
    (home / "cache").touch()
    nowhere = ReducedSource(source(large))
    assert nowhere.kept == 0
    assert np.array_equal(crops(nowhere), made)
    error = (made.astype(float) - crops(source(large))).reshape(COUNT, 3, -1)
    assert (error**2).mean(axis=2).max() < 255**2 / 10**3.6  # 36 dB


def test_the_room_is_bounded_and_that_is_said(
    large: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(large, other)
    (other / "11.jpg").unlink()
    before = ReducedSource(source(other))
    assert before.fill(60) == COUNT - 1
    monkeypatch.setattr(cached, "MOST_BYTES", 16_000)
    capsys.readouterr()
    crowded = ReducedSource(source(large))
    said = capsys.readouterr().err
    assert f"{before.folder}: 0 MB of reduced copies of other data are removed" in said
    assert f"room for reduced copies of {crowded.kept} of 12 images" in said
    assert 0 < crowded.kept < COUNT
    crops(crowded)
    assert not before.folder.exists()
    assert sum(path.stat().st_size for path in (home / "cache" / "reduced").rglob("*.rgb")) <= 16_000 * 1.5


def test_a_run_goes_on_with_the_same_bits_without_the_copies(
    bigr: Run, large: Path, tmp_path: Path, home: Path
) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    words = ("data.crop=0.8", "data.flip=true", "data.cache_reduced=true", "data.validation=1", "run.steps=6")
    done = bigr("train-tokenizer", "--data", large, "-o", whole, *TOKENIZER, *words, *MACHINE)
    assert done.code == 0, done.err
    assert list((home / "cache" / "reduced").rglob("*.rgb"))
    shutil.copytree(whole, half)
    first, *others = sorted((half / "checkpoints").glob("step-*"))
    assert "00000006" in others[-1].name
    for path in others:
        if path.stem != first.stem:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(home / "cache")
    (home / "cache").touch()
    done = bigr("train-tokenizer", "--resume", half, *MACHINE)
    assert done.code == 0, done.err
    assert "going on after step" in done.err
    assert (half / "tokenizer.safetensors").read_bytes() == (whole / "tokenizer.safetensors").read_bytes()


def test_what_cannot_be_asked(bigr: Run, large: Path, tmp_path: Path) -> None:
    for words in (("scenes",), (large, "data.cache_images=true")):
        done = bigr("train-tokenizer", "--data", *words, "data.cache_reduced=true", *TOKENIZER, "-o", tmp_path / "run")
        assert done.code == 2
        assert "cache_reduced: is for images in files, and not with cache_images" in done.err
