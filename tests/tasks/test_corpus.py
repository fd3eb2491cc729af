"""Odd images that libraries ship, that programs write or that break on the way, through every command."""

import io
import json
import math
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data.images import read_header
from bigr_cli.errors import BigrError

_SPEC = spec_from_file_location("odd_images", Path(__file__).parents[1] / "odd_images.py")
if _SPEC is None or _SPEC.loader is None:
    pytest.fail("odd_images.py is not there")
odd = module_from_spec(_SPEC)
_SPEC.loader.exec_module(odd)

pytestmark = pytest.mark.usefixtures("workplace")
Run = Callable[..., Any]
SHIPPED = ("skimage", "matplotlib", "scipy", "sklearn", "torchvision", "PIL")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp", ".ico", ".jp2", ".avif")
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.forkpty", "os.startfile")
QUICK = ("--steps", 1, "--timesteps", 1, "--seed", 1)

_watched: list[str] = []


def _watch(event: str, arguments: Any) -> None:
    if _watched and event in STARTS and "ldconfig" not in repr(arguments):
        _watched.append(f"{event} {arguments!r}")


sys.addaudithook(_watch)  # for good: Python knows no way to take one away


@pytest.fixture
def started() -> Iterator[list[str]]:
    """The processes that were started since, behind a first entry of no meaning."""
    _watched[:] = ["watching"]
    yield _watched
    _watched.clear()


def shipped() -> Iterator[tuple[str, bytes]]:
    """Images that installed libraries have among their data, none above a million bytes."""
    for library in SHIPPED:
        spec = find_spec(library)
        for root in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(root).rglob("*")):
                if path.suffix.lower() in SUFFIXES and path.stat().st_size < 100_000:
                    yield f"{library}-{path.name}", path.read_bytes()


def broken(data: bytes, seed: int) -> bytes:
    random, changed = np.random.default_rng(seed), bytearray(data)
    if seed % 2:
        return data[: int(random.integers(1, len(data)))]
    for _ in range(8):
        changed[int(random.integers(0, len(changed)))] = int(random.integers(0, 256))
    return bytes(changed)


def written() -> Iterator[tuple[str, bytes]]:
    """Each mode in each format that holds it, and the same cut off or with bytes changed; what is no image."""
    for place, (mode, kind) in enumerate((mode, kind) for mode, kinds in odd.HELD.items() for kind in kinds):
        try:
            data = odd.encoded(odd.levels(mode, 24 + place % 9, 20 + place % 7, place), kind, place)
        except (OSError, KeyError):  # a codec that this Pillow lacks
            continue
        suffix = {"JPEG": "jpg", "MPO": "jpg", "JPEG2000": "jp2", "TIFF": "tif"}.get(kind, kind.lower())
        name = f"{mode.replace(';', '')}-{kind}"
        yield f"{name}.{suffix}", data
        yield f"{name}-broken.{suffix}", broken(data, place)
    for name, data in odd.not_read().items():
        yield f"no-{name}.png", data
    yield "empty.png", b""
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue", "white")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        stream = io.BytesIO()
        frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
        yield f"animated.{kind.lower()}", stream.getvalue()


@cache
def images() -> dict[str, bytes]:
    """All of them by name."""
    return dict([*shipped(), *written()])


