"""What ends a training: signals, failures, and the time that it has.

The first signal ends the step, or breaks it off, and saves; a second Ctrl-C stops at once. SIGHUP, which comes when a
terminal is closed or a connection breaks, saves too, unless nohup has it ignored.

How many steps a stage has is planned once, and changed only if the machine proves otherwise.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from bigr_cli import console
from bigr_cli.data.loading import workers_watched
from bigr_cli.errors import ImageError, RunError
from bigr_cli.progress import readable_time
from bigr_cli.streams import TERMINATED
from bigr_cli.training.checkpoint import last_state
from bigr_cli.training.config import RunConfig

_SAVING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_TOLERANCE = 0.08  # of the stage's time that a forecast may be off before the number of steps changes
_FEW = 30.0  # seconds that a forecast needs to be worth anything


class Terminated(SystemExit):
    """A training was ended by SIGTERM, which ends the process as it does any other command's."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class StepAborted(Exception):
    """A signal came within a step that may be broken off; the weights are as they were before it."""


class Interrupts(list[int]):
    """The signals that were received."""

    _aborting = False

    @property
    def ending(self) -> KeyboardInterrupt | SystemExit:
        """What a training raises that these have ended."""
        return Terminated() if self and self[0] == signal.SIGTERM else KeyboardInterrupt()

    @contextmanager
    def aborting(self, wanted: bool) -> Iterator[None]:
        """While the block runs a signal raises StepAborted where it is, if that is wanted."""
        self._aborting = wanted
        try:
            if self and wanted:
                raise StepAborted
            yield
        finally:
            self._aborting = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.append(number)
        if self._aborting:
            raise StepAborted


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Collects SIGINT, SIGTERM and SIGHUP in a list while the block runs.

    A SIGINT that is not the first raises KeyboardInterrupt. A SIGTERM never does: launchers of several processes send
    one to those that the terminal has interrupted already.
    """
    received = Interrupts()
    before: dict[signal.Signals, Any] = {}
    try:
        for each in _SAVING:
            if signal.getsignal(each) is not signal.SIG_IGN or each == signal.SIGINT:
                before[each] = signal.signal(each, received.receive)
    except ValueError:  # not the main thread: a caller's notebook or test handles signals itself
        pass
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)


@contextmanager
def failures(run: Path) -> Iterator[None]:
    """Give what goes wrong in the middle of a training a message, and the way back."""
    try:
        with workers_watched():
            yield
    except RunError as error:
        error.hint = error.hint or last_state(run)
        raise
    except ImageError as error:
        error.hint = f"data.check=images leaves out what cannot be read; {last_state(run)}"
        raise
    except torch.OutOfMemoryError as error:
        hint = f"a smaller run.batch, or a larger run.accumulate, needs less; {last_state(run)}"
        raise RunError("the device has too little memory for this training", hint=hint) from error


class Pace:
    """A stage that has to end in time.

    A step's learning rate follows from its share of all steps, so that the rate is at zero when the time is over only
    if the number of steps is right. It changes nothing as long as the plan holds: such runs repeat bit for bit.
    """

    def __init__(
        self,
        budget: float,
        *,
        spent: float = 0.0,
        checkpointed: Callable[[float, int | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget` seconds for the whole stage, of which `spent` are over.

        `checkpointed` is called after each checkpoint, with the seconds spent and the number of steps if that changes.
        """
        self.budget, self._before, self._checkpointed, self._clock = budget, spent, checkpointed, clock
        self._begin = clock()
        self._first: tuple[int, float] | None = None

    @property
    def spent(self) -> float:
        """Seconds of the stage so far, without those in which it lay still."""
        return self._before + self._clock() - self._begin

    def steps(self, step: int, run: RunConfig) -> int:
        """How many steps the stage should have, seen after so many of them."""
        total, spent = run.steps, self.spent
        if self._first is None:
            self._first = (step, spent)  # what came before has the start in it
        first, since = self._first
        wanted = total
        if step > first and spent - since >= min(_FEW, self.budget / 10):
            each = (spent - since) / (step - first)
            off = (spent + each * (total - step) - self.budget) / self.budget
            if off > _TOLERANCE or (off < -_TOLERANCE and step < total / 2):
                wanted = max(step + 1, step + round((self.budget - spent) / each))
        if wanted != total:
            faster = "faster" if wanted > total else "slower"
            left = readable_time(max(0.0, self.budget - spent))
            console.say(f"steps are {faster} than planned: {wanted:,} instead of {total:,}, to end in {left}")
        self._checkpointed(spent, wanted if wanted != total else None)
        return wanted


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Stage:
    """A training as a part of a larger one, which lies in the folder `whole` and is resumed as that.

    `pace` may change the number of steps after each checkpoint; `written` is called when the model was written.
    """

    name: str
    whole: Path
    pace: Pace | None = None
    written: Callable[[], None] = _nothing
