"""Jobs: what clients have asked for, how far it is, and the files that come of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from bigr_cli.editing.interpolate_request import Interpolate
from bigr_cli.errors import BigrError, RunError
from bigr_cli.imaging.files import default_suffix, encode_image
from bigr_cli.imaging.montage import strip, write_film
from bigr_cli.imaging.output_names import fill
from bigr_cli.prompts import name_of
from bigr_cli.recipe import Recipe, command
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.requests import MEDIA_TYPES, TaskRequest

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.held_out import Familiarity
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.model import Model


State = Literal["queued", "running", "done", "failed", "cancelled"]


class QueueFull(RunError):
    """There is no room for another job now."""


@dataclass(frozen=True)
class Output:
    """A finished image file, and how it was made."""

    data: bytes
    media_type: str
    name: str
    seed: int
    label: str
    command: str | None
    recipe: dict[str, Any]
    score: float | None = None
    familiarity: dict[str, Any] | None = None

    def described(self) -> dict[str, Any]:
        """What clients are told of it, without the pixels."""
        measured = {"score": self.score and round(self.score, 6), "familiarity": self.familiarity}
        names = ("seed", "label", "command", "recipe")
        return {
            "name": self.name,
            "media_type": self.media_type,
            "bytes": len(self.data),
            **{name: getattr(self, name) for name in names},
            **{name: value for name, value in measured.items() if value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class Order:
    """A request that was checked: `count` results, each painted by itself.

    `pixels` is how many one result keeps in memory while it is painted. `painter` is called in the worker's thread,
    `output` in another one.
    """

    task: str
    count: int
    pixels: int
    painter: Callable[[BinaryModel, int], SamplingCoroutine[Any]] = field(repr=False)
    output: Callable[[Model, int, Any], Output] = field(repr=False)


@dataclass(frozen=True)
class Preview:
    """What one result looks like so far: a PNG file, and the square (x, y, side) of the image that it shows."""

    png: bytes
    box: tuple[int, int, int] | None


@dataclass
class Piece:
    """How far one result of a job is: the sampling run (from 1), its iteration and how many it has."""

    run: int = 0
    iteration: int = 0
    steps: int = 0
    previews: tuple[Preview, ...] = ()
    version: int = 0


@dataclass(eq=False)
class Job:
    """One request: `count` results, made by the worker's thread and watched from the event loop's."""

    task: str
    count: int
    order: Order | None  # gone once the job has ended, and with it the uploads
    loop: asyncio.AbstractEventLoop
    release: Callable[[], None] = lambda: None  # hands back what the job holds of the server's budget
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    created: float = field(default_factory=time.time)
    state: State = "queued"
    started: float | None = None
    seconds: float | None = None
    outputs: list[Output | None] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    error: BigrError | None = None
    stop: bool = False  # somebody wants it to end
    closing: bool = False  # it is being ended
    watched: int = 0  # how many clients want previews
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.outputs = [None] * self.count
        self.pieces = [Piece() for _ in range(self.count)]

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def changed(self) -> None:
        """Wake who waits for news, and hand back what a job held that has ended; from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _wake(self) -> None:
        if self.ended:
            self.release()
        for event in self._waiting:
            event.set()

    async def news(self) -> AsyncIterator[None]:
        """Once now, and then each time that something has changed, until the job has ended."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while True:
                event.clear()
                ended = self.ended
                yield
                if ended:
                    return
                await event.wait()
        finally:
            self._waiting.discard(event)

    async def wait(self) -> None:
        """Until the job has ended."""
        async for _ in self.news():
            pass

    def described(self) -> dict[str, Any]:
        """What clients are told."""
        error = None if self.error is None else {"message": str(self.error), "hint": self.error.hint}
        return {
            "id": self.id,
            "task": self.task,
            "state": self.state,
            "count": self.count,
            "done": sum(output is not None for output in self.outputs),
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "error": error,
            "images": [
                {"index": index, **output.described()}
                for index, output in enumerate(self.outputs)
                if output is not None
            ],
        }


class Jobs:
    """All jobs by id: those that wait or run, and the newest of those that have ended. Event loop only."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def open(self) -> list[Job]:
        """Those that wait or run, the oldest first."""
        return [job for job in self._jobs.values() if not job.ended]

    def listed(self) -> Sequence[Job]:
        return list(self._jobs.values())

    def check_room(self) -> None:
        """Raises QueueFull if no further job may wait."""
        waiting = len(self.open())
        if waiting >= self._limits.queue:
            raise QueueFull(f"{waiting} jobs are waiting, and no more may", hint="try again in a while")

    def add(self, job: Job) -> None:
        """Raises QueueFull if no further job may wait."""
        self.check_room()
        self._jobs[job.id] = job
        self.tidy()

    def tidy(self) -> None:
        """Drop the oldest jobs that have ended, until the others are within the limits."""
        ended = [job for job in self._jobs.values() if job.ended]
        size = sum(len(output.data) for job in ended for output in job.outputs if output is not None)
        while ended and (len(ended) > self._limits.kept_jobs or (size > self._limits.kept and len(ended) > 1)):
            oldest = ended.pop(0)
            size -= sum(len(output.data) for output in oldest.outputs if output is not None)
            del self._jobs[oldest.id]


