"""stdin, stdout and stderr as a process may find them: closed, without some characters, or on a disk that is full."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from bigr_cli.errors import RunError

_Handler = Callable[[int, FrameType | None], Any] | signal.Handlers

_closed: set[str] = set()
_INTERRUPTED = 130
TERMINATED = 128 + 15  # the exit code of what SIGTERM has ended, as shells give it
_GRACE = 5.0  # seconds that a process has after SIGTERM to finish the files that it is writing


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


def write_stdout(data: bytes) -> None:
    """Write data to stdout, at once. RunError if it takes no more; BrokenPipeError stays."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        hint = "-o FILE writes it elsewhere"
        raise RunError(f"stdout cannot be written: {error.strerror or error}", hint=hint) from error


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
    with _handled(signal.SIGINT, signal.default_int_handler, _interrupt):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """While the block runs, the first SIGTERM is SystemExit with exit code 143: files that are being written get whole.

    After five seconds the process ends in any case. Those who handle the signal themselves inside are left to it.
    """
    with _handled(signal.SIGTERM, signal.SIG_DFL, _terminate):
        yield


@contextmanager
def _handled(number: signal.Signals, usual: _Handler, handler: _Handler) -> Iterator[None]:
    """While the block runs, `handler` stands in for the usual one, where nobody has set another."""
    try:
        wanted = signal.getsignal(number) is usual
        if wanted:
            signal.signal(number, handler)
    except ValueError:  # not the main thread
        wanted = False
    try:
        yield
    finally:
        if wanted and signal.getsignal(number) is handler:
            signal.signal(number, usual)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # launchers send it more than once
    end = threading.Timer(_GRACE, os._exit, (TERMINATED,))
    end.daemon = True
    end.start()
    if _importing(frame):  # as if nobody had handled it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    raise SystemExit(TERMINATED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        os._exit(_INTERRUPTED)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "exec_module" and frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
