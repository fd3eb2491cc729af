"""Signals while training: the first ends the step, or breaks it off, and saves; a second Ctrl-C stops at once.

SIGHUP, which comes when a terminal is closed or a connection breaks, saves too, unless nohup has it ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from bigr_cli.data.loading import workers_watched
from bigr_cli.errors import ImageError, RunError
from bigr_cli.streams import TERMINATED
from bigr_cli.training.checkpoint import last_state

_SAVING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


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
        error.hint = f"data.check=pictures leaves out what cannot be read; {last_state(run)}"
        raise
    except torch.OutOfMemoryError as error:
        hint = f"a smaller run.batch, or a larger run.accumulate, needs less; {last_state(run)}"
        raise RunError("the device has too little memory for this training", hint=hint) from error
