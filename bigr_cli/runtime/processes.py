"""Several processes that share some work, as `torchrun` and `accelerate launch` start them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TypeVar

from bigr_cli.errors import BigrError, RunError, UsageError
from bigr_cli.streams import TERMINATED

T = TypeVar("T")

MEETING = timedelta(minutes=10)  # one process may start later than another
_PATIENCE = timedelta(days=7)  # one process may have much more to do than another


@dataclass(frozen=True)
class Team:
    """This process, number `rank` of `count`; number 0 speaks for all. `hint` says what helps if one is lost."""

    rank: int = 0
    count: int = 1
    hint: str = "the same command goes on from what is done"

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, work: Sequence[T]) -> Sequence[T]:
        """What falls to this process: every `count`-th piece."""
        return work[self.rank :: self.count]

    def wait(self) -> None:
        """Return when all processes are here. RunError if one of them has ended."""
        self.broadcast(None)

    def broadcast(self, value: T) -> T:
        """What the first process gives, to all of them. RunError if one of them has ended."""
        if self.count == 1:
            return value
        from torch import distributed

        given = [value]
        try:
            distributed.broadcast_object_list(given, src=0)
            distributed.barrier()
        except RuntimeError as error:
            raise self._lost() from error
        return given[0]

    def all_gather(self, value: T) -> list[T]:
        """What each process gives, in their order, to all of them. RunError if one of them has ended."""
        if self.count == 1:
            return [value]
        from torch import distributed

        given: list[T] = [value] * self.count
        try:
            distributed.all_gather_object(given, value)
            distributed.barrier()
        except RuntimeError as error:
            raise self._lost() from error
        return given

    def decided(self, make: Callable[[], T]) -> T:
        """`make()` of the first process, told to all; an error of it is raised there, and ends the others silently."""
        return self._from_the_first(make, lambda made: made)

    def after_the_first(self, make: Callable[[], T]) -> T:
        """`make()`, in the first process before the others: what it leaves in a cache is there for them.

        An error in the first process is raised there, and ends the others silently.
        """
        made = self._from_the_first(make, lambda made: None)
        return made if self.first else make()

    def _from_the_first(self, make: Callable[[], T], shown: Callable[[T], T | None]) -> T:
        """What the first process makes; to the others, what is `shown` of it. All meet here."""
        if self.count == 1:
            return make()
        made: T | None = None
        if self.first:
            try:
                made = make()
            except BigrError as error:
                self.broadcast((None, error.exit_code))
                raise
        broadcast, code = self.broadcast((shown(made) if made is not None else None, 0))
        if code:
            raise SystemExit(code)
        return made if self.first else broadcast  # type: ignore[return-value]

    def _lost(self) -> RunError:
        return RunError(f"process {self.rank}: another process has ended", hint=self.hint)


@contextmanager
def team(*, hint: str = Team.hint) -> Iterator[Team]:
    """The processes that RANK and WORLD_SIZE tell of, while the block runs; this one alone where they are not set.

    While there are several, a SIGTERM, which their launcher sends when one of them has ended, ends this one as an
    error would: files that are being written get finished or removed.

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
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://", rank, count, timeout=MEETING))
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"process {rank} of {count} cannot reach the others: {error}") from error
    try:
        with _terminable():
            yield Team(rank, count, hint)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _terminable() -> Iterator[None]:
    """Makes SystemExit of the first SIGTERM while the block runs."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a launcher may send it more than once
        raise SystemExit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: a caller's notebook or test handles signals itself
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
