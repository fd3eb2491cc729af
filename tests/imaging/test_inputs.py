import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.errors import UsageError
from bigr_cli.file_names import natural_key
from bigr_cli.imaging import inputs
from bigr_cli.imaging.inputs import Input, find_inputs, parse_manifest, read_manifest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images 10, 2 and B, and more below."""
    for name in (
        *("10.png", "2.JPG", "B.webp", "a.tif", ".hidden.png", "c.png.part", "notes.txt"),
        *("sub/2.bmp", "sub/10.gif", "sub/deep/x.jpeg", ".cache/y.png", "out/z.png"),
    ):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "p"


def names(found: list[Input]) -> list[str]:
    return [entry.name for entry in found]


def test_files_are_taken_as_they_are(folder: Path) -> None:
    words = ["p/notes.txt", "p/2.JPG", "p/.hidden.png"]
    assert names(find_inputs(words)) == words
    (entry,) = find_inputs(["p/sub/2.bmp"])
    assert entry == Input(Path("p/sub/2.bmp"), Path())
    assert (entry.name, entry.stem) == ("p/sub/2.bmp", "2")
    assert find_inputs([]) == []


def test_folders_in_natural_order(folder: Path) -> None:
    expected = ["p/2.JPG", "p/10.png", "p/a.tif", "p/B.webp"]
    for word in ("p", "p/"):
        found = find_inputs([word])
        assert names(found) == expected
        assert {entry.folder for entry in found} == {Path()}
    assert names(find_inputs([str(folder)])) == [str(folder.parent / name) for name in expected]


def test_folders_and_what_is_below(folder: Path) -> None:
    found = find_inputs(["p"], recursive=True)
    assert names(found)[4:] == ["p/out/z.png", "p/sub/2.bmp", "p/sub/10.gif", "p/sub/deep/x.jpeg"]
    assert [str(entry.folder) for entry in found[4:]] == ["out", "sub", "sub", "sub/deep"]
    kept = find_inputs(["p"], recursive=True, exclude=[folder / "out", folder])
    assert names(kept) == [name for name in names(found) if "out" not in name]


def test_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names(find_inputs(["."])) == ["2.JPG", "10.png", "a.tif", "B.webp"]
    assert names(find_inputs(["*.png"])) == ["10.png"]


def test_links_are_followed_but_not_for_ever(folder: Path) -> None:
    (folder / "sub/loop").symlink_to(folder, target_is_directory=True)
    (folder / "sub/self").symlink_to(folder / "sub", target_is_directory=True)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "e.png").touch()
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    found = names(find_inputs(["p"], recursive=True))
    assert "p/linked/e.png" in found
    assert len(found) == 9
    assert len(find_inputs(["p/**/*"])) == 9


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p/*", ["p/2.JPG", "p/10.png", "p/a.tif", "p/B.webp"]),
        ("p/*.png", ["p/10.png"]),
        ("p/[ab]*", ["p/a.tif"]),
        ("p/?.tif", ["p/a.tif"]),
        ("p/sub/*", ["p/sub/2.bmp", "p/sub/10.gif"]),
        ("p/**/*.png", ["p/10.png", "p/out/z.png"]),
        ("p/s*/**", ["p/sub/2.bmp", "p/sub/10.gif", "p/sub/deep/x.jpeg"]),
        ("*/sub/deep/*", ["p/sub/deep/x.jpeg"]),
    ],
)
def test_patterns(pattern: str, expected: list[str], folder: Path) -> None:
    assert names(find_inputs([pattern])) == expected


def test_patterns_know_the_folder(folder: Path) -> None:
    assert [str(entry.folder) for entry in find_inputs(["p/**/*.png"])] == [".", "out"]
    assert names(find_inputs(["p/**/*.png"], exclude=[folder / "out"])) == ["p/10.png"]
    assert names(find_inputs(["p/out/*.png"], exclude=[folder / "out"])) == ["p/out/z.png"]


def test_a_file_may_be_called_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].png").touch()
    (folder / "a1.png").touch()
    assert names(find_inputs(["p/a[1].png"])) == ["p/a[1].png"]
    assert names(find_inputs(["p/a[12].png"])) == ["p/a1.png"]


def test_each_image_once(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "10.png")
    words = ["p/10.png", "p/../p/10.png", str(folder / "10.png"), "p/*.png", "p/link.png"]
    assert names(find_inputs(words)) == ["p/10.png"]
    assert names(find_inputs(["p/10.png", "p"]))[:2] == ["p/10.png", "p/2.JPG"]


def test_stdin() -> None:
    found = find_inputs(["-", "-"])
    assert found == [Input(None)]
    assert (found[0].name, found[0].stem, found[0].folder) == ("stdin", "stdin", Path())


@pytest.mark.parametrize("word", ["p/missing.png", "gone", "x" * 300, "a\0b.png"])
def test_a_missing_file_is_an_error_by_itself_only(word: str, folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        find_inputs([word])
    assert names(find_inputs(["p/10.png", word])) == ["p/10.png", word]


def test_what_holds_no_images(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "full/below").mkdir(parents=True)
    (folder / "full/below/x.png").touch()
    for word, message, hint in (
        ("", "got nothing", "None"),
        ("p/empty", "p/empty: there are no images in this folder", "images end with .png"),
        ("p/full", "no images in this folder", "--recursive takes those in its subfolders"),
        ("p/*.gif", "no images fit this pattern", "images end with"),
        ("p/*.txt", "no images fit this pattern", "images end with"),
        ("nowhere/*", "no images fit this pattern", "images end with"),
    ):
        for words in ([word], ["p/10.png", word]):
            with pytest.raises(UsageError, match=message) as raised:
                find_inputs(words)
            assert hint in str(raised.value.hint)
    with pytest.raises(UsageError, match="no images"):
        find_inputs(["p/empty"], recursive=True)


def test_folders_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UsageError, match="p: cannot be read: Permission denied"):
        find_inputs(["p"])


def test_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert names(find_inputs(["~/*.png"])) == [str(folder / "10.png")]


@given(numbers=st.lists(st.integers(0, 10**20), unique=True))
def test_numbers_sort_by_value(numbers: list[int]) -> None:
    words = sorted((f"frame{number}.png" for number in numbers), key=natural_key)
    assert words == [f"frame{number}.png" for number in sorted(numbers)]


@given(texts=st.lists(st.text()))
def test_any_names_can_be_sorted(texts: list[str]) -> None:
    assert sorted(sorted(texts, key=natural_key), key=natural_key) == sorted(reversed(texts), key=natural_key)


def test_manifest(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes('\ufeff{"image": "a.png", "seed": 1}\r\n\n  \n{"text": "a\u2028b"}'.encode())
    assert read_manifest(path) == [(1, {"image": "a.png", "seed": 1}), (4, {"text": "a\u2028b"})]
    assert parse_manifest('\ufeff{"a": null}\n', source="stdin") == [(1, {"a": None})]
    assert parse_manifest("", source="stdin") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("a.png", "is not JSON"),
        ('{"a": NaN}', "there is no NaN in JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", r"expected a JSON object, got \[1, 2\]"),
        ('"a"', "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("1" * 100, "expected a JSON object, got 1{40}$"),
    ],
)
def test_lines_that_are_no_jobs(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"jobs.jsonl, line 3: {message}|jobs.jsonl, line 3: is not JSON.*{message}"):
        parse_manifest(f"{{}}\n\n{line}\n", source="jobs.jsonl")


def test_files_that_are_no_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b'{}\n{"a": "\xff"}\n')
    with pytest.raises(UsageError, match=r"jobs\.jsonl, line 2: is not UTF-8"):
        read_manifest(path)
    monkeypatch.setattr(inputs, "LARGEST_MANIFEST", 5)
    with pytest.raises(UsageError, match="is larger than 0 MB"):
        read_manifest(path)
    for missing in (tmp_path, tmp_path / "none.jsonl", tmp_path / "a\0b"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_manifest(missing)
