"""The one on-disk cache: whole files by identity; damaged ones count as absent, unwritable places cost a warning."""

from pathlib import Path

import numpy as np
import pytest

from bigr_cli.home import Cache, digest, intact, save_array


def read(path: Path) -> list[int]:
    return np.load(path, allow_pickle=False).tolist()


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_kept_under_its_identity(home: Path, durable: bool) -> None:
    cache = Cache("numbers", "numbers", durable)
    path = cache.path({"b": 1, "a": 2}, ".npy")
    assert path == cache.path({"a": 2, "b": 1}, ".npy") != cache.path({"a": 2, "b": 2}, ".npy")
    assert path.parent == home / "cache" / "numbers" and not path.parent.exists()
    assert intact(read, path) is None
    assert cache.write(path, lambda hidden: save_array(hidden, np.arange(3)))
    assert intact(read, path) == [0, 1, 2]
    assert [each.name for each in path.parent.iterdir()] == [f"{digest({'a': 2, 'b': 1})}.npy"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 no archive", b"[1, 2", b"\x80\x04K\x01."])
def test_what_is_damaged_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    assert intact(read, tmp_path / "x.npy") is None
    assert intact(read, tmp_path) is None


def test_nothing_is_left_of_a_write_that_fails(home: Path) -> None:
    cache = Cache("numbers")

    def broken(hidden: Path) -> None:
        hidden.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.write(cache.path("x", ".txt"), broken)
    assert list(cache.folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "cache").write_text("no folder")
    for cache in (Cache("said", "numbers"), Cache("said", "numbers"), Cache("unsaid")):
        assert not cache.write(cache.path("x", ".npy"), lambda hidden: save_array(hidden, np.arange(3)))
    err = capsys.readouterr().err
    assert err.count("numbers cannot be kept") == 1 == err.count("warning") and "BIGR_HOME" in err
