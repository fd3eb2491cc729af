"""What a task has written is no input of it, and every image gets a file of its own."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bigr_cli.tasks._earlier import Watch

Run = Callable[..., Any]

MASK = ("--mask-box", "25%,25%,50%,50%")
QUICK = ("--steps", "1", "--timesteps", "1")

pytestmark = pytest.mark.usefixtures("workplace")


def image(path: str, color: str = "red") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), color).save(path)


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def watching(bigr_forked: Run) -> Callable[..., AbstractContextManager[None]]:
    """A `bigr` that goes on until it is interrupted."""

    @contextmanager
    def watch(*words: object) -> Iterator[None]:
        process = bigr_forked(*words, "--watch")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait().code == 130

    return watch


def appears(path: str) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end and not Path(path).exists():
        time.sleep(0.05)
    return Path(path).exists()


def test_images_of_one_name_get_numbers_that_stay(bigr: Run) -> None:
    words = ("inpaint", "in", *MASK, *QUICK, "--seed", 1, "-o", "out/", "--skip-existing")
    image("in/IMG_1.png", "red")
    assert bigr(*words).code == 0
    assert files("out") == ["IMG_1-inpaint-1.png"]
    image("in/IMG_1.jpg", "blue")  # it comes before the other one, which keeps its file
    assert bigr(*words).code == 0
    assert files("out") == ["IMG_1-inpaint-1-2.png", "IMG_1-inpaint-1.png"]
    for name, place in (("IMG_1-inpaint-1.png", 0), ("IMG_1-inpaint-1-2.png", 2)):
        with Image.open(f"out/{name}") as made:
            assert made.convert("RGB").getpixel((19, 19))[place] > 200  # what is outside the mask
    done = bigr(*words)
    assert "nothing to do: 2 done already" in done.err


def test_a_drawn_seed_finds_the_numbers_too(bigr: Run) -> None:
    words = ("inpaint", "in", *MASK, *QUICK, "-o", "out/", "--skip-existing")
    image("in/b.png")
    assert bigr(*words).code == 0
    image("in/b.gif")
    image("in/b.bmp")
    assert bigr(*words).code == 0
    assert len(files("out")) == 3
    assert "nothing to do: 3 done already" in bigr(*words).err


@pytest.mark.parametrize("names", [("a b.png", "a-b.png"), ("x" * 70 + "1.png", "x" * 70 + "2.png")])
def test_names_that_are_the_same_when_cut(bigr: Run, names: tuple[str, str]) -> None:
    for name in names:
        image(f"in/{name}")
    assert bigr("enrich", *(f"in/{name}" for name in names), *QUICK, "--seed", 1, "-o", "out/").code == 0
    assert len(files("out")) == 2


def test_files_of_one_name_in_two_folders(bigr: Run) -> None:
    image("a/x.png")
    image("b/x.png")
    assert bigr("edit", "a/x.png", "b/x.png", "--class", "cat", *QUICK, "--seed", 1, "-o", "out/").code == 0
    assert files("out") == ["x-edit-1-2.png", "x-edit-1.png"]
    again = bigr("edit", "a/x.png", "b/x.png", "--class", "cat", *QUICK, "--seed", 1, "-o", "same.png")
    assert (again.code, Path("same.png").exists()) == (2, False)
    assert "is one file for 2" in again.err


def test_long_names_and_long_texts(bigr: Run, tiny_text_model: Path) -> None:
    text = "a red house on grass at night with a very long description of all that is in it "
    words = ("generate", text + "one", text + "two", *QUICK, "--seed", 1, "-m", tiny_text_model, "-o", "out/")
    assert bigr(*words).code == 0
    assert len(files("out")) == 2
    image("in/" + "\U00020000" * 60 + ".png")  # 240 bytes
    assert bigr("enrich", "in", *QUICK, "--seed", 1, "-o", "o/").code == 0
    assert len(files("o")) == 1


@pytest.mark.parametrize(
    "words",
    [("inpaint", *MASK), ("outpaint", "--left", "4"), ("edit", "--class", "cat"), ("enrich",)],
    ids=lambda words: words[0],
)
def test_run_twice_where_it_writes(bigr: Run, words: tuple[str, ...]) -> None:
    task, *options = words
    image("in/a.png")
    image("in/b.png")
    for seed in (1, 2):
        done = bigr(task, "in", *options, *QUICK, "--seed", seed, "-o", "in/")
        assert done.code == 0, done.err
        assert len(files("in")) == 2 + 2 * seed
    assert f"2 files passed over: 2 made by {task} of others (in/a-{task}-1.png, in/b-{task}-1.png)" in done.err
    # Alone, or into another folder, they are images as any others.
    assert bigr(task, f"in/a-{task}-1.png", *options, *QUICK, "-o", "in/").code == 0
    assert bigr(task, "in", *options, *QUICK, "--seed", 1, "-o", "other/").code == 0
    assert len(files("other")) == 7


def test_own_outputs_are_known_by_their_recipe(bigr: Run) -> None:
    image("in/a.png")
    words = ("enrich", "in", *QUICK, "-o", "in/{index}x.png")
    assert bigr(*words, "--seed", 1).code == 0
    assert bigr(*words, "--seed", 1, "--skip-existing").code == 0
    assert files("in") == ["0x.png", "a.png"]
    assert bigr("generate", "cat", *QUICK, "-o", "in/g.png").code == 0
    assert bigr("enrich", "in", *QUICK, "-o", "in/{stem}-{seed}.png", "--seed", 3).code == 0
    assert files("in") == ["0x.png", "a-3.png", "a.png", "g-3.png", "g.png"]


def test_masks_and_sheets_in_the_folder_are_no_inputs(bigr: Run) -> None:
    image("in/a.png")
    image("in/mask.png", "white")
    for _ in range(2):
        words = ("--mask", "in/mask.png", "--grid", "in/sheet.png", "--overwrite", "-o", "out/", "--seed", 1)
        done = bigr("inpaint", "in", *words, *QUICK)
        assert done.code == 0, done.err
        assert "1 named by --mask (in/mask.png)" in done.err
    assert "1 named by --grid (in/sheet.png)" in done.err
    assert files("out") == ["a-inpaint-1.png"]


def test_a_watched_folder_that_is_written_into(watching: Run) -> None:
    image("w/a.png")
    image("w/later.png")
    os.utime("w/later.png", (time.time() + 3600,) * 2)
    with watching("inpaint", "w", *MASK, *QUICK, "--seed", 1, "-n", 2, "-o", "w/"):
        assert appears("w/later-inpaint-2.png")
        image("w/a.gif")
        assert appears("w/a-inpaint-2-2.png")
        time.sleep(2.5)
    assert len(files("w")) == 3 + 2 * 3


def test_files_from_the_future_settle_when_they_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from bigr_cli.imaging.output_names import Earlier
    from bigr_cli.tasks._given import Given

    image("w/a.png")
    os.utime("w/a.png", (time.time() + 3600,) * 2)
    watch, now = Watch(Earlier("inpaint")), time.monotonic()
    lines = [Given({"images": ["w"], "recursive": False}, frozenset())]
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert len(watch.unsettled(lines)) == 1
    now += 2
    with Path("w/a.png").open("ab") as stream:
        stream.write(b"more")
    os.utime("w/a.png", (time.time() + 3600,) * 2)
    assert len(watch.unsettled(lines)) == 1
    now += 2
    assert not watch.unsettled(lines)
