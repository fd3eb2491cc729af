"""Keeping to a time: how many steps a stage has is planned once, and changed only if the machine proves otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bigr_cli import console
from bigr_cli.progress import readable_time
from bigr_cli.training.config import RunConfig

_TOLERANCE = 0.08  # of the stage's time that a forecast may be off before the number of steps changes
_FEW = 30.0  # seconds that a forecast needs to be worth anything


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
        settled: Callable[[float, int | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget` seconds for the whole stage, of which `spent` are over.

        `settled` is called after each checkpoint, with the seconds spent and the number of steps if it is another one.
        """
        self.budget, self._before, self._settled, self._clock = budget, spent, settled, clock
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
        self._settled(spent, wanted if wanted != total else None)
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
