"""The scenes as files: an image folder with captions, written by several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from pathlib import Path

from bigr_cli.data.scenes.description import LABELS, describe
from bigr_cli.data.scenes.render import SIZES, box, render_with_mask
from bigr_cli.errors import RunError, UsageError
from bigr_cli.files import atomic_write, behind_links, cache_file, clear_leftovers

CAPTIONS = "captions.jsonl"
_CHUNK = 64  # images between two reports of progress
_FEW = 1024  # so few images are rendered sooner than a second process starts
_LAST = 2**63


def _file(index: int) -> str:
    """Where image `index` goes, relative to the directory."""
    return f"{LABELS[index % len(LABELS)]}/{index:06d}.png"


def _render(directory: Path, size: int, seed: int, indices: range) -> list[str]:
    """Writes some of the images, and gives their lines of captions.jsonl."""
    lines = []
    for index in indices:
        scene = describe(seed, index)
        image, mask = render_with_mask(scene, size)
        file = _file(index)
        with cache_file(directory / file) as temporary:
            image.save(temporary, format="PNG")
        record = {"file": file, "caption": scene.caption}
        record |= {name: getattr(scene, name) for name in ("label", "color", "ground", "time")}
        lines.append(json.dumps(record | {"box": list(box(mask))}) + "\n")
    return lines


def _rendered(
    render: Callable[[range], list[str]], jobs: list[range], workers: int
) -> Generator[list[str], None, None]:
    """The captions of each job in order, as the jobs get done."""
    if workers == 1:
        yield from map(render, jobs)
        return
    # Not forked: the caller may have threads, such as those of torch or of a progress bar.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(render, jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(directory: Path, count: int, size: int, seed: int, start: int, workers: int | None) -> None:
    if count < 1:
        raise UsageError(f"the number of scenes must be at least 1, got {count}")
    if size not in SIZES:
        raise UsageError(f"the size must lie in {SIZES.start}..{SIZES.stop - 1} pixels, got {size}")
    if not 0 <= seed <= _LAST:
        raise UsageError(f"the seed must lie in 0..2**63, got {seed}")
    if start < 0 or start + count - 1 > _LAST:
        raise UsageError(f"the images' numbers must lie in 0..2**63, got {start}..{start + count - 1}")
    if workers is not None and workers < 1:
        raise UsageError(f"the number of workers must be at least 1, got {workers}")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="-o takes a folder, which is made if it is not there")


def _refuse_existing(directory: Path, start: int, stop: int) -> None:
    if not directory.exists():
        return
    for file in (CAPTIONS, *map(_file, range(start, stop))):
        if (directory / file).exists():
            raise UsageError(f"{directory / file} exists already", hint="--overwrite replaces it")


def write_scenes(
    directory: str | os.PathLike[str],
    *,
    count: int,
    size: int,
    seed: int,
    workers: int | None = None,
    start: int = 0,
    progress: Callable[[int], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes images start..start+count-1 of the data set `seed`, `size` × `size` pixels; returns captions.jsonl.

    Image 12 becomes `directory/LABEL/000012.png`. captions.jsonl, a JSON line per image in the order of their
    numbers, comes last: where it is, every image that it names is whole. It describes the images of this call; other
    files in the directory are left alone. `workers` is the number of processes (by default one per core, or one if
    there are few images); the files are the same whatever it is. `progress` is called with the number of images newly
    finished. Raises UsageError for numbers out of range, for a directory that is a file, and, unless `overwrite`, when
    a file that it would write exists; RunError when writing fails.
    """
    directory = Path(directory)
    _check(directory, count, size, seed, start, workers)
    stop = start + count
    if not overwrite:
        _refuse_existing(directory, start, stop)
    jobs = [range(first, min(first + _CHUNK, stop)) for first in range(start, stop, _CHUNK)]
    render = partial(_render, directory, size, seed)
    if workers is None:
        workers = 1 if count <= _FEW else os.cpu_count() or 1
    folders = {(directory / _file(index)).parent for index in range(start, min(stop, start + len(LABELS)))}
    lines: list[str] = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        # Old captions would not fit a half-replaced set of images.
        behind_links(directory / CAPTIONS).unlink(missing_ok=True)
        with closing(_rendered(render, jobs, min(workers, len(jobs)))) as batches:
            for written in batches:
                lines += written
                if progress is not None:
                    progress(len(written))
        with atomic_write(directory / CAPTIONS) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
    except BrokenProcessPool as error:
        raise RunError("a process that rendered scenes was ended from outside; is there enough memory?") from error
    except OSError as error:
        raise RunError(f"cannot write the scenes: {error}") from error
    finally:
        for folder in (directory, *folders):
            clear_leftovers(folder)  # of this run's processes, if one was killed, or of an earlier run
    return directory / CAPTIONS
