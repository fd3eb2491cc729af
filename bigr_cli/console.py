"""What the user reads: results on stdout, messages and progress on stderr, never mixed.

Names, labels, licences and whatever else comes from files or a hub are data: nothing in them reaches the terminal as a
control character. Every function here shows such characters as escapes (`plain_text.escaped`), and nothing else in the
package writes to the terminal.
"""

import json
import logging
import math
import multiprocessing
import os
import sys
import threading
import time
import traceback as tracebacks
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bigr_cli import streams
from bigr_cli.plain_text import escaped

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class _State:
    quiet: bool = False
    verbose: bool = False
    unheard: bool = False
    last: float = 0.0  # when the last line was written, by the monotonic clock
    live: "Console | None" = field(default=None, repr=False)  # the console of the progress bar being shown
    said: set[str] = field(default_factory=set, repr=False)  # what is said once
    lost: bool = False  # whether stdout takes nothing more
    noted: dict[str, set[str]] = field(default_factory=dict)  # what notes of each kind are about


_state = _State()
_NOTING = threading.Lock()
_NOTES = 3


def configure(*, quiet: bool | None = None, verbose: bool | None = None) -> None:
    """Set how much is said; what is None stays as it is."""
    if quiet is not None:
        _state.quiet = quiet
        logging.disable(logging.WARNING if quiet else logging.NOTSET)
    _state.verbose = _state.verbose if verbose is None else verbose


@contextmanager
def _given_back() -> Iterator[None]:
    """After the block as much is said as before it."""
    quiet, verbose = _state.quiet, _state.verbose
    try:
        yield
    finally:
        configure(quiet=quiet, verbose=verbose)


@contextmanager
def quieter(quiet: bool) -> Iterator[None]:
    """While the block runs, nothing is said but warnings and errors, if `quiet`."""
    with _given_back():
        configure(quiet=quiet or _state.quiet)
        yield


@contextmanager
def new_command() -> Iterator[None]:
    """While the block runs, all but details is heard, and what is said once may be said again: a command begins.

    How much was said before is how much is said after it, whatever the command's own options were.
    """
    with _given_back():
        configure(quiet=False, verbose=False)
        _state.said.clear()
        _state.noted.clear()
        _state.lost = False
        yield


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While the block runs, `--quiet` silences the warnings and log messages of libraries too."""
    with warnings.catch_warnings():
        show = warnings.showwarning
        warnings.showwarning = lambda *given, **more: None if _state.quiet else show(*given, **more)
        before = logging.root.manager.disable
        try:
            yield
        finally:
            logging.disable(before)


def may_show_bars() -> bool:
    """Whether a bar is neither unwanted nor would be one inside another on a terminal."""
    return not _state.quiet and not _state.unheard and _state.live is None


def say(message: str, *, once: bool = False) -> None:
    """A message on stderr; `--quiet` silences it. With `once`, not again for the same command."""
    if not _state.quiet and not (once and _was_said(message)):
        _write(escaped(message))


def detail(message: str) -> None:
    """A message on stderr that only `--verbose` shows."""
    if _state.verbose and not _state.quiet:
        _write(escaped(message))


def note(kind: str, name: str, message: str) -> None:
    """A message about one of many files, `NAME: MESSAGE`, said once.

    Of each kind the first three are said, and the others are counted by `end_notes`; a process that others started to
    read ahead says its first one only.
    """
    with _NOTING:
        known = _state.noted.setdefault(kind, set())
        if name in known:
            return
        known.add(name)
        place = len(known)
    if place <= (_NOTES if multiprocessing.parent_process() is None else 1):
        say(f"{name}: {message}")


def end_notes() -> None:
    """Say how many notes of each kind were not said, and begin anew."""
    noted, _state.noted = _state.noted, {}
    for kind, names in noted.items():
        if len(names) > _NOTES:
            say(f"and {len(names) - _NOTES:,} more files like these ({kind})")


def warn(message: str, *, once: bool = False) -> None:
    """A warning of one line on stderr; `--quiet` does not silence it. With `once`, not again for the same command."""
    if once and _was_said(message):
        return
    _write(f"{_coloured('warning:', '33')} {_one_line(message)}")


def error(message: str, hint: str | None = None) -> None:
    """An error of one line on stderr, and a line with what may help."""
    _write(f"{_coloured('error:', '31')} {_one_line(message)}")
    if hint:
        _write(f"{_coloured('hint:', '36')} {_one_line(hint)}")


def traceback(error: BaseException) -> None:
    """The traceback of an error on stderr, for `--debug`."""
    for line in "".join(tracebacks.format_exception(error)).splitlines():
        _write(escaped(line))


def result(text: str) -> None:
    """A result: a line on stdout. Tabs in it stay; a line break in it is shown as an escape."""
    _emit(escaped(text, keep="\t") + "\n")


def results(text: str) -> None:
    """A result of several lines on stdout."""
    for line in text.split("\n"):
        result(line)


def json_line(record: Mapping[str, Any]) -> None:
    """A result as one line of JSON on stdout; paths become strings, and numbers that JSON has not become null.

    It is written at once, so that the lines of several processes do not run into each other.
    """
    result(json.dumps(_jsonable(record)))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings on stdout, as wide as the terminal, or as they need to be when it is none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000)
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        grid.add_column(Text(escaped(name)))
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    with console.capture() as captured:
        console.print(grid)
    _emit(captured.get())


def stdout_lost() -> bool:
    """Whether a result of this command could not be written to stdout, and went to stderr instead."""
    return _state.lost


@contextmanager
def lines_above(live: "Console") -> Iterator[None]:
    """While the block runs, lines are written above what rich shows live on a console."""
    _state.live = live
    try:
        yield
    finally:
        _state.live = None


@contextmanager
def unheard() -> Iterator[None]:
    """Nothing but errors is said while the block runs: for what is only tried."""
    before = _state.unheard
    _state.unheard = True
    try:
        yield
    finally:
        _state.unheard = before


def silence() -> float:
    """Seconds since the last line on stderr."""
    return time.monotonic() - _state.last


def touch() -> None:
    """Count silence from now on."""
    _state.last = time.monotonic()


def _write(line: str) -> None:
    if _state.unheard:
        return
    touch()
    if _state.live is not None:
        from rich.text import Text

        _state.live.print(Text.from_ansi(line), soft_wrap=True)  # above the bar instead of through it
    else:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody listens any more; the work is worth more than what is said about it
            streams.discard(sys.stderr)


def _emit(text: str) -> None:
    """Lines on stdout, at once; on stderr if stdout takes no more, so that no figure is lost. BrokenPipeError stays."""
    try:
        if not _state.lost:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        _state.lost = True
        streams.discard(sys.stdout)
        warn(f"stdout cannot be written ({getattr(problem, 'strerror', None) or problem}); its lines follow here")
    for line in text.splitlines():
        _write(line)


def _was_said(message: str) -> bool:
    before = message in _state.said
    _state.said.add(message)
    return before


def _one_line(text: str) -> str:
    return escaped(" ".join(text.split()))


def _coloured(text: str, code: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return f"\033[{code}m{text}\033[0m"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
