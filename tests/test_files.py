"""Files and folders appear whole or not at all."""

import os
from pathlib import Path

import pytest

from bigr_cli.files import cache_file, whole_directory, whole_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with whole_file(path) as hidden:
        hidden.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["f.txt"]


def test_after_an_error_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as hidden:
        hidden.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["f.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    for content in ("one", "two"):
        with whole_directory(path) as hidden:
            (hidden / content).write_text(content)
        assert names(path) == [content]
    assert names(path.parent) == ["b"]


def test_after_an_error_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), whole_directory(tmp_path / "a" / "b") as hidden:
        (hidden / "x").write_text("x")
        raise OSError("full")
    assert names(tmp_path) == []


def test_the_old_folder_comes_back_if_the_places_cannot_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()
    rename, calls = os.rename, []

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(Path, "rename", lambda self, target: failing(self, target))
    with pytest.raises(KeyboardInterrupt), whole_directory(path) as hidden:
        (hidden / "new").touch()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["a"]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_directory(tmp_path / "link") as hidden:
        (hidden / "x").touch()
    assert names(tmp_path / "real") == ["x"]
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]


def test_a_file_of_a_cache_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(ValueError), cache_file(path) as hidden:
        hidden.write_text("half")
        raise ValueError
    assert path.read_text() == "old"
    with cache_file(path) as hidden:
        hidden.write_text("new")
        assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    assert path.read_text() == "new"
