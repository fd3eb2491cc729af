"""Images that a task has made, on their way to files or stdout."""

import json as json_text
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli import console, streams
from bigr_cli.errors import BigrError, RunError, UsageError
from bigr_cli.runtime.processes import Team
from bigr_cli.tasks._image_log import Log

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.held_out import Familiarity
    from bigr_cli.recipe import Recipe

_WRITERS = 2
_WAITING = 16  # images that may wait for their file; more would fill the memory when the disk is slow
_WAITING_BYTES = 128 * 2**20  # of memory that these may take, unless it is one alone


def check_stdout(*, json: bool) -> None:
    """Raise UsageError unless an image can go to stdout."""
    if json:
        raise UsageError("-o - and --json both want stdout", hint="-o FILE leaves it to --json")
    if streams.is_closed("stdout"):
        raise UsageError("stdout is closed, so no image can go there", hint="-o FILE writes a file")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, which shows no image", hint="for example: -o - > image.png")


def report(name: str, error: BigrError) -> None:
    """Say that an image is left out, and why."""
    message = str(error)
    console.error(message if name in message else f"{name}: {message}", error.hint)


class Unfamiliar:
    """Says once for a batch that an image is unlike what the model was trained on, and at its end how many were."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, model: str, name: str, found: "Familiarity", left: int = 0, windows: int = 0) -> None:
        """Take an image into account: `left` of its `windows` were left as they were."""
        if not (found.unfamiliar or left):
            return
        self.count += 1
        if self.count > 1:
            return
        console.warn(found.warning(model, name, left=left, windows=windows))

    def finish(self, written: int) -> None:
        """Say how many there were, if they were several images."""
        if written > 1 and self.count:
            console.say(f"{self.count} of {written} images are unlike what the model was trained on, or parts of them")


class FailureList:
    """The file of `--failures`, checked before any work, and written with the failures so far."""

    def __init__(self, path: Path | None, *, overwrite: bool, skip_existing: bool = False) -> None:
        """With `skip_existing`, which goes on with an earlier run, the lines of that run's list stay.

        Raises:
            UsageError: the file is there, cannot come to be there, or is no such list.
        """
        self.path = None if path is None else path.expanduser()
        self._before: list[str] = []
        if self.path is None:
            return
        from bigr_cli.imaging.files import check_targets

        if not check_targets([self.path], overwrite=overwrite, skip_existing=skip_existing)[0]:
            self._before = _failures(self.path)

    def write(self, failed: Sequence[tuple[str, str]]) -> None:
        """Write the list: each entry is an image and the reason. RunError if it cannot be written."""
        if self.path is None:
            return
        from bigr_cli.imaging.files import write_bytes

        lines = [json_text.dumps({"source": name, "error": reason}) for name, reason in failed]
        every = [f"{line}\n" for line in dict.fromkeys([*self._before, *lines])]
        write_bytes(self.path, "".join(every).encode(), overwrite=True)


def _failures(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            if not {"source", "error"} <= json_text.loads(line).keys():
                raise ValueError(line)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        hint = "pass --overwrite to replace it, or name another file"
        raise UsageError(f"{path}: exists and is no list of failures", hint=hint) from error
    return lines


class Results:
    """Writes images as they come, beside the work on the next ones. One that fails does not stop the others."""

    def __init__(
        self, *, paths: Sequence[Path] | None, overwrite: bool, metadata: bool, json: bool, alone: bool = False
    ) -> None:
        """`paths` has the file of each image; None is stdout. `alone` says that no more than one is asked for."""
        self._alone = alone
        self._paths, self._overwrite, self._metadata, self._json = paths, overwrite, metadata, json
        self._pool = ThreadPoolExecutor(_WRITERS, "bigr-writer")
        self._waiting: list[tuple[str, Future[Path], dict[str, Any], int]] = []
        self._written: list[Path] = []
        self._log = Log()
        self.unfamiliar = Unfamiliar()
        self.failures: list[tuple[str, BigrError]] = []  # what failed, and why

    def save(
        self,
        index: int,
        image: "Image",
        recipe: "Recipe",
        *,
        seconds: float,
        beside: Sequence[tuple[Path, "Image"]] = (),
        **more: Any,
    ) -> None:
        """Write image `index`, and with --json a line about it, in which `more` stands too.

        Those `beside` it, of earlier passes, are written before it.
        """
        from bigr_cli.imaging.files import encode_image, holds, kind_of, write_image

        kept = recipe if self._metadata else None
        if self._paths is None:
            streams.write_stdout(encode_image(image, "PNG", kept))
            self._log.add(_record(None, recipe, index=index, seconds=seconds))
            return
        path = self._paths[index]
        if kept is not None and kind_of(path) == "BMP":
            others = ".png, .webp, .jpg, .tif and .gif have"
            console.warn(f"{path.suffix} files have no room for a recipe; {others}", once=True)
        if not holds(kind_of(path), image):
            console.warn(f"{path}: this kind of file does not hold mode {image.mode}, so the image is converted")

        def write() -> Path:
            try:
                for place, earlier in beside:  # in which a recipe would be another image's
                    write_image(place, earlier, recipe=None, overwrite=self._overwrite)
                write_image(path, image, recipe=kept, overwrite=self._overwrite)
            except MemoryError as error:
                raise RunError(f"{path}: there is too little memory to write it") from error
            return path

        record = _record(path, recipe, index=index, seconds=seconds) | more
        if beside:
            record["passes"] = [place for place, _ in beside]
        size = 4 * image.width * image.height * (1 + len(beside))
        self._waiting.append((str(path), self._pool.submit(write), record, size))
        self._collect(most=_WAITING)

    def fail(self, name: str, error: BigrError) -> None:
        """Report an image that could not be made; the only one is reported by `finish`, as what it failed of."""
        self.failures.append((name, error))
        if not self._alone:
            report(name, error)

    def report(
        self, *, skipped: int = 0, processes: Team | None = None, interrupted: tuple[int, str] = (0, "")
    ) -> None:
        """Wait until all are written, and say what was; with several processes, all must come here, and one speaks.

        Args:
            interrupted: how many images there should have been, and what goes on with them; (0, "") of work that ended.
        """
        try:
            self._collect(most=0)
        finally:  # however this process is ended, what is being written gets whole
            self._pool.shutdown()
            self._log.write()
        if processes is not None and processes.count > 1:
            self._gather(processes)
        total, resume = interrupted
        if total > 1 and self._paths is not None:
            console.say(_interruption(self._written, total, resume))
        elif self._written:
            console.say(f"wrote {_described(self._written)}")
        self.unfamiliar.finish(len(self._written))
        if skipped:
            console.say(f"skipped {counted(skipped)} that {'was' if skipped == 1 else 'were'} there already")

    def finish(self) -> None:
        """Raise RunError if some failed, which were named before; the error itself if one image was asked for."""
        if not self.failures:
            return
        if self._alone:
            raise self.failures[0][1]
        total = len(self.failures) + len(self._written)
        raise RunError(f"{counted(len(self.failures))} of {total} failed")

    def _gather(self, processes: Team) -> None:
        """Let the first process have what all have written, and what failed; the others keep nothing."""
        broadcast = [(name, str(error), error.hint) for name, error in self.failures]
        every = processes.all_gather((self._written, broadcast, self.unfamiliar.count))
        if not processes.first:
            self._written, self.failures = [], []
            return
        for written, failures, unfamiliar in every[1:]:
            self.unfamiliar.count += unfamiliar
            self._written += written
            self.failures += [(name, RunError(message, hint=hint)) for name, message, hint in failures]

    def _are_more_than(self, most: int) -> bool:
        large = len(self._waiting) > 1 and sum(size for *_, size in self._waiting) > _WAITING_BYTES
        return large or len(self._waiting) > most

    def _collect(self, *, most: int) -> None:
        """Take note of what is written by now, and wait until no more than `most` are under way."""
        while self._waiting and (self._are_more_than(most) or self._waiting[0][1].done()):
            name, future, record, _ = self._waiting.pop(0)
            try:
                self._written.append(future.result())
            except BigrError as error:
                self.fail(name, error)
                continue
            self._log.add(record)
            if self._json:
                console.json_line(record)


def _record(path: Path | None, recipe: "Recipe", *, index: int, seconds: float) -> dict[str, Any]:
    return {
        "path": path,
        "task": recipe.task,
        "model": recipe.model,
        recipe.subject[0]: recipe.subject[1],
        "seed": recipe.seed,
        "index": index,
        "seconds": round(seconds, 4),
        "recipe": recipe.to_dict(),
    }


def resumption(error: BaseException, total: int, resume: str = "--skip-existing") -> tuple[int, str]:
    """For `Results.report` of work that an error ended: the total and how to go on, if it was interrupted."""
    return (0, "") if isinstance(error, Exception) else (total, resume)


def _interruption(paths: Sequence[Path], total: int, resume: str) -> str:
    if not paths:
        return f"interrupted before the first of {total} images"
    return f"interrupted after {len(paths)} of {total} images in {_place(paths)}; {resume} goes on"


def _place(paths: Sequence[Path]) -> str:
    folder = os.path.commonpath([path.parent for path in paths]) or "."
    return "the current folder" if folder == "." else folder + os.sep


def _described(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return str(paths[0])
    return f"{counted(len(paths))} to {_place(paths)}"


def counted(number: int) -> str:
    """So many images, in words."""
    return f"{number} image{'' if number == 1 else 's'}"
