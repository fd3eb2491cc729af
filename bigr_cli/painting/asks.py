"""Many pictures, one sampler: each picture's work is a generator that asks for tokens, and asks go together.

    def paint(...) -> Painter[Image]:
        (codes,) = yield [Ask(codes, masked, ...)]   # waits here until a batch with this ask has been sampled
        return finished picture

A picture that needs several draws, one after the other, asks several times; `paint_together` keeps the batches full
with the asks of other pictures in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bigr_cli.batches import Batches, out_of_memory
from bigr_cli.core.config import LARGEST_SEED, Guide, SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.sampler import Observer
from bigr_cli.errors import BigrError, RunError

_STRIDE = 0x1E3779B97F4A7C15  # odd and far from small numbers, so that derived seeds are nobody's next seed

MOST_HELD = 384 * 2**20  # bytes of memory that images may take which wait to be sampled, unless it is one alone

Result = TypeVar("Result")
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Ask:
    """Tokens to be drawn for one picture.

    `codes` (L, K) bool and `masked` (L,) bool, on any device. `other` is a second label, mixed in with `ratio`;
    `against` is the label that guidance leads away from. A label is a class's index, or a text; None is none.
    `box` is the square (x, y, side) of the picture whose tokens these are, for those who watch; None is all of it.
    `held` is how many bytes of memory the picture's work takes until these are sampled.
    """

    codes: Tensor
    masked: Tensor
    seed: int
    settings: SamplingConfig
    label: Guide = None
    other: Guide = None
    ratio: float = 0.0
    against: Guide = None
    box: tuple[int, int, int] | None = None
    held: int = 0


Painter = Generator[Sequence[Ask], Tensor, Result]  # it is sent the codes of all its asks, (N, L, K) bool


class Cancelled(BigrError):
    """Work that nobody waits for any more was given up."""


@dataclass(frozen=True, eq=False)
class Iteration:
    """What is known of a batch after one of the sampler's iterations.

    `keys` and `asks` belong to the rows of `codes` (B, L, K) and `masked` (B, L); `index` counts from 0.
    """

    keys: Sequence[object]
    asks: Sequence[Ask]
    index: int
    codes: Tensor
    masked: Tensor

    @property
    def steps(self) -> int:
        """How many iterations there are."""
        return self.asks[0].settings.steps


Watch = Callable[[Iteration], None]


def holding(painter: Painter[Result], held: int) -> Painter[Result]:
    """A painter whose asks say that so many bytes are held until they are sampled."""
    try:
        asks = next(painter)
        while True:
            asks = painter.send((yield [replace(ask, held=held) for ask in asks]))
    except StopIteration as stop:
        result: Result = stop.value
        return result


def derived_seed(seed: int, index: int) -> int:
    """The seed of a picture's draw number `index`; of the first one it is the picture's own."""
    return (seed + index * _STRIDE) & LARGEST_SEED


def side_by_side(painters: Sequence[Painter[Result]]) -> Painter[list[Result]]:
    """Painters whose asks go together, as one painter; gives their results in their order."""
    results: dict[int, Result] = {}
    asks: dict[int, Sequence[Ask]] = {}

    def advance(index: int, codes: Tensor | None) -> None:
        try:
            asks[index] = next(painters[index]) if codes is None else painters[index].send(codes)
        except StopIteration as stop:
            asks.pop(index, None)
            results[index] = stop.value

    for index in range(len(painters)):
        advance(index, None)
    while asks:
        waiting = list(asks.items())
        drawn = yield [ask for _, several in waiting for ask in several]
        parts = drawn.split([len(several) for _, several in waiting])
        for (index, _), codes in zip(waiting, parts, strict=True):
            advance(index, codes)
    return [results[index] for index in range(len(painters))]


def draw(network: BinaryModel, asks: Sequence[Ask], observe: Observer | None = None) -> Tensor:
    """The codes of asks that have the same settings: (N, L, K) bool."""
    device = network.generator.positions.device
    mixed = any(ask.ratio != 0 for ask in asks)
    plain, away = (network.conditions([getattr(ask, name) for ask in asks]) for name in ("label", "against"))
    ratio = torch.tensor([ask.ratio for ask in asks])
    return network.sample_codes(
        (plain, network.conditions([ask.other for ask in asks])) if mixed else plain,
        [ask.seed for ask in asks],
        known=(torch.stack([a.codes for a in asks]).to(device), torch.stack([a.masked for a in asks]).to(device)),
        ratios=(1 - ratio, ratio) if mixed else (1.0,),
        against=(away, away) if mixed else away,
        observe=observe,
        **vars(asks[0].settings),
    )


@dataclass(eq=False)
class _Work(Generic[Key, Result]):
    """A painter that waits for the codes of its asks."""

    key: Key
    painter: Painter[Result]
    asks: Sequence[Ask] = ()
    drawn: dict[int, Tensor] = field(default_factory=dict)  # by the ask's place


def paint_together(
    network: BinaryModel,
    painters: Iterable[tuple[Key, Painter[Result]]],
    *,
    batch_size: int,
    watch: Watch | None = None,
    cancelled: Callable[[Key], bool] | None = None,
    most_held: int = MOST_HELD,
) -> Iterator[tuple[Key, Result | BigrError]]:
    """Run painters, with up to `batch_size` asks at a time; gives each one's result, or the error that ended it.

    They come in the order in which they end. `painters` is read no further than needed, so it may have any length, and
    is asked again after it has ended, so more may come. Asks that do not fit into memory together are halved, with a
    warning, and fewer go together from then on.

    While those that wait hold more than `most_held` bytes, no other begins.

    `cancelled` says whether a painter is not wanted any more: it ends with `Cancelled`, at once or, when its asks are
    being sampled, with the iteration; if there are others in the batch, with the last one.

    Raises:
        UsageError: the batch size is below 1.
        RunError: there is too little memory for one ask.
    """
    source, batches = iter(painters), Batches(batch_size)
    queue: deque[tuple[_Work[Key, Result], int]] = deque()
    while True:
        while len(queue) < batches.size and _held(queue) < most_held and (fresh := next(source, None)) is not None:
            work = _Work(*fresh)
            ended = _advance(work)
            if isinstance(ended, _Ended):
                yield work.key, ended.result
            queue.extend((work, place) for place in range(len(work.asks)))
        for work in _unwanted(queue, cancelled):
            yield work.key, Cancelled("cancelled")
        if not queue:
            return
        batch = _alike(queue, batches.size)
        try:
            for part, codes in batches.run(batch, lambda part: _drawn(network, part, watch, cancelled)):
                for (work, place), code in zip(part, codes, strict=True):
                    work.drawn[place] = code
        except Cancelled:  # what is left of the batch waits again, and who is cancelled is sorted out above
            queue.extendleft(reversed([(work, place) for work, place in batch if place not in work.drawn]))
        begun: list[tuple[_Work[Key, Result], int]] = []
        for work in dict.fromkeys(work for work, _ in batch):
            if work.asks and len(work.drawn) == len(work.asks):
                ended = _advance(work)
                if isinstance(ended, _Ended):
                    yield work.key, ended.result
                begun += [(work, place) for place in range(len(work.asks))]
        queue.extendleft(reversed(begun))  # in front, so that pictures that were begun get finished


def _held(queue: Iterable[tuple[_Work[Key, Result], int]]) -> int:
    """The bytes that all works of a queue hold together."""
    return sum(max(ask.held for ask in work.asks) for work in dict.fromkeys(work for work, _ in queue))


@dataclass(frozen=True)
class _Ended(Generic[Result]):
    result: Result | BigrError


def _drawn(
    network: BinaryModel,
    batch: Sequence[tuple[_Work[Key, Result], int]],
    watch: Watch | None,
    cancelled: Callable[[Key], bool] | None,
) -> Tensor:
    keys, asks = [work.key for work, _ in batch], [work.asks[place] for work, place in batch]

    def observe(index: int, codes: Tensor, masked: Tensor) -> None:
        if watch is not None:
            watch(Iteration(keys, asks, index, codes, masked))
        if cancelled is not None and all(map(cancelled, keys)):
            raise Cancelled("cancelled")

    return draw(network, asks, None if watch is None and cancelled is None else observe)


def _unwanted(
    queue: deque[tuple[_Work[Key, Result], int]], cancelled: Callable[[Key], bool] | None
) -> list[_Work[Key, Result]]:
    """Take the works that are cancelled out of the queue, and end them."""
    if cancelled is None:
        return []
    works = [work for work in dict.fromkeys(work for work, _ in queue) if cancelled(work.key)]
    kept = [(work, place) for work, place in queue if work not in works]
    queue.clear()
    queue.extend(kept)
    for work in works:
        work.painter.close()
        work.asks = ()
    return works


def _alike(queue: deque[tuple[_Work[Key, Result], int]], most: int) -> list[tuple[_Work[Key, Result], int]]:
    """Take the first ask out of the queue, and up to `most` with the same settings."""
    settings = queue[0][0].asks[queue[0][1]].settings
    batch = [entry for entry in queue if entry[0].asks[entry[1]].settings == settings][:most]
    taken = set(map(id, batch))
    left = [entry for entry in queue if id(entry) not in taken]
    queue.clear()
    queue.extend(left)
    return batch


def _advance(work: _Work[Key, Result]) -> _Ended[Result] | None:
    """Let a painter go on to its next asks; what it ends with, if it ends."""
    try:
        if work.asks:
            codes = torch.stack([work.drawn.pop(place) for place in range(len(work.asks))])
            work.asks = work.painter.send(codes)
        else:
            work.asks = next(work.painter)
    except StopIteration as stop:
        work.asks = ()
        return _Ended(stop.value)
    except BigrError as error:
        work.asks = ()
        return _Ended(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        work.asks = ()
        return _Ended(RunError("there is too little memory for an image of this size"))
    return None
