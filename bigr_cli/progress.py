"""How progress is shown: a bar or a panel on a terminal, elsewhere a line for every half minute of silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bigr_cli import console
from bigr_cli.plain_text import escaped

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.table import Table

SILENCE = 30.0  # seconds

ProgressOption = bool | Callable[[float, float], None] | None
"""How Python code wants progress shown: see `for_caller`."""


class ProgressBar:
    """What `progress_bar` hands out; this one shows nothing."""

    visible = False

    def advance(self, amount: float = 1) -> None:
        """So much more is done."""

    def describe(self, text: str) -> None:
        """Change the words beside the bar."""

    def detail(self, done: float, total: float, text: str) -> None:
        """Show a second bar, for what is being worked on just now; it goes when that is done."""

    def set_total(self, total: float) -> None:
        """There is more, or less, to do than was thought."""

    def facts(self, facts: Mapping[str, str]) -> None:
        """Show these lines below the bar, by their names, until others of the same name come."""


@contextmanager
def progress_bar(total: float | None, description: str, *, done: int = 0) -> Iterator[ProgressBar]:
    """A progress bar on stderr while the block runs; nothing with `--quiet`.

        with progress_bar(len(jobs), "painting") as bar:
            for job in jobs:
                ...
                bar.advance()

    `total` None shows that something goes on, without an end; `done` of it was done before. A bar inside another one
    is not shown. Where stderr is no terminal there is no bar, but a line when nothing was said for half a minute.
    """
    if not console.may_show_bars():
        yield ProgressBar()
        return
    with (_on_terminal if sys.stderr.isatty() else _spoken)(total, description, done) as bar:
        yield bar


class RichBar(ProgressBar):
    """A bar on a terminal, and below it what `facts` says."""

    visible = True

    def __init__(self, shown: Progress, description: str, total: float | None, done: int) -> None:
        self._shown, self._entry = shown, shown.add_task(escaped(description), total=total, completed=done)
        self._second = shown.add_task("", visible=False, rated=False)
        self._facts: dict[str, str] = {}

    def advance(self, amount: float = 1) -> None:
        self._shown.advance(self._entry, amount)

    def describe(self, text: str) -> None:
        self._shown.update(self._entry, description=escaped(text))

    def detail(self, done: float, total: float, text: str) -> None:
        self._shown.update(self._second, description=escaped(text), completed=done, total=total, visible=done < total)

    def set_total(self, total: float) -> None:
        self._shown.update(self._entry, total=total)

    def facts(self, facts: Mapping[str, str]) -> None:
        self._facts.update(facts)

    def __rich__(self) -> Table:
        """Bars above, facts below."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for name, value in self._facts.items():
            grid.add_row(Text(escaped(name), style="dim"), Text(escaped(value)))
        whole = Table.grid()
        whole.add_row(self._shown)
        whole.add_row(grid)
        return whole


@contextmanager
def _on_terminal(total: float | None, description: str, done: int) -> Iterator[RichBar]:
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.2f}/s" if task.speed and task.fields.get("rated", True) else "")

    shown_on = Console(stderr=True)
    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    bar = RichBar(Progress(*columns, console=shown_on, auto_refresh=False), description, total, done)
    with Live(bar, console=shown_on, transient=True, refresh_per_second=8), console.lines_above(shown_on):
        yield bar


class _SpokenBar(ProgressBar):
    """Says how far it is when nothing was said for half a minute; of bars inside each other, the innermost does."""

    def __init__(self, description: str, total: float | None, done: int) -> None:
        self._description, self._total, self._done, self._text = description, total, float(done), ""
        self._first, self._begin = float(done), time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount

    def describe(self, text: str) -> None:
        self._text = text

    def set_total(self, total: float) -> None:
        self._total = total

    def line(self) -> str:
        """How far it is."""
        seconds = time.monotonic() - self._begin
        if self._total is None:
            return f"{self._description}: for {seconds:.0f} s now"
        rate = (self._done - self._first) / max(seconds, 1e-9)
        left = f", {readable_time((self._total - self._done) / rate)} left" if rate > 0 else ""
        more = f", {self._text}" if self._text else ""
        return f"{self._description}: {self._done:,.0f} of {self._total:,.0f}{more}{left}"


_bars: list[_SpokenBar] = []  # those that are open, outermost first


@contextmanager
def _spoken(total: float | None, description: str, done: int) -> Iterator[_SpokenBar]:
    """A bar for a stderr that is no terminal."""
    bar, ended = _SpokenBar(description, total, done), threading.Event()
    _bars.append(bar)
    speaker = None
    if len(_bars) == 1:
        speaker = threading.Thread(target=_speak, args=(ended,), daemon=True)
        console.touch()
        speaker.start()
    try:
        yield bar
    finally:
        ended.set()
        _bars.remove(bar)
        if speaker is not None:
            speaker.join()


def _speak(ended: threading.Event) -> None:
    while not ended.wait(min(1.0, SILENCE / 4)):
        open_bars = list(_bars)
        if open_bars and console.silence() >= SILENCE:
            console.say(open_bars[-1].line())


@contextmanager
def for_caller(total: float, description: str, progress: ProgressOption) -> Iterator[Callable[[float], None]]:
    """Progress of a method that Python code calls; what it gives is told how much more is done.

    `progress` True shows a bar of tqdm, False none; None shows one on a terminal and in a notebook. A function is
    called with what is done and the total.
    """
    if progress is None:
        progress = console.may_show_bars() and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    done = 0.0
    if callable(progress):
        report = progress

        def advance(amount: float) -> None:
            nonlocal done
            done = min(total, done + amount)
            report(done, total)

        yield advance
        return
    if not progress:
        yield lambda amount: None
        return
    from tqdm.auto import tqdm  # a bar of its own in notebooks

    form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
    with tqdm(total=total, desc=description, bar_format=form, leave=False) as bar:

        def update(amount: float) -> None:
            bar.update(min(amount, total - bar.n))

        yield update


def readable_time(seconds: float) -> str:
    """A time span in the two largest units that it fills: 3h05m, 12m07s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
