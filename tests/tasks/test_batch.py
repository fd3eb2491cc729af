"""What holds for every task that works on many images: going on, watching, sheets, flat memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]
MASK = ("--mask-box", "25%,25%,50%,50%")
QUICK = ("--steps", "1", "--timesteps", "1")


def folder(name: str, count: int, *, broken: int = 0) -> Path:
    path = Path(name)
    path.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    for index in range(count):
        if index < broken:
            (path / f"p{index}.png").write_bytes(b"\x89PNG broken")
        else:
            Image.fromarray(levels[index]).save(path / f"p{index}.png")
    return path


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def killed_and_started_again(bigr: Run, bigr_forked: Run, count: int, broken: int) -> None:
    folder("in", count, broken=broken)
    words = ("inpaint", "in", *MASK, *QUICK, "-o", "out/", "--skip-existing")
    process = bigr_forked(*words)
    assert wait_for(lambda: Path("out").is_dir() and len(os.listdir("out")) > count // 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in Path("out").glob("*.png"):  # what is there is whole
        with Image.open(path) as image:
            image.load()
    made = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert len(made) < count - broken
    done = bigr(*words)
    assert done.code == (1 if broken else 0), done.err
    assert f"skipped {len(made)}" in done.err
    assert f"{broken} images of" in done.err or not broken
    assert {path: path.stat().st_mtime_ns for path in made} == made
    names = [path.name.partition("-")[0] for path in Path("out").glob("*.png")]
    assert sorted(names) == sorted(f"p{index}" for index in range(broken, count))


def test_a_run_that_was_killed_goes_on(bigr: Run, bigr_forked: Run) -> None:
    killed_and_started_again(bigr, bigr_forked, 60, 0)


@pytest.mark.slow
def test_a_thousand_images_with_ten_broken_killed_in_the_middle(bigr: Run, bigr_forked: Run) -> None:
    killed_and_started_again(bigr, bigr_forked, 1000, 10)


def test_what_a_killed_run_left_half_written_is_hidden(bigr: Run) -> None:
    folder("in", 3)
    Path("out").mkdir()
    Path("out/.p0-inpaint-1.png.123.part").write_bytes(b"half")
    assert bigr("inpaint", "in", *MASK, *QUICK, "--seed", 1, "-o", "out/", "--skip-existing").code == 0
    assert len(list(Path("out").glob("*.png"))) == 3


def test_a_watched_folder(bigr_forked: Run) -> None:
    folder("in", 2)
    process = bigr_forked("inpaint", "in", *MASK, *QUICK, "--seed", "1", "-o", "out/", "--watch")
    try:
        assert wait_for(lambda: Path("out").is_dir() and len(list(Path("out").glob("*.png"))) == 2)
        Image.new("RGB", (20, 20), "red").save("in/late.png")
        assert wait_for(lambda: Path("out/late-inpaint-1.png").exists())
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait().code == 130


def test_a_sheet_has_a_row_for_each_image(bigr: Run) -> None:
    folder("in", 2)
    done = bigr("inpaint", "in", *MASK, *QUICK, "-n", 3, "--seed", 1, "-o", "out/", "--grid", "sheet.png")
    assert done.code == 0, done.err
    with Image.open("sheet.png") as sheet, Image.open("in/p1.png") as first, Image.open("out/p1-inpaint-3.png") as last:
        assert sheet.size == (4 * 18 - 2, 2 * 18 - 2)
        assert sheet.crop((0, 18, 16, 34)).tobytes() == first.convert("RGB").tobytes()
        assert sheet.crop((54, 18, 70, 34)).tobytes() == last.convert("RGB").tobytes()


def test_interrupted_by_ctrl_c(bigr_forked: Run) -> None:
    folder("in", 200)
    process = bigr_forked("inpaint", "in", *MASK, "-o", "out/")
    assert wait_for(lambda: Path("out").is_dir() and len(os.listdir("out")) > 3)
    process.send_signal(signal.SIGINT)
    assert process.wait().code == 130
    for path in Path("out").iterdir():
        assert path.suffix == ".png"
        with Image.open(path) as image:
            image.load()


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    """The peak of a run over many images is that of a run over few."""
    folder("in", 2000)
    peaks = []
    for count in (10, 2000):
        pattern = "in/p?.png" if count == 10 else "in"
        code = (
            "import resource, sys; from bigr_cli.app import main\n"
            f"assert main(['inpaint', {pattern!r}, '--mask-box', '0,0,5,5', '--steps', '1', '--timesteps', '1',"
            f" '-o', 'out{count}/', '-q']) == 0\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.15 * peaks[0], peaks
