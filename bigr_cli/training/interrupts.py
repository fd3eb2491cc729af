"""Signals while training: the first ends the step and saves, a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list while the block runs.

    A SIGINT that is not the first raises KeyboardInterrupt. A SIGTERM never does: launchers of several processes send
    one to those that the terminal has interrupted already.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before: dict[signal.Signals, Any] = {}
    try:
        for each in (signal.SIGINT, signal.SIGTERM):
            before[each] = signal.signal(each, receive)
    except ValueError:  # not the main thread: a caller's notebook or test handles signals itself
        pass
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
