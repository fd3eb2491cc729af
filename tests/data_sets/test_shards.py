"""Images and captions in tar shards, written here by tarfile."""

import io
import json
import pickle
import tarfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data import shards
from bigr_cli.data.loading import Positions, load_batches
from bigr_cli.data.shards import ShardSource
from bigr_cli.data.sources import open_source
from bigr_cli.data.tar_files import find_shards
from bigr_cli.errors import ImageError, UsageError

Files = Sequence[tuple[str, bytes]]


def image(number: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 16), (number, 0, 255 - number)).save(stream, kind)
    return stream.getvalue()


def shard(path: Path, files: Files, **options: Any) -> Path:
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def captioned(first: int, count: int) -> list[tuple[str, bytes]]:
    pairs = [
        ((f"{n:04d}.png", image(n)), (f"{n:04d}.txt", f"number {n}\nthe {n}th".encode()))
        for n in range(first, first + count)
    ]
    return [file for pair in pairs for file in pair]


def opened(where: Path | str, **options: Any) -> ShardSource:
    source = open_source(str(where), 16, **options)
    assert isinstance(source, ShardSource)
    return source


def test_images_and_captions_at_any_place(tmp_path: Path) -> None:
    shard(tmp_path / "a-0.tar", captioned(0, 5))
    shard(tmp_path / "a-1.tar", captioned(5, 7))
    source = opened(tmp_path / "a-*.tar", captions=True)
    assert (len(source), source.labels) == (12, ())
    for index in (11, 0, 4, 5, 7):
        assert source.captions_of(index) == (f"number {index}", f"the {index}th")
        assert [source.caption(index, variant) for variant in (0, 1, 2)] == [
            f"number {index}",
            f"the {index}th",
            f"number {index}",
        ]
        assert source.image(index).pixels[0, 0].tolist() == [index, 0, 255 - index]
        assert source.called(index) == f"{tmp_path}/a-{int(index > 4)}.tar: {index:04d}.png"
    assert opened(tmp_path, captions=True).fingerprint() == source.fingerprint()


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_kinds_of_tar_and_long_names(tmp_path: Path, kind: int) -> None:
    folder = "/".join(["long" * 10] * (2 if kind == tarfile.USTAR_FORMAT else 9)) + "/é"
    files = [(f"{folder}{n}.webp", image(n, "WEBP")) for n in range(2)]
    files.insert(1, (f"{folder}0.json", json.dumps({"caption": ["one", " ", "two"]}).encode()))
    source = opened(shard(tmp_path / "x.tar", files, format=kind))
    assert [source.captions_of(index) for index in range(2)] == [("one", "two"), ()]
    assert source.image(1).pixels.shape == (16, 16, 3)


def test_samples_are_what_has_the_same_name(tmp_path: Path) -> None:
    files = [
        ("readme.md", b"not a sample"),
        ("a/1.JPG", image(1, "JPEG")),
        ("a/1.seg.png", b"a mask"),
        ("a/1.txt", b"\xef\xbb\xbfone \xff\n\n one \xff"),
        ("a/1.json", b'{"caption": "said in JSON", "width": 20}'),
        ("b/1.txt", b"another folder"),
        ("b/1.png", image(2)),
        ("._b/.hidden.png", b"no image"),
        ("c.txt", b"without an image"),
    ]
    source = opened(shard(tmp_path / "x.tar", files), captions=True)
    said = [source.captions_of(index) for index in range(len(source))]
    assert said == [("one \ufffd", "said in JSON"), ("another folder",)]


@pytest.mark.parametrize(
    ("labels", "names"), [(["cls", "10", "2", "10"], ("2", "10")), (["json", "dog", "cat", "dog"], ("cat", "dog"))]
)
def test_classes(tmp_path: Path, labels: list[str], names: tuple[str, ...]) -> None:
    kind, *given = labels
    for number, label in enumerate(given):
        content = label if kind == "cls" else json.dumps({"label": label})
        shard(tmp_path / f"{number}.tar", [("1.png", image(number)), (f"1.{kind}", content.encode())])
    source = opened(tmp_path)
    assert source.labels == names
    assert [source.labels[source.label(index)] for index in range(3)] == given
    assert [source.image(index).label for index in range(3)] == [names.index(label) for label in given]


def test_classes_of_some_are_an_error(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", [("1.png", image(1)), ("1.cls", b"3"), ("2.png", image(2))])
    with pytest.raises(UsageError, match=r"x\.tar: 1 of 2 images have no class"):
        opened(tmp_path / "x.tar")


def test_what_is_broken_is_left_out_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = captioned(0, 4)
    files += [("bad.png", b"no image"), ("bad.txt", b"x"), ("mute.png", image(7)), ("blank.png", image(8))]
    files += [("blank.txt", b" \n"), ("odd.png", image(9)), ("odd.json", b"{"), ("odder.png", image(9))]
    files += [("odder.json", b'{"caption": 7}')]
    path = shard(tmp_path / "x.tar", files)
    for _ in range(2):  # the second time from the index that is kept
        source = opened(path, captions=True)
        assert len(source) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"warning: {path}: 5 of 9 images are left out: ")
        assert f"1 unreadable ({path}: bad.png)" in line
        assert f"2 without a caption ({path}: mute.png, {path}: blank.png)" in line
        assert f"2 with JSON that cannot be understood ({path}: odd.png, {path}: odder.png)" in line
    assert len(opened(path)) == 6  # without captions, the mute ones are images as well


