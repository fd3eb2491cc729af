"""`bigr log`: what was made, again byte for byte; whatever happens to the database, images are made."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigr_cli.tasks import _image_log
from bigr_cli.zoo.config import read_config

Run = Callable[..., Any]
ROW = {"task": "generate", "model": "m", "label": "cat", "seed": 1, "seconds": 0.5, "recipe": {}}


@pytest.fixture(autouse=True)
def logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have the log off."""
    monkeypatch.setenv("BIGR_LOG", "on")


def logged(bigr: Run, *words: object) -> list[dict[str, Any]]:
    done = bigr("log", *words, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_what_was_made_is_listed_and_made_again(bigr: Run, workplace: Path, home: Path, monkeypatch: Any) -> None:
    assert bigr("generate", "cat", "-n", 2, "--seed", 5, "-o", "out/").code == 0
    assert bigr("inpaint", "in.png", "--mask-box", "2,2,9,9", "--seed", 3, "-o", "done.png", "--no-metadata").code == 0
    assert bigr("interpolate", "cat", "dog", "--frames", 3, "--seed", 1, "-o", "frames/", "--strength", 1).code == 0
    rows = logged(bigr)
    assert [(row["number"], row["task"], row["label"], row["seed"]) for row in rows] == [
        (1, "generate", "cat", 5),
        (2, "generate", "cat", 6),
        (3, "inpaint", "none", 3),
        (4, "interpolate", "cat, dog", 1),
    ]
    assert [Path(row["path"]) for row in rows[:3]] == [
        workplace / "out" / "cat-5.png",
        workplace / "out" / "cat-6.png",
        workplace / "done.png",
    ]
    assert all(row["seconds"] >= 0 and row["made"].startswith(time.strftime("%Y-")) for row in rows)
    assert [row["number"] for row in logged(bigr, "-n", 1)] == [4]
    assert [row["number"] for row in logged(bigr, "--search", "INTER")] == [4]
    assert stat.S_IMODE((home / "log.db").stat().st_mode) == 0o600
    table = bigr("log").out.splitlines()
    assert table[0].split() == ["number", "made", "task", "model", "prompt", "seed", "seconds", "path"]
    assert len(table) == 5
    shown = bigr("log", "show", 3)
    assert "bigr inpaint in.png --mask-box 2,2,9,9" in shown.out and "-o done.png" in shown.out
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # where in.png is not
    assert bigr("log", "again", 2, "-o", "again.png").code == 0
    assert (elsewhere / "again.png").read_bytes() == (workplace / "out" / "cat-6.png").read_bytes()
    for number, name in ((3, "done.png"), (4, "frames")):
        assert bigr("log", "again", number).code == 0
        assert (elsewhere / name).exists() and Path.cwd() == elsewhere
    first, again = (sorted((folder / "frames").iterdir()) for folder in (workplace, elsewhere))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    refused = bigr("log", "again", 3)
    assert refused.code == 2 and "--overwrite" in refused.err
    assert bigr("log", "again", 3, "--overwrite").code == 0
    (workplace / "done.png").unlink()
    assert "done.png (gone)" in bigr("log").out


def test_an_image_of_an_earlier_state_of_a_training_is_said_to_be_one(
    bigr: Run, workplace: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, "runs/x")
    config = Path("runs/x/config.yaml")
    config.write_text(config.read_text().replace("name: tiny", "name: x"))
    assert bigr("generate", "cat", "--seed", 5, "-m", "runs/x", "-o", "a.png").code == 0
    digests = read_config(Path("runs/x")).sha256
    for digest in digests.values():
        config.write_text(config.read_text().replace(digest, "0" * 64))
    done = bigr("log", "again", 1, "-o", "b.png")
    assert (done.code, done.err.count("error:"), done.err.count("warning:")) == (2, 1, 0)
    assert "image 1 was made by an earlier state of runs/x" in done.err and "-m runs/x" in done.err
    shutil.rmtree("runs")
    assert "the model 'x' that made it is not here" in bigr("log", "again", 1, "-o", "b.png").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["again"], "show or again and a number"),
        (["again", "x"], "show or again and a number"),
        (["forget", "1"], "show or again and a number"),
        (["show", "1", "2"], "show or again and a number"),
        (["show", "7"], "no image 7"),
        (["again", "99999999999999999999999"], "no image"),
        (["--off", "--on"], "each for themselves"),
        (["show", "1", "--off"], "each for themselves"),
        (["-n", "0"], "'-n'"),
    ],
)
def test_wrong_usage(bigr: Run, words: list[str], message: str) -> None:
    done = bigr("log", *words)
    assert done.code == 2 and message in done.err, done.err


