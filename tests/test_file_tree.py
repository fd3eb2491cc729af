"""Folders as people have them: links, brackets, accents, odd entries; every one of them taken once, or counted."""

import os
import socket
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli import file_tree
from bigr_cli.errors import UsageError
from bigr_cli.file_names import expanded, irregular, is_temporary, name_hash, natural_key
from bigr_cli.file_tree import IMAGE_SUFFIXES, Tree, image_tree, matching_tree


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    """What a tree reports."""

    def report(tree: Tree, **options: object) -> str:
        capsys.readouterr()
        tree.report("in", **options)  # type: ignore[arg-type]
        return capsys.readouterr().err.strip()

    yield report


def test_loops_end_and_nothing_counts_twice(tmp_path: Path) -> None:
    fill(tmp_path / "d", "car/1.png", "cat/2.png", "cat/3.png")
    for name, target in (("cat/up", ".."), ("cat/a", "."), ("cat/b", "."), ("self", "self"), ("z", "car")):
        (tmp_path / "d" / name).symlink_to(target)
    (tmp_path / "d" / "cat" / "root").symlink_to("/")
    tree = image_tree(tmp_path / "d")
    assert tree.files == ["car/1.png", "cat/2.png", "cat/3.png"]
    assert "1 broken as links (self)" in str(tree.passed)
    assert "2 linking back up (cat/root, cat/up)" in str(tree.passed)
    assert "3 linked to a folder that is taken (z, cat/a, cat/b)" in str(tree.passed)


def test_linked_folders_and_files_are_taken(tmp_path: Path) -> None:
    fill(tmp_path / "store", "dogs/1.png", "dogs/deep/2.png", "one.png", "cats/3.png")
    fill(tmp_path / "d", "a/0.png")
    links = {"dog": "../store/dogs", "a/x.png": "../../store/one.png", "a/y.png": "x.png", "a/z.png": "0.png"}
    for name, target in {**links, "all": "../store"}.items():
        (tmp_path / "d" / name).symlink_to(target)
    tree = image_tree(tmp_path / "d")
    # What `all` leads to has the others in it; links to what lies there itself give way.
    expected = ["a/0.png", "all/one.png", "all/cats/3.png", "all/dogs/1.png", "all/dogs/deep/2.png"]
    assert sorted(tree.files) == sorted(expected)
    assert "3 linked to an image that is taken (a/x.png, a/y.png, a/z.png)" in str(tree.passed)
    assert "1 linked to a folder that is taken (dog)" in str(tree.passed)
    (tmp_path / "d" / "all").unlink()
    tree = image_tree(tmp_path / "d")
    assert tree.files == ["a/0.png", "a/x.png", "dog/1.png", "dog/deep/2.png"]
    assert "2 linked to an image that is taken (a/y.png, a/z.png)" in str(tree.passed)


