"""Files and folders appear whole or not at all."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bigr_cli.files import atomic_write, cache_file, clear_leftovers
from bigr_cli.folders import whole_directory

OWN = ("old", "new", "newer", "one", "two", "x")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["f.txt"]


def test_after_an_error_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["f.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    for content in ("one", "two"):
        with whole_directory(path, OWN) as hidden:
            (hidden / content).write_text(content)
        assert names(path) == [content]
    assert names(path.parent) == ["b"]


def test_after_an_error_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), whole_directory(tmp_path / "a" / "b", OWN) as hidden:
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
    with pytest.raises(KeyboardInterrupt), whole_directory(path, OWN) as hidden:
        (hidden / "new").touch()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["a"]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_directory(tmp_path / "link", OWN) as hidden:
        (hidden / "x").touch()
    assert names(tmp_path / "real") == ["x"]
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]


def killed_at(moment: str, path: Path) -> None:
    """Have a process make a folder at `path` and kill itself in the middle."""
    code = f"""
import os, signal, sys
from pathlib import Path
from bigr_cli.folders import whole_directory
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
rename, calls = os.rename, []
def renaming(self, target):
    calls.append(target)
    if {moment!r} == "moving" and len(calls) == 2: die()
    rename(self, target)
Path.rename = renaming
with whole_directory(Path({str(path)!r}), {OWN}) as hidden:
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
    with pytest.raises(OSError, match="full"), whole_directory(path, OWN):
        raise OSError("full")
    assert names(tmp_path) == [other.name, *(["a"] if before else [])]
    if before:
        assert names(path) == ["old"]
    with whole_directory(path, OWN) as hidden:
        (hidden / "newer").touch()
    assert names(path) == ["newer"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of POSIX")
def test_what_another_process_is_making_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_directory(path, OWN) as first:
        (first / "one").touch()
        with whole_directory(path, OWN) as second:
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


posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links, modes and locks of POSIX")


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)
    yield lambda mask: os.umask(mask) and None
    os.umask(before)


@posix
@pytest.mark.parametrize("write", [atomic_write, cache_file])
def test_links_stay_links_and_files_keep_their_mode(write: Callable, tmp_path: Path, umask: Callable) -> None:
    real, link = tmp_path / "real" / "f", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o664)
    link.symlink_to("real/f")
    (tmp_path / "chain").symlink_to("link")
    umask(0o077)
    for number, path in enumerate((real, link, tmp_path / "chain")):
        with write(path) as hidden:
            hidden.write_text(str(number))
        assert (real.read_text(), mode_of(real)) == (str(number), 0o664)
    assert link.is_symlink() and (tmp_path / "chain").is_symlink() and not real.is_symlink()
    assert names(tmp_path) == ["chain", "link", "real"] and names(real.parent) == ["f"]


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o027, 0o640)])
def test_new_files_have_the_mode_that_the_umask_leaves(tmp_path: Path, umask: Callable, mask: int, mode: int) -> None:
    umask(mask)
    with atomic_write(tmp_path / "plain") as temporary:
        temporary.write_text("x")
    with atomic_write(tmp_path / "private") as temporary:  # as the safetensors library writes
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert mode_of(tmp_path / "plain") == mode_of(tmp_path / "private") == mode


@posix
def test_a_link_to_nothing_leads_to_a_new_file_and_a_loop_to_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new").read_text() == "x"
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"), atomic_write(tmp_path / "one"):
        pass
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "link", replace=False) as temporary:
        temporary.write_text("y")
    assert (tmp_path / "new").read_text() == "x"


@posix
def test_nothing_takes_the_place_of_a_device_or_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    with atomic_write(pipe) as temporary:
        temporary.write_text("through")
    assert reader.communicate(timeout=30)[0] == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / "null").symlink_to(os.devnull)
    with atomic_write(tmp_path / "null") as temporary:
        temporary.write_text("x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def killed_while_writing(path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from bigr_cli.files import atomic_write
with atomic_write(Path({str(path)!r})) as hidden:
    hidden.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0


@posix
@pytest.mark.parametrize("name", ["f.png", "n" * 200 + ".png", "ü" * 100 + ".png"])
def test_what_a_killed_process_left_of_a_file_is_cleared_by_the_next_run(tmp_path: Path, name: str) -> None:
    (tmp_path / ".other.png.part").write_text("somebody's")
    killed_while_writing(tmp_path / name)
    assert len(names(tmp_path)) == 2
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([".other.png.part", name])
    assert (tmp_path / name).read_text() == "whole"


@posix
def test_a_file_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with atomic_write(path) as first:
        first.write_text("one")
        clear_leftovers(tmp_path)
        with atomic_write(path) as second:
            second.write_text("two")
        assert first != second and path.read_text() == "two"
    assert path.read_text() == "one"
    assert names(tmp_path) == ["f"]


@posix
def test_leftovers_of_a_folder(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "a")
    killed_while_writing(tmp_path / "b")
    (tmp_path / ".c.part").touch()
    with atomic_write(tmp_path / "d"):
        assert len(names(tmp_path)) == 4
        clear_leftovers(tmp_path)
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == [".c.part", "d"]


@posix
def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with atomic_write(tmp_path / "f") as temporary:
        name = temporary.name
    (tmp_path / name).symlink_to("precious")
    with atomic_write(tmp_path / "f") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_folder_takes_only_the_place_of_its_own_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (path / "thesis").mkdir(parents=True)
    (path / "thesis" / "chapter1.tex").write_text("precious")
    (path / "notes").write_text("mine")
    (path / "old").write_text("ours")
    if sys.platform != "win32":
        path.chmod(0o775)
    with whole_directory(path, OWN) as hidden:
        (hidden / "new").write_text("ours")
    assert names(path) == ["new", "notes", "thesis"]
    assert (path / "thesis" / "chapter1.tex").read_text() == "precious"
    assert names(tmp_path) == ["a"]
    if sys.platform != "win32":
        assert mode_of(path) == 0o775
    with pytest.raises(OSError, match="full"), whole_directory(path, OWN):
        raise OSError("full")
    assert names(path) == ["new", "notes", "thesis"]
