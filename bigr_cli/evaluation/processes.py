"""Several processes that share some work, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from bigr_cli.errors import RunError, UsageError

T = TypeVar("T")

_PATIENCE = timedelta(days=7)  # one process may have much more to do than another


@dataclass(frozen=True)
class Team:
    """This process, number `rank` of `count`; number 0 speaks for all."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes are here. RunError if one of them has ended."""
        self.told(None)

    def told(self, value: T) -> T:
        """What the first process gives, to all of them. RunError if one of them has ended."""
        if self.count == 1:
            return value
        from torch import distributed

        given = [value]
        try:
            distributed.broadcast_object_list(given, src=0)
            distributed.barrier()
        except RuntimeError as error:
            hint = "the same command goes on from what is done"
            raise RunError(f"process {self.rank}: another process has ended", hint=hint) from error
        return given[0]

    def after_the_first(self, make: Callable[[], T]) -> T:
        """`make()`, in the first process before the others: what it leaves in a cache is there for them."""
        if not self.first:
            self.wait()
        made = make()
        if self.first:
            self.wait()
        return made


@contextmanager
def team() -> Iterator[Team]:
    """The processes that RANK and WORLD_SIZE tell of, while the block runs; this one alone where they are not set.

    Raises:
        UsageError: they make no sense.
        RunError: the others cannot be reached.
    """
    texts = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        rank, count = map(int, texts)
    except ValueError:
        rank, count = -1, 0
    if not 0 <= rank < count:
        raise UsageError(f"RANK={texts[0]} of WORLD_SIZE={texts[1]}: is no process", hint="torchrun sets both")
    if count == 1:
        yield Team()
        return
    from torch import distributed

    try:
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"process {rank} of {count} cannot reach the others: {error}") from error
    try:
        yield Team(rank, count)
    finally:
        distributed.destroy_process_group()
