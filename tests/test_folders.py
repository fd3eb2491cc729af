"""Two processes that would write to one place."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bigr_cli.folders import FolderLock, InUseError, folder_lock
from bigr_cli.tasks._sharing import Turn

Run = Callable[..., Any]
HOLD = """
import sys, time
from pathlib import Path
from bigr_cli.folders import FolderLock
FolderLock(Path(sys.argv[1])).take()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the folder `place`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "place")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_refused_and_told_by_whom(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = FolderLock(tmp_path / "place")
    with pytest.raises(InUseError) as caught:
        lock.take()
    who = f"process {holder.pid}" if sys.platform == "linux" else "another process"
    assert str(caught.value) == f"{tmp_path / 'place'}: is in use by {who}"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock.take()  # what is left of a killed process is in nobody's way
    lock.leave()
    assert list((tmp_path / "place").iterdir()) == []


FORK = """
import os, sys, time
from pathlib import Path
from bigr_cli.folders import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_process_does_not_hold_the_lock_beyond_its_parent(tmp_path: Path) -> None:
    """As those that load the data of a training, when it is killed."""
    command = [sys.executable, "-c", FORK, str(tmp_path / "place")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            lock = FolderLock(tmp_path / "place")
            with pytest.raises(InUseError):
                lock.take()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            lock.take()
            lock.leave()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "a" / "b") as lock:
        lock.take()
        lock.take()  # it is held already
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with folder_lock(tmp_path / "a") as lock:
        lock.take()
        with pytest.raises(InUseError):
            FolderLock(tmp_path / "a").take()
    FolderLock(tmp_path / "a").take()
    assert (tmp_path / "a").is_dir()


def test_a_folder_with_something_in_it_stays(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "a" / "b") as lock:
        lock.take()
        (tmp_path / "a" / "b" / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_waiting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, order = FolderLock(tmp_path), Turn(tmp_path), list[str]()
    first.take()

    def later() -> None:
        second.take()
        order.append("second")
        second.leave()

    thread = threading.Thread(target=later)
    thread.start()
    time.sleep(0.5)
    order.append("first")
    first.leave()
    thread.join(20)
    assert order == ["first", "second"]
    assert f"{tmp_path}: waiting for " in capsys.readouterr().err


def test_two_trainings_in_one_folder(bigr: Run, tmp_path: Path) -> None:
    run, settings = (
        tmp_path / "run",
        ("tokenizer.image_size=16", "tokenizer.bits=4", "run.batch=2", "data.validation=2"),
    )
    words = ("train-tokenizer", "--data", "scenes", "-o", run, *settings, "data.workers=0")
    with folder_lock(run) as lock:
        lock.take()
        refused = bigr(*words, "run.steps=1")
        assert (refused.code, f"{run}: is in use by" in refused.err) == (2, True)
        assert list(run.iterdir()) == []
    assert bigr(*words, "run.steps=1").code == 0
    before = (run / "metrics.jsonl").read_bytes()
    with folder_lock(run) as lock:
        lock.take()
        for again in ((*words, "run.steps=2"), ("train-tokenizer", "--resume", run, "run.steps=2")):
            refused = bigr(*again)
            assert (refused.code, f"{run}: is in use by" in refused.err) == (2, True)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert bigr("train-tokenizer", "--resume", run, "run.steps=2").code == 0


def test_two_runs_that_embed_into_one_file(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    words = ("embed", "scenes", "--count", 2, "-m", tiny_model, "-o", tmp_path / "x.npz", "--device", "cpu")
    with folder_lock(tmp_path / ".x.npz.features") as lock:
        lock.take()
        refused = bigr(*words)
        assert (refused.code, f"{tmp_path / 'x.npz'}: is in use by" in refused.err) == (2, True)
        assert not (tmp_path / "x.npz").exists()
    assert bigr(*words).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_runs_that_skip_what_is_there_take_turns(
    bigr: Run, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    words = ("generate", "cat", "-m", tiny_model, "--seed", 1, "-o", tmp_path / "out", "--skip-existing")
    first = FolderLock(tmp_path / "out")
    first.take()

    def end() -> None:
        (tmp_path / "out" / "cat-1.png").write_bytes(b"made by the first run")
        first.leave()

    timer = threading.Timer(1.0, end)
    timer.start()
    second = bigr(*words)
    timer.join()
    assert second.code == 0 and "waiting for" in second.err and "there already" in second.err
    assert (tmp_path / "out" / "cat-1.png").read_bytes() == b"made by the first run"
    assert len(list((tmp_path / "out").iterdir())) == 1