_KINDS = {"png": "PNG", "tif": "TIFF"}


def image_output(model: Model, recipe: Recipe, image: Image, stem: str, **measured: Any) -> Output:
    """A PNG file, or TIFF for modes that PNG does not hold; `measured` are a score, and what `familiarity_of` gives."""
    suffix = default_suffix(image.mode).removeprefix(".")
    return _output(model, recipe, encode_image(image, _KINDS[suffix], recipe), stem, suffix, **measured)


def familiarity_of(model: Model, name: str, made: Any) -> dict[str, Any] | None:
    """How the image called `name`, of which `made` was made, compares with those the model was trained on, in JSON.

    It has a warning if they differ; None where nothing is known.
    """
    found: Familiarity | None = getattr(made, "familiarity", None)
    if found is None:
        return None
    left, windows = getattr(made, "left", 0), getattr(made, "windows", 0)
    warns = found.unfamiliar or left
    return found.described() | (
        {"warning": found.warning(model.name, name, left=left, windows=windows)} if warns else {}
    )


def film_output(
    model: Model,
    task: str,
    wanted: Interpolate,
    values: dict[str, Any],
    request: TaskRequest,
    frames: Sequence[Image],
    seed: int,
    labels: Sequence[Any],
    given: dict[str, Any],
) -> Output:
    """The frames as a strip or a film."""
    fps, kind = values.get("fps", 8.0), values.get("format", "png")
    names = [name_of(model.config, label) for label in labels]
    stops = names or [upload.name for upload in request.images]
    said = [str(stop) for stop in values["stops"]] if labels else stops
    kept = wanted.recorded(said, fps, given, images=not labels)
    recipe = model.recipe(wanted.sampling, task=task, labels=names, seed=seed, options=kept)
    stem = "-to-".join(stops if labels else [Path(stop).stem for stop in stops])
    if kind == "png":
        data = encode_image(strip(frames), "PNG", recipe)
    else:
        with TemporaryDirectory(prefix="bigr-serve-") as folder:
            path = Path(folder) / f"film.{kind}"
            write_film(path, frames, fps=fps, recipe=recipe)
            data = path.read_bytes()
    found = familiarity_of(model, ", ".join(stops), frames)
    return _output(model, recipe, data, f"{stem}-{seed}", kind, familiarity=found)


def _output(model: Model, recipe: Recipe, data: bytes, stem: str, suffix: str, **measured: Any) -> Output:
    name = fill("{stem}.{suffix}", {"stem": stem, "suffix": suffix})  # whatever labels are called
    return Output(
        data=data,
        media_type=MEDIA_TYPES[suffix],
        name=name,
        seed=recipe.seed,
        label=", ".join(recipe.labels) or "none",
        command=command(recipe, model=model.folder or model.name, output=name),
        recipe=recipe.to_dict(),
        **measured,
    )
