"""Files and folders appear whole or not at all."""

import os
import subprocess
import sys
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


def killed_at(moment: str, path: Path) -> None:
    """Have a process make a folder at `path` and kill itself in the middle."""
    code = f"""
import os, signal, sys
from pathlib import Path
from bigr_cli.files import whole_directory
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
rename, calls = os.rename, []
def renaming(self, target):
    calls.append(target)
    if {moment!r} == "moving" and len(calls) == 2: die()
    rename(self, target)
Path.rename = renaming
with whole_directory(Path({str(path)!r})) as hidden:
    (hidden / "new").touch()
    if {moment!r} == "writing": die()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals and locks of POSIX")
@pytest.mark.parametrize(("moment", "before"), [("writing", True), ("writing", False), ("moving", True)])
def test_what_a_killed_process_left_is_tidied_up(tmp_path: Path, moment: str, before: bool) -> None:
    path, other = tmp_path / "a", tmp_path / ".b.0123456789ab.part"
    other.mkdir()
    if before:
        path.mkdir()
        (path / "old").touch()
    killed_at(moment, path)
    assert len(names(tmp_path)) == 2 + before  # the other's, what was made, and what was there, moved aside or not
    with pytest.raises(OSError, match="full"), whole_directory(path):
        raise OSError("full")
    assert names(tmp_path) == [other.name, *(["a"] if before else [])]
    if before:
        assert names(path) == ["old"]
    with whole_directory(path) as hidden:
        (hidden / "newer").touch()
    assert names(path) == ["newer"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of POSIX")
def test_what_another_process_is_making_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_directory(path) as first:
        (first / "one").touch()
        with whole_directory(path) as second:
            (second / "two").touch()
        assert names(path) == ["two"]
        assert names(first) == ["one"]
    assert names(path) == ["one"]
    assert names(tmp_path) == ["a"]


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
