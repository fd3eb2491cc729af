"""Jobs: what clients have asked for, how far it is, and what came of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bigr_cli.errors import BigrError, RunError
from bigr_cli.serve.guard import Limits

if TYPE_CHECKING:
    from bigr_cli.serve.orders import Order

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
        score: dict[str, Any] = {} if self.score is None else {"score": round(self.score, 6)}
        if self.familiarity is not None:
            score["familiarity"] = self.familiarity
        return {
            "name": self.name,
            "media_type": self.media_type,
            "bytes": len(self.data),
            "seed": self.seed,
            "label": self.label,
            "command": self.command,
            "recipe": self.recipe,
            **score,
        }


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
