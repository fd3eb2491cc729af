"""Captions of a folder's images: captions.jsonl and text files, and what is left out for want of one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data.captions import Entry, captions_in, entry_of
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.sources import open_source
from bigr_cli.errors import UsageError


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 20), 50).convert("RGB").save(root / name)
    return root


def write(root: Path, *lines: object) -> None:
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def opened(root: Path, check: str = "headers") -> FolderSource:
    source = open_source(str(root), 16, captions=True, check=check)  # type: ignore[arg-type]
    assert isinstance(source, FolderSource)
    return source


def test_captions_of_a_listing_and_of_texts_beside_images(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png", "sub/c.jpg", "sub/deep/d.png")
    lines = [{"file": "a.png", "caption": "one"}, {"file": "a.png", "caption": ["two", "", "one"], "label": "x"}]
    write(tmp_path, *lines, {"file": "sub/c.jpg", "caption": "of c"})
    (tmp_path / "b.txt").write_text("three\n\n  four \n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("beside", encoding="utf-8")
    (tmp_path / "sub" / "deep" / "d.txt").write_text("🌈 קשת", encoding="utf-8")
    source = opened(tmp_path)
    assert source.files == ("a.png", "b.png", "sub/c.jpg", "sub/deep/d.png")
    assert source.captions == (("one", "two", "beside"), ("three", "four"), ("of c",), ("🌈 קשת",))
    assert source.labels == ()  # whatever folders there are
    assert [source.caption(0, variant) for variant in range(4)] == ["one", "two", "beside", "one"]
    training, held_out = source.split(source.chosen(1, seed=0), count=None, flip=False, crop=1.0)
    for part in (training, held_out):
        for index, name in enumerate(part.files):
            assert part.captions_of(index) == source.captions_of(source.files.index(name))


def test_what_cannot_be_used_is_left_out_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, *(f"{number}.png" for number in range(6)))
    write(tmp_path, *({"file": f"{number}.png", "caption": "x"} for number in (0, 1, 2, 9)))
    (tmp_path / "1.png").write_bytes(b"no image")
    assert opened(tmp_path).files == ("0.png", "2.png")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"warning: {tmp_path}/captions.jsonl: 1 of its files are no images here (9.png)",
        f"warning: {tmp_path}: 4 of 6 images are left out: 3 without a caption "
        f"({tmp_path}/3.png, {tmp_path}/4.png, {tmp_path}/5.png), 1 unreadable ({tmp_path}/1.png)",
    ]


def test_images_can_be_read_whole_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, "0.png", "1.png")
    write(tmp_path, *({"file": f"{number}.png", "caption": "x"} for number in (0, 1)))
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    assert len(opened(tmp_path)) == 2
    assert capsys.readouterr().err == ""
    assert opened(tmp_path, "images").files == ("0.png",)
    assert "1 of 2 images are left out: 1 unreadable" in capsys.readouterr().err
    for name in "01":
        (tmp_path / f"{name}.png").rename(tmp_path / f"{name}.jpg")
    assert len(open_source(str(tmp_path), 16)) == 2  # classes need no captions, and are not looked at
    assert len(open_source(str(tmp_path), 16, check="images")) == 1


def test_none_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of 1 images can be used: 1 without a caption"):
        opened(fill(tmp_path, "a.png"))


@pytest.mark.parametrize(
    "line", ['{"file": "a.png", "caption": 3}', '{"file": "a.png", "caption": [3]}', '"\\ud800', "x"]
)
def test_broken_lines_are_named(tmp_path: Path, line: str) -> None:
    fill(tmp_path, "a.png")
    (tmp_path / "captions.jsonl").write_text('{"file": "a.png"}\n\n' + line, encoding="utf-8")
    with pytest.raises(UsageError, match=r"captions\.jsonl:3: not a caption entry"):
        opened(tmp_path)


def test_a_listing_that_is_no_text(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    (tmp_path / "captions.jsonl").write_bytes(b'{"file": "a.png", "caption": "\xff"}')
    with pytest.raises(UsageError, match=r"captions\.jsonl:1: not a caption entry"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", ()),
        (b"\n \r\n", ()),
        (b"\xef\xbb\xbfone\r\ntwo\none", ("one", "two")),
        (b"caf\xe9", ("caf\ufffd",)),
        ("רכב אדום".encode(), ("רכב אדום",)),
    ],
)
def test_captions_in_a_text(text: bytes, said: tuple[str, ...]) -> None:
    assert captions_in(text) == said


def test_entries_add_up() -> None:
    assert entry_of({"caption": None}) == Entry()
    assert entry_of({"caption": "a", "label": 3}) + entry_of({"caption": ["b", "a"]}) == Entry(("a", "b"), "3")
    with pytest.raises(TypeError, match="expected an object, got list"):
        entry_of([])


def test_fewer_of_them(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png", "c.png")
    write(tmp_path, *({"file": f"{name}.png", "caption": name} for name in "abc"))
    source = open_source(str(tmp_path), 16, captions=True, start=1, count=1)
    assert (len(source), source.caption(0)) == (1, "b")
    assert np.array_equal(source.image(0).pixels, opened(tmp_path).image(1).pixels)
