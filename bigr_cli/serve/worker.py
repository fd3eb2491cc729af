"""The one thread that owns the model: takes jobs from a queue, and samples together what goes together."""

from __future__ import annotations

import io
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from bigr_cli import console
from bigr_cli.editing.batched_sampling import Cancelled, Iteration, paint_together
from bigr_cli.errors import BigrError, RunError
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.jobs import Job, Output, Preview

if TYPE_CHECKING:
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.model import Model

_GATHER = 0.05  # of a batch's time that the next one may wait to be as large: clients come back with another request
_LONGEST_GATHER = 0.15  # seconds
_PREVIEW = 0.1  # seconds between two previews of one result
_SHOWN = 4  # windows of one result that are shown at once
_ENCODERS = 2


class TimedOut(RunError):
    """A job took longer than it may."""


class Failed(RunError):
    """Something that was not foreseen; what it was stands in the server's log, not in the answer."""


class _Piece:
    """One result of a job, as key of its painter."""

    def __init__(self, job: Job, index: int) -> None:
        self.job, self.index, self.shown = job, index, 0.0


class Worker:
    """Works through jobs in their order, until it is closed."""

    def __init__(self, model: Model, limits: Limits, *, batch_size: int | None = None, debug: bool = False) -> None:
        """`debug` prints the traceback of what was not foreseen."""
        self._model, self._limits, self._debug = model, limits, debug
        self._size = batch_size or model.batch_size()
        self._waiting: deque[_Piece] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._working: dict[_Piece, int] = {}  # pixels of each result in work
        self._encoders = ThreadPoolExecutor(_ENCODERS, "bigr-encoder")
        self._encoding = 0  # pixels of results that wait for their file
        self._batch, self._began, self._ended = 1, 0.0, 0.0  # results sampled together last, from when until when
        self._thread = threading.Thread(target=self._run, name="bigr-worker", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job's results; their number is checked by `Jobs`."""
        with self._news:
            self._waiting.extend(_Piece(job, index) for index in range(job.count))
            self._news.notify_all()

    def cancel(self, job: Job) -> None:
        """Give a job up: what waits goes at once, what is being sampled with the iteration."""
        job.stop = True
        with self._news:
            waiting = [piece for piece in self._waiting if piece.job is job]
            self._waiting = deque(piece for piece in self._waiting if piece.job is not job)
            working = any(piece.job is job for piece in self._working)
        if waiting and not working:
            self._end(job, Cancelled("cancelled"))

    def close(self, seconds: float = 10.0) -> None:
        """Give everything up, and wait for the thread."""
        with self._news:
            self._closed = True
            for piece in (*self._waiting, *self._working):
                piece.job.stop = True
            self._waiting.clear()
            self._news.notify_all()
        self._thread.join(seconds)
        self._encoders.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while self._wait():
            source = _Source(self._next)
            try:
                painted = paint_together(
                    self._model.network, source, batch_size=self._size, watch=self._watch, cancelled=self._given_up
                )
                for piece, made in painted:
                    self._finish(piece, made)
            except Exception as error:  # the thread must outlive whatever a job does to it
                self._fail_all(error)

    def _wait(self) -> bool:
        """Until there is work; whether there is."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed)
            return not self._closed

    def _next(self) -> tuple[_Piece, SamplingCoroutine[Any]] | None:
        """The next result to work on, if there is room for its pixels beside the others."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed, self._patience())
            if self._closed or not self._waiting:
                return None
            order = self._waiting[0].job.order
            pixels = order.pixels if order is not None else 0
            if self._working and sum(self._working.values()) + pixels > self._limits.work:
                return None
            piece = self._waiting.popleft()
            self._working[piece] = pixels
        job = piece.job
        if job.state == "queued":
            job.state, job.started = "running", time.monotonic()
            job.changed()
        return piece, self._guarded(piece)

    def _patience(self) -> float:
        """Seconds to wait for another result before a batch that is smaller than the last one is sampled."""
        if not self._working or len(self._working) >= self._batch:
            return 0.0
        longest = min(_LONGEST_GATHER, _GATHER * (self._ended - self._began))
        return max(0.0, self._ended + longest - time.monotonic())

    def _guarded(self, piece: _Piece) -> SamplingCoroutine[Any]:
        """The painter of a result; whatever goes wrong in it is the error of this job alone."""
        order = piece.job.order
        if order is None:
            raise Cancelled("cancelled")
        try:
            return (yield from order.painter(self._model.network, piece.index))
        except (BigrError, GeneratorExit):
            raise
        except Exception as error:
            raise self._unforeseen(error) from error

    def _unforeseen(self, error: BaseException) -> Failed:
        if self._debug:
            console.error("".join(traceback.format_exception(error)))
        first = (str(error).strip().splitlines() or [""])[0]
        console.error(f"a job failed: {type(error).__name__}: {first}")
        return Failed("failed inside; the server's messages say why")

    def _given_up(self, piece: _Piece) -> bool:
        job = piece.job
        late = job.started is not None and time.monotonic() - job.started > self._limits.seconds
        if late and not job.stop:
            limit = self._limits.seconds
            job.error = TimedOut(f"took longer than {limit:g} seconds", hint="bigr serve --time-limit allows more")
        return job.stop or late

    def _watch(self, seen: Iteration) -> None:
        """Note how far the batch's results are, with previews for those who want them."""
        rows: dict[_Piece, list[int]] = {}
        for row, key in enumerate(cast("Sequence[_Piece]", seen.keys)):
            rows.setdefault(key, []).append(row)
        now = time.monotonic()
        if seen.index == 0:
            self._batch, self._began = max(len(rows), self._batch - 1), now
        self._ended = now
        for piece, own in rows.items():
            job, state = piece.job, piece.job.pieces[piece.index]
            state.run += seen.index == 0
            state.iteration, state.steps = seen.index + 1, seen.steps
            if not job.watched or job.stop:
                continue
            if now - piece.shown >= _PREVIEW or seen.index + 1 == seen.steps:
                piece.shown = now
                state.previews = tuple(_preview(self._model, seen, row) for row in own[:_SHOWN])
            state.version += 1
            job.changed()

    def _finish(self, piece: _Piece, made: Any) -> None:
        job, order = piece.job, piece.job.order
        with self._news:
            pixels = self._working.pop(piece, 0)
        if isinstance(made, BigrError) or order is None or job.stop:
            self._end(job, job.error or (made if isinstance(made, BigrError) else Cancelled("cancelled")))
            return
        with self._news:
            self._news.wait_for(lambda: not self._encoding or self._encoding + pixels <= self._limits.work)
            self._encoding += pixels
        self._encoders.submit(self._encode, piece, pixels, lambda: order.output(self._model, piece.index, made))

    def _encode(self, piece: _Piece, pixels: int, make: Callable[[], Output]) -> None:
        job = piece.job
        try:
            job.outputs[piece.index] = make()
        except BigrError as error:
            self._end(job, error)
        except Exception as error:
            self._end(job, self._unforeseen(error))
        else:
            if all(output is not None for output in job.outputs):
                self._end(job, None)
            elif job.stop:  # the others are not made any more
                self._end(job, job.error or Cancelled("cancelled"))
            else:
                job.changed()
        finally:
            with self._news:
                self._encoding -= pixels
                self._news.notify_all()

    def _end(self, job: Job, error: BigrError | None) -> None:
        """Close a job; its other results, if any, are given up."""
        with self._news:  # encoders may come here together
            if job.closing:
                return
            job.closing = True
        job.stop = True
        job.error = error
        job.seconds = 0.0 if job.started is None else time.monotonic() - job.started
        job.order = None
        with self._news:
            self._waiting = deque(piece for piece in self._waiting if piece.job is not job)
        for state in job.pieces:
            state.previews = ()
        job.state = "done" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"
        job.changed()

    def _fail_all(self, error: Exception) -> None:
        """What was in work when something went wrong that belongs to no single job."""
        reason = error if isinstance(error, BigrError) else self._unforeseen(error)
        with self._news:
            jobs = {piece.job for piece in self._working}
            self._working.clear()
        for job in jobs:
            self._end(job, reason)


def _preview(model: Model, seen: Iteration, row: int) -> Preview:
    """The image of one row of a batch, as a PNG file; bits of masked tokens count as undecided."""
    (image,) = model.decode(seen.codes[row : row + 1], seen.masked[row : row + 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Preview(buffer.getvalue(), seen.requests[row].box)


class _Source:
    """An iterator that may have more after it had none, as `paint_together` allows."""

    def __init__(self, take: Callable[[], tuple[_Piece, SamplingCoroutine[Any]] | None]) -> None:
        self._take = take

    def __iter__(self) -> Iterator[tuple[_Piece, SamplingCoroutine[Any]]]:
        return self

    def __next__(self) -> tuple[_Piece, SamplingCoroutine[Any]]:
        taken = self._take()
        if taken is None:
            raise StopIteration
        return taken