@pytest.fixture
def corpus() -> dict[str, bytes]:
    """The images' names and bytes; they lie in odd/a and odd/b, with a folder and a named pipe called like images."""
    files = images()
    for place, (name, data) in enumerate(files.items()):
        path = Path("odd", "ab"[place % 2], f"{place:03}-{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    Path("odd/a/folder.png").mkdir()
    os.mkfifo("odd/a/pipe.png")
    Path("odd/b/nowhere.png").symlink_to("is-not-there.png")
    return files


def few() -> list[Path]:
    """The smaller files, which a test has time for."""
    return [path for path in sorted(Path("odd").rglob("*.*")) if path.is_file() and path.stat().st_size < 9_000]


def is_small(path: Path) -> bool:
    """Whether it has few pixels, or is no image: every window of an image that is enriched takes its time."""
    try:
        return math.prod(read_header(path).size) <= 64 * 64
    except BigrError:
        return True


def check(done: Any, line: object, started: list[str], codes: tuple[int, ...] = (0, 1, 2)) -> Any:
    said = f"{line}\n{done.out[-1500:]}\n{done.err[-4000:]}"
    assert done.code in codes, said
    for sign in ("Traceback", "Error: ", "Error:\n", "Warning:", "site-packages"):
        assert sign not in done.err, said
    assert started == ["watching"], said
    assert not list(Path().rglob("*.part")), said
    return done


_SLOW = [pytest.param(task, marks=pytest.mark.slow) for task in ("outpaint", "enrich")]


@pytest.mark.parametrize("task", ["inpaint", "edit", *_SLOW])
def test_editing(bigr: Run, corpus: dict[str, bytes], started: list[str], task: str) -> None:
    wanted = {
        "inpaint": ("--mask-box", "10%,10%,15%,15%", "--window", 16),
        "outpaint": ("--right", 2, "--window", 16),
        "edit": ("--class", "dog"),
        "enrich": ("--passes", 1, "--groups", 1, "--window", 10_000),
    }[task]
    chosen = [path for path in few() if task != "enrich" or is_small(path)]
    small = [*chosen, Path("odd/a/pipe.png"), Path("odd/b/nowhere.png")]
    done = check(bigr(task, *small, *wanted, *QUICK, "-o", "made/", "--json"), task, started, (1,))
    made = [json.loads(line)["path"] for line in done.out.splitlines()]
    assert len(made) > len(small) // 3 and all(Path(path).is_file() for path in made)
    assert sorted(map(str, Path("made").rglob("*.*"))) == sorted(made)
    for name in ("no-eps.png", "no-dos.png", "empty.png", "pipe.png", "nowhere.png"):
        assert f"{name}: " in done.err
    assert done.err.count("error: ") >= len(small) - len(made)


def test_masks(bigr: Run, corpus: dict[str, bytes], started: list[str]) -> None:
    small, job = few(), {"image": "in.png", "mask-resize": True}
    jobs = [job | {"mask": str(path), "output": f"{number}.png"} for number, path in enumerate(small)]
    Path("jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    done = check(bigr("inpaint", "--manifest", "jobs.jsonl", *QUICK, "--json"), "masks", started, (1,))
    assert len(done.out.splitlines()) > len(small) // 3
    assert "no-eps.png: is not an image" in done.err


def test_looking(bigr: Run, corpus: dict[str, bytes], started: list[str]) -> None:
    embedded = check(bigr("embed", "odd", "-o", "e.npz"), "embed", started, (0, 1))
    rows = np.load("e.npz", allow_pickle=False)["paths"]
    assert len(rows) > len(corpus) // 2
    for number in range(8):
        Path("plain", "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        odd.levels("RGB", 16, 16, number).save(f"plain/{'ab'[number % 2]}/{number}.png")
    assert bigr("evaluate", "probe", "--data", "plain", "--save", "p.safetensors").code == 0
    line = ("classify", "odd", "--recursive", "--probe", "p.safetensors", "--json")
    classified = check(bigr(*line), "classify", started, (0, 1))
    readable = {json.loads(line)["path"] for line in classified.out.splitlines()}
    assert readable == set(map(str, rows))
    for path in Path("odd").rglob("*.*"):
        if str(path) not in readable:
            assert path.name in embedded.err + classified.err or "and " in embedded.err, path
    check(bigr("search", rows[0], "--index", "e.npz"), "search", started, (0,))
    for path in few()[:8]:
        check(bigr("search", path, "--index", "e.npz"), "search", started)
    every = [path for path in sorted(Path("odd").rglob("*.*")) if not path.is_dir()]
    check(bigr("info", *every), "info", started, (2,))


def test_sets(bigr: Run, corpus: dict[str, bytes], started: list[str]) -> None:
    for line in (
        ("evaluate", "generation", "odd", "--reference", "odd", "--resize", 64, "--features", "scenes"),
        ("evaluate", "reconstruction", "--data", "odd"),
        ("evaluate", "probe", "--data", "odd"),
    ):
        assert "odd/" in check(bigr(*line), line, started, (2,)).err
    with tarfile.open("odd.tar", "w") as tar:
        for path in sorted(Path("odd").rglob("*.*")):
            if path.is_file() and not path.is_symlink():
                tar.add(path, path.name)
    options = ("run.steps=1", "run.batch=4", "data.validation=1", "tokenizer.architecture=compact")
    more = ("tokenizer.image_size=64", "data.workers=0", "data.check=images")
    for source in ("odd", "odd.tar"):
        line = ("train-tokenizer", "--data", source, "-o", f"run-{Path(source).suffix}", *options, *more)
        done = check(bigr(*line), line, started, (0, 2))
        assert "no-eps.png" in done.err or "unreadable" in done.err
