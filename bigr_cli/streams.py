"""stdin, stdout and stderr as a process may find them: closed, without some characters, or on a disk that is full."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

_closed: set[str] = set()
_INTERRUPTED = 130


def prepare() -> None:
    """Have all three open, so that no file takes their numbers, and show "?" for what they have no character for."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            _closed.add(name)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a test's or a notebook's own stream
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def is_closed(name: str) -> bool:
    """Whether "stdin", "stdout" or "stderr" was closed when the process began."""
    return name in _closed


def discard(stream: TextIO) -> None:
    """Let what is still to be written to a stream that takes nothing more go nowhere, also at the process's end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def interruptible_imports() -> Iterator[None]:
    """While the block runs, Ctrl-C in the middle of an import ends the process without a word, exit code 130.

    KeyboardInterrupt would come out of modules that take it for something else, or with their traceback.
    """
    try:
        wanted = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if wanted:
            signal.signal(signal.SIGINT, _interrupt)
    except ValueError:  # not the main thread
        wanted = False
    try:
        yield
    finally:
        if wanted and signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name == "exec_module" and frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
