"""Data that changed since a run began: it is said, and what was held out is never trained on."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.data.file_source import FileSource
from bigr_cli.data.folders import FolderSource
from bigr_cli.errors import CheckpointError, UsageError
from bigr_cli.training.config import DataConfig
from bigr_cli.training.data import DATA_FILE, labels_of_old_run, open_recorded, read_record


def image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)


def fill(root: Path, count: int = 30) -> Path:
    for number in range(count):
        image(root / f"{number}.png", number)
    return root


def begin(data: Path | str, run: Path) -> tuple[FileSource, FileSource]:
    training, held_out, record = open_recorded(DataConfig(str(data)), 8)
    assert record is not None and isinstance(training, FileSource) and isinstance(held_out, FileSource)
    run.mkdir(exist_ok=True)
    record.write(run)
    return training, held_out


def go_on(data: Path | str, run: Path, **options: bool) -> tuple[FileSource, FileSource]:
    training, held_out, record = open_recorded(DataConfig(str(data)), 8, run=run, **options)
    assert record is not None and isinstance(training, FileSource) and isinstance(held_out, FileSource)
    record.write(run)
    return training, held_out


def contents(source: FileSource) -> set[bytes]:
    found = set()
    for index in range(len(source)):
        with source.opened(index) as stream:
            found.add(stream.read())
    return found


def test_what_changed_is_said_and_held_out_images_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = fill(tmp_path / "d"), tmp_path / "run"
    _, held_out = begin(data, run)
    before = contents(held_out)
    assert len(before) == 3
    go_on(data, run)
    assert capsys.readouterr().err == ""
    for number in range(100, 120):
        image(data / f"{number}.png", number)
    for number in range(0, 30, 7):
        (data / f"{number}.png").unlink()
    image(data / "3.png", 999)  # same name and size, so only its date tells
    image(data / "1.png", 5000)
    with (data / "1.png").open("ab") as stream:
        stream.write(b"longer")
    training, held_out = go_on(data, run)
    said = capsys.readouterr().err
    assert "the images have changed since the run began: 20 added, 5 removed, 1 changed; there were 30, now" in said
    assert not contents(training) & before
    assert len(training) + len(held_out) == 45


def test_held_out_images_are_known_by_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = fill(tmp_path / "d"), tmp_path / "run"
    _, held_out = begin(data, run)
    before = contents(held_out)
    for path in sorted(data.iterdir()):
        path.rename(data / f"new-{path.name}")
    training, again = go_on(data, run)
    assert contents(again) == before
    said = capsys.readouterr().err
    assert "3 of 3 images that were held out are gone; 3 with other names are the same images and stay" in said
    shutil.copy(next(data.glob("new-1*")), tmp_path / "x.png")
    name = data / again.called(0).rpartition("/")[2]
    shutil.copy(name, data / "copy.png")
    training, again = go_on(data, run)
    assert not contents(training) & before
    assert len(again) == 4


def test_data_that_was_packed_meanwhile(tmp_path: Path) -> None:
    data, run = fill(tmp_path / "d"), tmp_path / "run"
    _, held_out = begin(data, run)
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        archive.add(data, "d")
    training, again = go_on(tmp_path / "d.tar", run)
    assert contents(again) == contents(held_out)
    assert len(training) == 27


def test_another_place_or_normal_form_is_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = fill(tmp_path / "d"), tmp_path / "run"
    image(data / "caf\u00e9.png", 77)
    _, held_out = begin(data, run)
    shutil.copytree(data, tmp_path / "e")
    (tmp_path / "e" / "caf\u00e9.png").rename(tmp_path / "e" / "cafe\u0301.png")
    _, again = go_on(tmp_path / "e", run)
    assert capsys.readouterr().err == ""
    assert contents(again) == contents(held_out)


def test_other_data_altogether(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = fill(tmp_path / "d"), tmp_path / "run"
    begin(data, run)
    for number in range(20):
        image(tmp_path / "e" / f"e{number}.png", 1000 + number)
    training, held_out = go_on(tmp_path / "e", run)
    assert (len(training), len(held_out)) == (18, 2)
    assert "20 added, 30 removed" in capsys.readouterr().err


def test_classes_keep_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "d", tmp_path / "run"
    for number in range(24):
        image(data / ("2", "10", "b")[number % 3] / f"{number}.png", number)
    training, _ = begin(data, run)
    assert training.labels == ("2", "10", "b")
    shutil.rmtree(data / "2")
    training, _ = go_on(data, run)
    assert training.labels == ("2", "10", "b")
    assert {training.label(index) for index in range(len(training))} == {1, 2}
    assert "the run's classes 2 have no images any more" in capsys.readouterr().err
    image(data / "a" / "new.png", 1)
    with pytest.raises(UsageError, match="has classes that the run lacks: a"):
        go_on(data, run)
    go_on(data, run, classes=False)  # a tokenizer learns none


def test_runs_without_a_record_go_on_as_they_began(tmp_path: Path) -> None:
    data, run = tmp_path / "d", tmp_path / "run"
    for number in range(30):
        image(data / ("10", "2")[number % 2] / f"{number}.png", number)
    run.mkdir()
    training, held_out = go_on(data, run)
    assert training.labels == ("10", "2")  # as letters, which they went by then
    assert isinstance(held_out, FolderSource)
    names = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    assert held_out.files == tuple(names[place] for place in sorted(np.random.default_rng(0).permutation(30)[:3]))
    assert labels_of_old_run(training, ("2", "10")) == ("2", "10")
    assert labels_of_old_run(training, ("picture",)) == ()


@given(count=st.integers(20, 60), more=st.integers(1, 40), seed=st.integers(0, 99))
def test_the_choice_goes_by_name(count: int, more: int, seed: int) -> None:
    def chosen(names: list[str]) -> set[str]:
        source = FolderSource(Path("."), tuple(names), (0,) * len(names), (), 16)
        return {name for name, out in zip(names, source.chosen(5, seed=seed), strict=True) if out}

    few = [f"{number}.png" for number in range(count)]
    many = few + [f"more-{number}.png" for number in range(more)]
    assert len(chosen(few)) == 5
    assert chosen(many) & set(few) <= chosen(few)  # none comes to be held out because of others
    assert chosen(few[::-1]) == chosen(few)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"PK\x03\x04cut"])
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / DATA_FILE).write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"data\.npz: cannot be read"):
        read_record(tmp_path)
