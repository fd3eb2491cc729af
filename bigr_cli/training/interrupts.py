"""Signals while training: the first ends the step, or breaks it off, and saves; a second Ctrl-C stops at once.

SIGHUP, which comes when a terminal is closed or a connection breaks, saves too, unless nohup has it ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SAVING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StepAborted(Exception):
    """A signal came within a step that may be broken off; the weights are as they were before it."""


class Interrupts(list[int]):
    """The signals that were received."""

    _aborting = False

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
