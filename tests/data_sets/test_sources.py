import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.data import scenes
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.sources import ScenesSource, open_source
from bigr_cli.errors import ImageError, UsageError


def fill(root: Path, names: list[str], size: tuple[int, int] = (24, 18)) -> Path:
    """Images of different plain colours."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (10 * number, 0, 255 - 10 * number)).save(root / name)
    return root


def folder(root: Path, size: int = 16) -> FolderSource:
    source = open_source(str(root), size)
    assert isinstance(source, FolderSource)
    return source


def test_scenes_are_those_of_the_renderer() -> None:
    source = open_source("scenes", 16, seed=3, start=5, count=7)
    scene = scenes.describe(3, 5 + 2)
    image, mask = scenes.render_with_mask(scene, 16)
    sample = source.image(2)
    assert (len(source), source.size, source.labels) == (7, 16, scenes.LABELS)
    assert np.array_equal(sample.pixels, np.asarray(image))
    assert sample.foreground is not None
    assert np.array_equal(sample.foreground, np.asarray(mask))
    assert scenes.LABELS[sample.label] == scene.label


@given(index=st.integers(0, 10**6), start=st.integers(0, 2**41))
def test_the_label_is_that_of_the_image(index: int, start: int) -> None:
    source = ScenesSource(16, seed=1, start=start)
    assert source.label(index) == source.image(index).label


@pytest.mark.parametrize("size", [0, 8, 4096])
def test_scenes_have_limits(size: int) -> None:
    with pytest.raises(UsageError, match=f"not {size}"):
        open_source("scenes", size)


def test_subfolders_are_classes(tmp_path: Path) -> None:
    source = folder(fill(tmp_path, ["dog/b.png", "cat/x/a.PNG", "cat/c.jpg", ".hidden/d.png", "cat/.e.png"]))
    assert source.labels == ("cat", "dog")
    assert source.files == ("cat/c.jpg", "cat/x/a.PNG", "dog/b.png")
    assert [source.label(index) for index in range(3)] == [0, 0, 1]
    assert source.image(2).pixels.shape == (16, 16, 3)
    assert source.image(2).foreground is None


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    source = folder(fill(tmp_path, ["b.png", "a.webp"]))
    assert (source.labels, source.files, source.targets) == ((), ("a.webp", "b.png"), (0, 0))


def test_captions_give_labels(tmp_path: Path) -> None:
    fill(tmp_path, ["1.png", "2.png"])
    lines = [{"file": "1.png", "label": "b", "caption": "a b"}, {"file": "2.png", "label": "a"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = folder(tmp_path)
    assert (source.labels, source.targets) == (("a", "b"), (1, 0))


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"label": "a"}'])
def test_broken_captions_name_the_line(tmp_path: Path, line: str) -> None:
    fill(tmp_path, ["1.png"])
    (tmp_path / "captions.jsonl").write_text('{"file": "1.png"}\n' + line, encoding="utf-8")
    with pytest.raises(UsageError, match=r"captions\.jsonl:2"):
        open_source(str(tmp_path), 16)


def test_an_image_beside_the_class_folders_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, ["cat/a.png", "stray.png"])
    with pytest.raises(UsageError, match=r"stray\.png has no class, while cat/a\.png has one"):
        open_source(str(tmp_path), 16)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        open_source(str(tmp_path / "none"), 16)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match="holds no images"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.png: is (not an image|empty)"):
        folder(tmp_path).image(0)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["cut.jpg"], (200, 200))
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        folder(tmp_path).image(0)


def test_the_middle_square_is_taken_upright(tmp_path: Path) -> None:
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (10, 0, 30, 20))
    wide.save(tmp_path / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: stored as it is here, to be shown 20 wide and 40 high
    wide.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    source = folder(tmp_path, 8)
    for index in range(2):
        pixels = source.image(index).pixels
        assert pixels[..., 2].min() > 200
        assert pixels[..., 0].max() < 60


def test_variants_are_augmented_and_reproducible(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).save(tmp_path / "a.png")
    source = replace(folder(tmp_path), flip=True, crop=0.5)
    variants, again = ([source.image(0, variant).pixels for variant in range(1, 9)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(variants, again, strict=True))
    assert len({pixels.tobytes() for pixels in variants}) == 8
    rising = {bool(pixels[0, 0, 0] < pixels[0, -1, 0]) for pixels in variants}
    assert rising == {True, False}  # some are mirrored
    plain = source.image(0).pixels
    assert plain[0, 0, 0] < 20 and plain[0, -1, 0] > 235


@given(
    count=st.integers(2, 60), held_out=st.integers(1, 20), seed=st.integers(0, 99), most=st.none() | st.integers(1, 50)
)
def test_split_keeps_images_apart(count: int, held_out: int, seed: int, most: int | None) -> None:
    held_out = min(held_out, count - 1)
    names = tuple(f"{n}.png" for n in range(count))
    source = FolderSource(Path("."), names, tuple(range(count)), (), 16)
    training, validation = source.split(source.chosen(held_out, seed=seed), count=most, flip=False, crop=1.0)
    assert len(validation) == held_out
    assert len(training) == min(count - held_out, most or count)
    assert not set(training.files) & set(validation.files)
    assert all(names[target] == file for file, target in zip(training.files, training.targets, strict=True))
    augmented, same = source.split(source.chosen(held_out, seed=seed), count=None, flip=True, crop=0.5)
    assert same == validation
    assert (augmented.flip, augmented.crop) == (True, 0.5)


def test_the_fingerprint_changes_with_what_is_seen(tmp_path: Path) -> None:
    fill(tmp_path, ["a.png", "b.png"])
    source = folder(tmp_path)
    first = source.fingerprint()
    assert folder(tmp_path).fingerprint() == first
    assert folder(tmp_path, 32).fingerprint() != first
    Image.new("RGB", (99, 99)).save(tmp_path / "a.png")
    assert folder(tmp_path).fingerprint() != first
    numbers = {
        ScenesSource(size, seed, start, 9).fingerprint() for size in (8, 16) for seed in (0, 1) for start in (0, 1)
    }
    assert len(numbers) == 8


def test_the_former_name_of_image_works(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (16, 16), (number * 90, 10, 10)).save(tmp_path / f"{number}.png")
    for source in (ScenesSource(16, count=2), open_source(str(tmp_path), 16)):
        assert np.array_equal(source.picture(1).pixels, source.image(1).pixels)