def test_a_link_gives_way_to_the_folder_itself(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1.png")
    (tmp_path / "a").symlink_to("cat")
    assert image_tree(tmp_path).files == ["cat/1.png"]


def test_all_that_is_left_out_is_counted_and_named(tmp_path: Path, said: object) -> None:
    names = ("1.png", "x.heic", "y.heic", "z.tga", "README", "n.txt", ".h.png", "._1.png", "empty/t.txt", ".git/x.png")
    fill(tmp_path, *names, ".1.png.0123456789ab.part")
    report = said(image_tree(tmp_path))  # type: ignore[operator]
    assert report.startswith("warning: in: 8 files and 2 folders passed over: ")
    for part in ("2 hidden (", "2 .heic (x.heic, y.heic)", "1 .tga (z.tga)", "1 without a suffix (README)", "2 .txt ("):
        assert part in report
    assert report.endswith("; folders: 1 hidden (.git), 1 without images (empty)")


def test_texts_and_hidden_files_deserve_no_warning(tmp_path: Path, said: object) -> None:
    fill(tmp_path, "1.png", "1.txt", ".h.png", "notes.md")
    tree = image_tree(tmp_path)
    assert said(tree, used={"1.txt"}) == "in: 2 files passed over: 1 hidden (.h.png), 1 .md (notes.md)"  # type: ignore[operator]
    heard: set[str] = set()
    tree = image_tree(tmp_path, recursive=False)
    assert said(tree, heard=heard) and not said(image_tree(tmp_path, recursive=False), heard=heard)  # type: ignore[operator]
    assert said(image_tree(fill(tmp_path / "whole", "a.png"))) == ""  # type: ignore[operator]


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_kind_that_is_read_is_taken(suffix: str, tmp_path: Path) -> None:
    fill(tmp_path, f"a{suffix}", f"b{suffix.upper()}", f"c.input{suffix}")
    assert len(image_tree(tmp_path).files) == 3


def test_what_is_no_file_does_not_block(tmp_path: Path, said: object) -> None:
    fill(tmp_path, "a.png", "dir.png/b.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    (tmp_path / "gone.png").symlink_to("nowhere")
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(tmp_path / "s.png"))
        tree = image_tree(tmp_path)
        assert (irregular(tmp_path / "pipe.png"), irregular(tmp_path / "s.png")) == ("a named pipe", "a socket")
    assert tree.files == ["a.png", "dir.png/b.png"]
    report = said(tree)  # type: ignore[operator]
    assert report.startswith("warning: in: 4 files passed over: ")
    assert "that are pipes, sockets or devices" in report and "broken as links" in report
    assert (irregular(tmp_path / "null.png"), irregular(tmp_path / "a.png")) == ("a device", None)


def test_one_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: object) -> None:
    fill(tmp_path, "a/1.png", "b/2.png")
    closed, scandir = tmp_path / "b", os.scandir

    def guarded(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(file_tree.os, "scandir", guarded)
    tree = image_tree(tmp_path)
    assert tree.files == ["a/1.png"]
    assert said(tree).endswith("1 folder passed over: 1 that cannot be read: Permission denied (b)")  # type: ignore[operator]
    closed = tmp_path
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        image_tree(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "b").chmod(0)
    try:
        assert image_tree(tmp_path).files == ["a/1.png"]
    finally:
        (tmp_path / "b").chmod(0o700)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9/\xff.png")
    fill(tmp_path, name, "a.png")
    assert image_tree(tmp_path).files == ["a.png", name]
    assert matching_tree(tmp_path / "caf*" / "*").files == [name]


def test_brackets_stand_for_themselves_where_such_a_thing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "d[1]/1.png", "d[1]/[a].png", "d[1]/a.png", "d1/2.png", "e*/3.png")
    monkeypatch.chdir(tmp_path)
    for pattern, expected in (
        ("d[1]/*.png", ["1.png", "[a].png", "a.png"]),
        ("d[12]/*.png", ["d1/2.png"]),
        ("d[1]/[a].png", ["[a].png"]),
        ("d[1]/[ab].png", ["a.png"]),
        ("e*/*", ["3.png"]),
        ("*/*", ["d1/2.png", "d[1]/1.png", "d[1]/[a].png", "d[1]/a.png", "e*/3.png"]),
    ):
        assert matching_tree(Path(pattern)).files == expected, pattern


def test_patterns_follow_links_and_count_what_fits(tmp_path: Path, said: object) -> None:
    fill(tmp_path / "store", "1.png", "2.tga")
    fill(tmp_path / "d", "a.png", "a.txt", ".b.png", "sub/c.gif")
    (tmp_path / "d" / "dog").symlink_to("../store")
    (tmp_path / "d" / "up").symlink_to(".")
    tree = matching_tree(tmp_path / "d" / "**" / "*.png")
    assert tree.files == ["a.png", "dog/1.png"]
    assert said(tree) == "in: 1 file and 1 folder passed over: 1 hidden (.b.png); folders: 1 linking back up (up)"  # type: ignore[operator]
    assert matching_tree(tmp_path / "d" / "**").files == ["a.png", "dog/1.png", "sub/c.gif"]
    assert matching_tree(tmp_path / "none" / "*").files == []


@pytest.mark.parametrize(("kept", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_composed_otherwise(
    tmp_path: Path, kept: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"caf\u00e9/\u00fcber {number}.png" for number in (2, 10)]
    fill(tmp_path, *(unicodedata.normalize(kept, name) for name in names))
    monkeypatch.chdir(tmp_path)
    for word in (names[0], "caf\u00e9", f"{tmp_path}/caf\u00e9"):
        assert expanded(unicodedata.normalize(typed, word)).exists()
    assert len(matching_tree(expanded(unicodedata.normalize(typed, "caf\u00e9/\u00fc*"))).files) == 2
    keys = {natural_key(unicodedata.normalize(form, names[0]))[0][0] for form in (kept, typed)}
    assert len(keys) == 1
    assert name_hash(unicodedata.normalize(kept, names[0])) == name_hash(unicodedata.normalize(typed, names[0]))


def test_home_and_a_file_called_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(fill(tmp_path, "home/a.png"))
    assert expanded("~/a.png") == tmp_path / "home" / "a.png"
    assert expanded("./~") == Path("~")
    fill(tmp_path, "~/a.png")
    assert expanded("~/a.png") == Path("~/a.png")  # a file that is there is taken as it is called
    assert expanded("~nobody-at-all/x") == Path("~nobody-at-all/x")


def test_temporary_files() -> None:
    assert is_temporary(".a.png.0123456789ab.part") and is_temporary(".run.0123456789ab.old")
    assert not any(map(is_temporary, ("a.png.part", ".a.png.part", ".0123456789ab.part")))


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1), unique=True))
def test_any_names_have_an_order(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_go_by_their_value(one: int, other: int) -> None:
    assert (natural_key(f"class {one}") < natural_key(f"class {other}")) == (one < other)
    assert natural_key("class 007")[0] == natural_key("Class 7")[0]
