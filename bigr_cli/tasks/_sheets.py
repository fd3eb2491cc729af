"""What is made of all images of a request together: a contact sheet, and a film of how they came to be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import option
from bigr_cli.options.groups import Batch, Writing
from bigr_cli.runtime.processes import Team

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from bigr_cli.editing.generate import Job
    from bigr_cli.imaging.inputs import Input
    from bigr_cli.model import Model
    from bigr_cli.recipe import Recipe
    from bigr_cli.tasks._jobs import Job as BatchJob


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """The options that ask for them."""

    grid: options.Grid = None
    columns: Annotated[
        int | None, option("--columns", "Images in a row of the sheet.", options.OUTPUT, min=1, max=10_000, metavar="N")
    ] = None
    captions: Annotated[bool, option("--captions", "Write its label under each image there.", options.OUTPUT)] = False
    steps_preview: Annotated[
        str | None,
        option(
            "--steps-preview",
            "Write an animation (.gif or .webp) of the sampling. It has a frame per iteration.",
            options.OUTPUT,
            metavar="FILE",
        ),
    ] = None


def sheet_paths(sheets: Sheets, images: int, *, processes: int = 1) -> tuple[Path | None, Path | None]:
    """The files of contact sheet and film, None for what was not asked for; their suffixes and sizes are checked.

    Raises:
        UsageError: a suffix that cannot be, or too many images or processes for a film.
    """
    from bigr_cli.file_names import expanded
    from bigr_cli.imaging.files import ANIMATED, kind_of
    from bigr_cli.imaging.montage import MOST

    grid = expanded(sheets.grid) if sheets.grid is not None else None
    film = expanded(sheets.steps_preview) if sheets.steps_preview is not None else None
    if grid is not None:
        kind_of(grid)
    if film is not None:
        kind_of(film, ANIMATED)
        if processes > 1:
            raise UsageError("--steps-preview is for one process, not for several that share the images")
        if images > MOST:
            raise UsageError(f"--steps-preview shows at most {MOST} images, not {images}")
    if grid is None and film is None and (sheets.columns or sheets.captions):
        raise UsageError("--columns and --captions are about the sheet that --grid FILE writes")
    return grid, film


class SheetMaker:
    """Collects images, and their states on the way, and writes what was asked for."""

    def __init__(self, *, grid: Path | None, film: Path | None, columns: int, captions: bool) -> None:
        from bigr_cli.imaging.montage import SamplingFilm

        self._grid, self._film = grid, film
        self._columns, self._captions = columns, captions
        self._images: dict[int, tuple[Image, str]] = {}
        self._states = SamplingFilm(columns=columns)

    def add(self, index: int, image: "Image", label: str) -> None:
        """A finished image, by its place in the request."""
        if self._grid is not None:
            self._images[index] = image, label

    def gather(self, processes: Team) -> None:
        """Have the images of all processes."""
        for images in processes.all_gather(self._images):
            self._images |= images

    def watch(self, model: "Model", jobs: "Sequence[Job]", iteration: int, codes: "Tensor", masked: "Tensor") -> None:
        """The state of a batch after an iteration."""
        if self._film is None:
            return
        side = model.tokenizer.config.grid
        tokens = masked.view(-1, side, side).cpu().numpy()
        for job, image, unsettled in zip(jobs, model.decode(codes, masked), tokens, strict=True):
            self._states.add(iteration, job.index, image, unsettled)

    def write(self, recipe: "Recipe", *, metadata: bool, overwrite: bool) -> list[Path]:
        """Write the sheet and the film; gives the files that were written."""
        from bigr_cli.imaging.files import write_image
        from bigr_cli.imaging.montage import grid, write_animation

        written = []
        if self._grid is not None and self._images:
            images, labels = zip(*(entry for _, entry in sorted(self._images.items())), strict=True)
            sheet = grid(images, columns=self._columns, labels=labels if self._captions else None)
            shown = self._described(recipe, "grid") if metadata else None
            write_image(self._grid, sheet, recipe=shown, overwrite=overwrite)
            written.append(self._grid)
        frames, durations = self._states.frames()
        if self._film is not None and frames:
            shown = self._described(recipe, "steps-preview") if metadata else None
            write_animation(self._film, frames, durations, recipe=shown, overwrite=overwrite)
            written.append(self._film)
        return written

    def _described(self, recipe: "Recipe", shows: str) -> "Recipe":
        captions = {"captions": True} if self._captions and shows == "grid" else {}
        return replace(recipe, options={**recipe.options, "shows": shows, "columns": self._columns, **captions})


def sheet_path(sheet: str | Path | None, *, overwrite: bool, skip_existing: bool = False) -> Path | None:
    """Where a sheet goes, checked; None if there is to be none."""
    from bigr_cli.file_names import expanded
    from bigr_cli.imaging.files import check_targets, kind_of

    if sheet is None:
        return None
    path = expanded(str(sheet))
    kind_of(path)
    return path if check_targets([path], overwrite=overwrite, skip_existing=skip_existing)[0] else None


def before_after_path(batch: Batch, writing: Writing) -> Path | None:
    """Where the sheet of a batch goes, checked."""
    if batch.grid is not None and batch.watch:
        raise UsageError("--grid and --watch exclude each other: a sheet shows what a finished run has made")
    return sheet_path(batch.grid, overwrite=writing.overwrite, skip_existing=writing.skip_existing)


def write_before_after(path: Path, made: "Sequence[tuple[BatchJob, Image]]", writing: Writing) -> None:
    """A row for each image: first as it was, then its variants."""
    from PIL.Image import new

    from bigr_cli.data.images import read_image
    from bigr_cli.imaging.files import storable, write_image
    from bigr_cli.imaging.montage import grid

    rows: dict[Input, list[Image]] = {}
    for job, image in sorted(made, key=lambda entry: entry[0].index):
        if job.source not in rows:
            before = [read_image(job.source.path).image] if job.source.path is not None else []
            rows[job.source] = before
        rows[job.source].append(image)
    columns = max(map(len, rows.values()))
    blank = new("RGB", (1, 1), "white")
    cells = [storable(cell, "JPEG") for row in rows.values() for cell in row + [blank] * (columns - len(row))]
    write_image(path, grid(cells, columns=columns), overwrite=writing.overwrite)
    console.say(f"wrote {path}")
