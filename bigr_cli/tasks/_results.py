"""Pictures that a task has made, on their way to files or stdout."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli import console
from bigr_cli.errors import BigrError, RunError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.imaging.recipe import Recipe


def check_stdout(*, json: bool) -> None:
    """Raise UsageError unless a picture can go to stdout."""
    if json:
        raise UsageError("-o - and --json both want stdout", hint="-o FILE leaves it to --json")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, which shows no picture", hint="for example: -o - > picture.png")


class Results:
    """Writes pictures as they come. A file that cannot be written does not stop the others."""

    def __init__(self, *, paths: Sequence[Path] | None, overwrite: bool, metadata: bool, json: bool) -> None:
        """`paths` has the file of each picture; None is stdout."""
        self._paths, self._overwrite, self._metadata, self._json = paths, overwrite, metadata, json
        self._written: list[Path] = []
        self._failed = 0

    def save(self, index: int, image: "Image", recipe: "Recipe", *, seconds: float) -> None:
        """Write picture `index`, and with --json a line about it."""
        from bigr_cli.imaging.files import encode_image, write_image

        kept = recipe if self._metadata else None
        if self._paths is None:
            sys.stdout.buffer.write(encode_image(image, "PNG", kept))
            sys.stdout.buffer.flush()
            return
        path = self._paths[index]
        try:
            write_image(path, image, recipe=kept, overwrite=self._overwrite)
        except BigrError as error:
            console.error(str(error))
            self._failed += 1
            return
        self._written.append(path)
        if self._json:
            console.json_line(_record(path, recipe, index=index, seconds=seconds))

    def report(self, *, skipped: int = 0) -> None:
        """Say what was written."""
        if self._written:
            console.say(f"wrote {_described(self._written)}")
        if skipped:
            console.say(f"skipped {_counted(skipped)} that {'was' if skipped == 1 else 'were'} there already")

    def finish(self) -> None:
        """Raise RunError if some could not be written."""
        if self._failed:
            raise RunError(f"{_counted(self._failed)} of {self._failed + len(self._written)} could not be written")


def _record(path: Path, recipe: "Recipe", *, index: int, seconds: float) -> dict[str, Any]:
    return {
        "path": path,
        "task": recipe.task,
        "model": recipe.model,
        "label": recipe.labels[0] if len(recipe.labels) == 1 else list(recipe.labels),
        "seed": recipe.seed,
        "index": index,
        "seconds": round(seconds, 4),
        "recipe": recipe.to_dict(),
    }


def _described(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return str(paths[0])
    folder = os.path.commonpath([path.parent for path in paths]) or "."
    return f"{_counted(len(paths))} to {'the current folder' if folder == '.' else folder + os.sep}"


def _counted(number: int) -> str:
    return f"{number} picture{'' if number == 1 else 's'}"
