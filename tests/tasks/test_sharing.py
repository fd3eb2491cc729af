"""Images that several processes make together: the same files as one makes, and what is lost is made later."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bigr_cli.runtime import processes

Run = Callable[..., Any]
WORK = ("generate", "cat", "dog", "-n", "3", "--seed", "5", "--device", "cpu", "--dtype", "float32")
needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals")


# Be killed on coming to the second image.
DIES = """
import os, signal
from bigr_cli.editing import generate as generation
sample, seen = generation.sample_jobs, []
def dying(*arguments):
    if seen:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(1)
    return sample(*arguments)
generation.sample_jobs = dying
"""
# Be sent a SIGTERM when a file is half written.
TERMINATED = """
import os, signal, time
from bigr_cli import files
flush = files.flush
def interrupted(path):
    if path.name.endswith(".part"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
    flush(path)
files.flush = interrupted
"""


@pytest.fixture(autouse=True)
def place(workplace: Path) -> None:
    """The current folder is an empty one but for `in.png`."""


def held(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_two_processes_make_the_files_of_one(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "one/", "--grid", "one.png").code == 0
    first, second = together(2, *WORK, "-o", "two/", "--grid", "two.png", "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert held("two") == held("one")
    assert Path("two.png").read_bytes() == Path("one.png").read_bytes()
    lines = [[json.loads(line)["index"] for line in each.out.splitlines()] for each in (first, second)]
    assert lines == [[0, 2, 4], [1, 3, 5]]
    assert "wrote 6 images" in first.err
    assert second.err == ""


def test_two_processes_share_interpolations(bigr: Run, together: Run) -> None:
    words = ("interpolate", "cat", "dog", "-n", "3", "--frames", "3", "--seed", "5", "--device", "cpu")
    words = (*words, "--dtype", "float32", "-o")
    assert bigr(*words, "one/{seed}.png").code == 0
    first, second = together(2, *words, "two/{seed}.png")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert held("two") == held("one")


def test_what_is_there_stays_and_is_said_once(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "one/").code == 0
    Path("one/cat-6.png").write_bytes(b"kept")
    Path("one/dog-8.png").unlink()
    before = held("one")
    first, second = together(2, *WORK, "-o", "one/")
    assert (first.code, second.code) == (2, 2)
    assert "exists already" in first.err
    assert second.err == ""
    assert held("one") == before


@needs_signals
def test_a_lost_share_is_made_later(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "one/").code == 0
    first, lost = together(2, *WORK, "-o", "two/", "--batch-size", "1", before={1: DIES})
    assert lost.code == -signal.SIGKILL
    assert first.code == 1
    assert "another process has ended" in first.err
    assert "--skip-existing" in first.err
    written = {path.name: path.stat().st_mtime_ns for path in Path("two").glob("[!.]*")}
    assert {"cat-5.png", "cat-7.png", "dog-9.png"} <= written.keys() <= held("one").keys() - {"dog-8.png", "dog-10.png"}
    first, second = together(2, *WORK, "-o", "two/", "--skip-existing", "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    made = {Path(json.loads(line)["path"]).name for line in (first.out + second.out).splitlines()}
    assert made == held("one").keys() - written.keys()
    assert {name: data for name, data in held("two").items() if not name.startswith(".")} == held("one")
    assert all(Path("two", name).stat().st_mtime_ns == time for name, time in written.items())


@needs_signals
def test_a_terminated_process_leaves_no_half_files(together: Run) -> None:
    _, second = together(2, *WORK, "-o", "out/", "--batch-size", "1", before={1: TERMINATED})
    assert second.code == 128 + signal.SIGTERM
    assert {name for name in held("out") if name.startswith(".")} == set()
    assert "cat-6.png" in held("out")  # what was being written is whole


def test_images_of_a_folder_are_shared(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "in/").code == 0
    Path("in/broken.png").write_bytes(b"no image")
    paint = ("inpaint", "in", "--mask-box", "2,2,9,9", "--class", "dog", "--seed", "3", "--device", "cpu")
    alone = bigr(*paint, "-o", "one/", "--grid", "one.png", "--failures", "one.jsonl")
    first, second = together(2, *paint, "-o", "two/", "--grid", "two.png", "--failures", "two.jsonl", "--json")
    assert alone.code == 1
    assert (first.code, second.code) == (1, 0), first.err + second.err
    assert held("two") == held("one")
    for name in ("{}.png", "{}.jsonl"):
        assert Path(name.format("two")).read_bytes() == Path(name.format("one")).read_bytes()
    assert "1 image of 7 failed" in first.err
    assert len((first.out + second.out).splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((*WORK, "--steps-preview", "film.gif"), "--steps-preview is for one process"),
        (("enrich", ".", "--watch"), "--watch and --manifest - are for one process"),
    ],
)
def test_what_only_one_process_can_do(together: Run, words: tuple[str, ...], reason: str) -> None:
    first, second = together(2, *words)
    assert (first.code, second.code) == (2, 2)
    assert reason in first.err
    assert second.err == ""


def test_more_processes_than_images(bigr: Run, together: Run) -> None:
    one = ("generate", "cat", "--seed", "5", "--device", "cpu", "--dtype", "float32")
    assert bigr(*one, "-o", "one.png").code == 0
    first, second = together(2, *one, "-o", "two.png")
    assert (first.code, second.code, second.err) == (0, 0, "")
    assert Path("two.png").read_bytes() == Path("one.png").read_bytes()


def test_one_that_never_came_is_not_waited_for(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MEETING", timedelta(seconds=1))
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    first = bigr(*WORK, "-o", "out/")
    assert first.code == 1
    assert "process 0 of 2 cannot reach the others" in first.err
    assert not Path("out").exists()


@pytest.mark.slow
@needs_signals
def test_torchrun_ends_all_when_it_is_stopped(tmp_path: Path) -> None:
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bigr_cli"]
    many = ("generate", "cat", "-n", "50000", "--seed", "0", "-o", "out/", "--batch-size", "1", "--device", "cpu")
    running = subprocess.Popen([*launched, *many], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    while len(list(Path("out").glob("cat-*.png"))) < 10:
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=120)
    assert running.returncode != 0
    assert list(Path("out").glob(".*")) == []
    assert "Traceback" not in err.partition("torch/distributed")[0]