def test_it_can_be_turned_off_and_cleared(bigr: Run, workplace: Path, home: Path, monkeypatch: Any) -> None:
    make = ("generate", "cat", "--overwrite", "-o", "a.png", "-q")
    assert bigr("log").err == "nothing was made here yet\n"
    monkeypatch.setenv("BIGR_LOG", "off")
    assert bigr(*make).code == 0
    assert not (home / "log.db").exists()
    assert "the log is off: BIGR_LOG=off" in bigr("log").err
    monkeypatch.delenv("BIGR_LOG")
    assert bigr("log", "--off").code == 0
    assert bigr(*make).code == 0
    assert logged(bigr) == []
    assert bigr("log", "--on").code == 0
    assert bigr(*make).code == 0
    assert len(logged(bigr)) == 1
    done = bigr("log", "--clear")
    assert "forgot 1 images" in done.err and (workplace / "a.png").exists()
    assert logged(bigr) == [] and not list(home.glob("log.db*"))


def _is_no_database(home: Path) -> None:
    (home / "log.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


def _is_a_folder(home: Path) -> None:
    (home / "log.db").mkdir()


def _is_newer(home: Path) -> None:
    with sqlite3.connect(home / "log.db") as database:
        database.execute("PRAGMA user_version = 2")


def _lacks_its_table(home: Path) -> None:
    with sqlite3.connect(home / "log.db") as database:
        database.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize("damage", [_is_no_database, _is_a_folder, _is_newer, _lacks_its_table])
def test_a_damaged_database_is_one_warning(
    bigr: Run, workplace: Path, home: Path, damage: Callable[[Path], None]
) -> None:
    damage(home)
    done = bigr("generate", "cat", "-n", 3, "-o", "out/", "-q")
    assert done.code == 0 and len(list((workplace / "out").iterdir())) == 3
    (line,) = done.err.splitlines()
    assert line.startswith(f"warning: {home / 'log.db'}: what is made is not in the log") and "--clear" in line
    read = bigr("log")
    assert read.code == 1 and "--clear" in read.err and "Traceback" not in read.err
    if damage is not _is_a_folder:
        assert bigr("log", "--clear").code == 0
        assert bigr("generate", "cat", "-o", "b.png", "-q").err == ""
        assert len(logged(bigr)) == 1


def test_a_home_that_is_a_file_is_one_warning(bigr: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "file").touch()
    monkeypatch.setenv("BIGR_HOME", str(workplace / "file"))
    done = bigr("generate", "cat", "-o", "a.png", "-q")
    assert done.code == 0 and done.err.count("warning") == 1 and (workplace / "a.png").exists()


def test_a_locked_database_costs_seconds_only(bigr: Run, workplace: Path, home: Path, monkeypatch: Any) -> None:
    _image_log.Log().write()
    monkeypatch.setattr(_image_log, "_PATIENCE", 0.2)
    assert bigr("generate", "cat", "-o", "a.png", "-q").err == ""
    holder = sqlite3.connect(home / "log.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    done = bigr("generate", "cat", "-o", "b.png", "-q")
    assert done.code == 0 and "locked" in done.err and time.monotonic() - began < 10
    holder.execute("ROLLBACK")
    holder.close()
    assert len(logged(bigr)) == 1


def test_processes_write_beside_each_other(bigr: Run, home: Path) -> None:
    code = (
        "from bigr_cli.tasks._image_log import Log\n"
        f"for i in range(25):\n  log = Log()\n  log.add({ROW!r} | {{'seed': i}})\n  log.write()\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        assert process.communicate(timeout=60)[1] == ""
    rows = logged(bigr, "-n", 1000)
    assert sorted(row["number"] for row in rows) == list(range(1, 101))
    assert sorted(row["seed"] for row in rows) == sorted(list(range(25)) * 4)


def test_the_oldest_are_forgotten_and_numbers_stay(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_log, "KEPT", 5)
    log = _image_log.Log()
    for seed in range(12):
        log.add({**ROW, "seed": seed, "path": f"{seed}.png"})
    log.write()
    assert [row["number"] for row in logged(bigr)] == [8, 9, 10, 11, 12]
    assert os.path.isabs(logged(bigr)[0]["path"])


def test_noting_costs_next_to_nothing(home: Path) -> None:
    log, began = _image_log.Log(), time.process_time()
    for seed in range(1000):
        log.add({**ROW, "seed": seed, "path": f"{seed}.png", "recipe": dict.fromkeys(map(str, range(40)), 1.5)})
    log.write()
    assert time.process_time() - began < 0.5  # seconds for a thousand images