def test_an_image_that_is_broken_behind_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = image(9)
    cut = Image.effect_noise((99, 99), 50)
    stream = io.BytesIO()
    cut.save(stream, "PNG")
    files = [("1.png", whole), ("1.txt", b"x"), ("2.png", stream.getvalue()[:900]), ("2.txt", b"y")]
    path = shard(tmp_path / "x.tar", files)
    source = opened(path, captions=True)
    assert len(source) == 2
    with pytest.raises(ImageError, match=r"x\.tar: 2\.png: is not an image"):
        source.image(1)
    assert capsys.readouterr().err == ""
    assert len(opened(path, captions=True, check="images")) == 1
    assert f"1 of 2 images are left out: 1 unreadable ({path}: 2.png)" in capsys.readouterr().err


def test_none_that_can_be_used(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", [("1.png", image(1)), ("2.png", b"")])
    with pytest.raises(UsageError, match="none of 2 images can be used"):
        opened(path, captions=True)
    with pytest.raises(UsageError, match="holds no images"):
        opened(shard(tmp_path / "y.tar", [("a.txt", b"x")]))


@pytest.mark.parametrize("damage", ["cut in a header", "cut in a file", "a header", "no tar", "empty", "gzip"])
def test_damaged_shards_are_named(tmp_path: Path, damage: str) -> None:
    path = shard(tmp_path / "x.tar", captioned(0, 5))
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        place = archive.getmembers()[4].offset
    if damage == "gzip":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(__file__)
    else:
        changed = {
            "cut in a header": content[: place + 100],
            "cut in a file": content[: place + 520],
            "a header": content[:place] + b"?" * 512 + content[place + 512 :],
            "no tar": b"nonsense" * 200,
            "empty": b"",
        }
        path.write_bytes(changed[damage])
    with pytest.raises(UsageError, match=r"x\.tar: is no whole tar file"):
        opened(path)


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8, 12):
        shard(tmp_path / f"s-{number:03d}.tar", captioned(number, 1))

    def names(pattern: str) -> list[str]:
        return [path.name for path in find_shards(f"{tmp_path}/{pattern}")]

    every = [f"s-{number:03d}.tar" for number in range(8, 12)]
    assert names("s-{008..011}.tar") == names("*.tar") == names("s-0{08,09,10,11}.tar") == names("") == every
    assert names("s-{009..010}.tar") == every[1:3]
    assert names("s-010.tar") == ["s-010.tar"]
    assert names("none") == []
    for pattern, message in (
        ("s-{008..012}.tar", r"s-012\.tar: no such file"),
        ("t-*.tar", r"t-\*\.tar: no such files"),
        ("x.tar.gz", "compressed"),
        ("x.tgz", "compressed"),
    ):
        with pytest.raises(UsageError, match=message):
            names(pattern)
    (tmp_path / "photo.png").write_bytes(image(1))
    assert names("") == []  # a folder of images


def test_the_headers_are_read_once(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard(tmp_path / "x.tar", captioned(0, 3))
    before = opened(path)
    monkeypatch.setattr(shards, "_scanned", lambda path: pytest.fail("read again"))
    assert np.array_equal(opened(path).rows, before.rows)
    monkeypatch.undo()
    (kept,) = (home / "cache" / "shards").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(opened(path).rows, before.rows)
    shard(path, captioned(0, 4))
    assert len(opened(path)) == 4


def test_the_index_is_small(tmp_path: Path) -> None:
    assert opened(shard(tmp_path / "x.tar", captioned(0, 3))).rows.itemsize == 56


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffling_goes_on_at_the_sample(tmp_path: Path, workers: int) -> None:
    shard(tmp_path / "0.tar", captioned(0, 7))
    shard(tmp_path / "1.tar", captioned(7, 6))
    source = opened(tmp_path, captions=True)

    def captions(start: int, count: int) -> list[list[str]]:
        positions = Positions(len(source), 4, seed=5, start=start)
        return [list(batch.captions) for batch in islice(load_batches(source, positions, workers=workers), count)]

    whole = captions(0, 8)
    assert whole[5:] == captions(5, 3)
    assert whole[0] != [source.caption(index) for index in range(4)]
    flat = [caption for batch in whole for caption in batch]
    assert sorted(flat[:13]) == sorted(f"the {n}th" for n in range(13))
    assert sorted(flat[13:26]) == sorted(f"number {n}" for n in range(13))


def test_a_split_keeps_images_apart_and_travels_to_other_processes(tmp_path: Path) -> None:
    source = opened(shard(tmp_path / "x.tar", captioned(0, 20)), captions=True)
    training, held_out = source.split(source.chosen(4, seed=1), count=10, flip=True, crop=0.9)
    assert (len(training), len(held_out), training.flip, held_out.flip) == (10, 4, True, False)
    numbers = [{part.caption(index) for index in range(len(part))} for part in (training, held_out)]
    assert not numbers[0] & numbers[1]
    copy = pickle.loads(pickle.dumps(training))
    assert copy.fingerprint() == training.fingerprint() != source.fingerprint()
    assert np.array_equal(copy.image(3, 2).pixels, training.image(3, 2).pixels)
