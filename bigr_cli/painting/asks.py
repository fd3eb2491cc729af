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
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bigr_cli.batches import Batches
from bigr_cli.core.config import LARGEST_SEED, Guide, SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import BigrError

_STRIDE = 0x1E3779B97F4A7C15  # odd and far from small numbers, so that derived seeds are nobody's next seed

Result = TypeVar("Result")
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Ask:
    """Tokens to be drawn for one picture.

    `codes` (L, K) bool and `masked` (L,) bool, on any device. `other` is a second label, mixed in with `ratio`;
    `against` is the label that guidance leads away from. A label is a class's index, or a text; None is none.
    """

    codes: Tensor
    masked: Tensor
    seed: int
    settings: SamplingConfig
    label: Guide = None
    other: Guide = None
    ratio: float = 0.0
    against: Guide = None


Painter = Generator[Sequence[Ask], Tensor, Result]  # it is sent the codes of all its asks, (N, L, K) bool
# Called after each iteration with the keys of the pictures drawn, the iteration (from 0) and the number of iterations.
Watch = Callable[[Sequence[object], int, int], None]


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


def draw(network: BinaryModel, asks: Sequence[Ask], watch: Callable[[int], None] | None = None) -> Tensor:
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
        observe=(lambda i, codes, masked: watch(i)) if watch else None,
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
) -> Iterator[tuple[Key, Result | BigrError]]:
    """Run painters, with up to `batch_size` asks at a time; gives each one's result, or the error that ended it.

    They come in the order in which they end. `painters` is read no further than needed, so it may have any length.
    Asks that do not fit into memory together are halved, with a warning, and fewer go together from then on.

    Raises:
        UsageError: the batch size is below 1.
        RunError: there is too little memory for one ask.
    """
    source, batches = iter(painters), Batches(batch_size)
    queue: deque[tuple[_Work[Key, Result], int]] = deque()
    while True:
        while len(queue) < batches.size and (fresh := next(source, None)) is not None:
            work = _Work(*fresh)
            ended = _advance(work)
            if isinstance(ended, _Ended):
                yield work.key, ended.result
            queue.extend((work, place) for place in range(len(work.asks)))
        if not queue:
            return
        batch = _alike(queue, batches.size)
        for part, codes in batches.run(batch, lambda part: _drawn(network, part, watch)):
            for (work, place), code in zip(part, codes, strict=True):
                work.drawn[place] = code
        begun: list[tuple[_Work[Key, Result], int]] = []
        for work in dict.fromkeys(work for work, _ in batch):
            if len(work.drawn) == len(work.asks):
                ended = _advance(work)
                if isinstance(ended, _Ended):
                    yield work.key, ended.result
                begun += [(work, place) for place in range(len(work.asks))]
        queue.extendleft(reversed(begun))  # in front, so that pictures that were begun get finished


@dataclass(frozen=True)
class _Ended(Generic[Result]):
    result: Result | BigrError


def _drawn(network: BinaryModel, batch: Sequence[tuple[_Work[Key, Result], int]], watch: Watch | None) -> Tensor:
    asks = [work.asks[place] for work, place in batch]
    seen = None if watch is None else _told(watch, [work.key for work, _ in batch], asks[0].settings.steps)
    return draw(network, asks, seen)


def _told(watch: Watch, keys: Sequence[object], steps: int) -> Callable[[int], None]:
    return lambda iteration: watch(keys, iteration, steps)


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
    return None
