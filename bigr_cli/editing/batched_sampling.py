"""Many images, one sampler: each image's work is a coroutine that requests samples, which are sampled in batches.

    def paint(...) -> SamplingCoroutine[Image]:
        (codes,) = yield [SampleRequest(codes, masked, ...)]   # waits here until a batch with it has been sampled
        return finished image

An image that needs several samples, one after the other, requests several times; `paint_together` keeps the batches
full with the requests of other images in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from bigr_cli.core.config import LARGEST_SEED, Prompt, SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.core.sampler import Observer
from bigr_cli.errors import BigrError, RunError
from bigr_cli.imaging.arrays import decode_images
from bigr_cli.runtime.memory import Batches, out_of_memory

_STRIDE = 0x1E3779B97F4A7C15  # odd and far from small numbers, so that derived seeds are nobody's next seed

MOST_HELD = 384 * 2**20  # bytes of memory that images may take which wait to be sampled, unless it is one alone

Result = TypeVar("Result")
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class SampleRequest:
    """Tokens to be sampled for one image.

    `codes` (L, K) bool and `masked` (L,) bool, on any device. `other` is a second label, mixed in with `ratio`;
    `negative` is the negative prompt. A label is a class's index, or a text; None is none.
    `box` is the square (x, y, side) of the image whose tokens these are, for those who watch; None is all of it.
    `held` is how many bytes of memory the image's work takes until these are sampled.
    """

    codes: Tensor
    masked: Tensor
    seed: int
    settings: SamplingConfig
    label: Prompt = None
    other: Prompt = None
    ratio: float = 0.0
    negative: Prompt = None
    box: tuple[int, int, int] | None = None
    held: int = 0


# It is sent the codes of all its requests, (N, L, K) bool.
SamplingCoroutine = Generator[Sequence[SampleRequest], Tensor, Result]


class Cancelled(BigrError):
    """Work that nobody waits for any more was given up."""


@dataclass(frozen=True, eq=False)
class Iteration:
    """What is known of a batch after one of the sampler's iterations.

    `keys` and `requests` belong to the rows of `codes` (B, L, K) and `masked` (B, L); `index` counts from 0.
    """

    keys: Sequence[object]
    requests: Sequence[SampleRequest]
    index: int
    codes: Tensor
    masked: Tensor

    @property
    def steps(self) -> int:
        """How many iterations there are."""
        return self.requests[0].settings.iterations


Watch = Callable[[Iteration], None]


def holding(coroutine: SamplingCoroutine[Result], held: int) -> SamplingCoroutine[Result]:
    """A coroutine whose requests say that so many bytes are held until they are sampled."""
    try:
        requests = next(coroutine)
        while True:
            requests = coroutine.send((yield [replace(request, held=held) for request in requests]))
    except StopIteration as stop:
        result: Result = stop.value
        return result


def derived_seed(seed: int, index: int) -> int:
    """The seed of an image's sample number `index`; of the first one it is the image's own."""
    return (seed + index * _STRIDE) & LARGEST_SEED


def side_by_side(coroutines: Sequence[SamplingCoroutine[Result]]) -> SamplingCoroutine[list[Result]]:
    """Coroutines whose requests go together, as one; gives their results in their order."""
    results: dict[int, Result] = {}
    requests: dict[int, Sequence[SampleRequest]] = {}

    def advance(index: int, codes: Tensor | None) -> None:
        try:
            requests[index] = next(coroutines[index]) if codes is None else coroutines[index].send(codes)
        except StopIteration as stop:
            requests.pop(index, None)
            results[index] = stop.value

    for index in range(len(coroutines)):
        advance(index, None)
    while requests:
        waiting = list(requests.items())
        sampled = yield [request for _, several in waiting for request in several]
        parts = sampled.split([len(several) for _, several in waiting])
        for (index, _), codes in zip(waiting, parts, strict=True):
            advance(index, codes)
    return [results[index] for index in range(len(coroutines))]


def sample_batch(network: BinaryModel, requests: Sequence[SampleRequest], observe: Observer | None = None) -> Tensor:
    """The codes of requests that have the same settings: (N, L, K) bool."""
    device = network.generator.positions.device
    mixed = any(request.ratio != 0 for request in requests)
    plain, negative = (network.conditions([getattr(one, name) for one in requests]) for name in ("label", "negative"))
    ratio = torch.tensor([request.ratio for request in requests])
    codes, masked = (torch.stack([getattr(one, name) for one in requests]).to(device) for name in ("codes", "masked"))
    return network.sample_codes(
        (plain, network.conditions([request.other for request in requests])) if mixed else plain,
        [request.seed for request in requests],
        settings=requests[0].settings,
        known=(codes, masked),
        ratios=(1 - ratio, ratio) if mixed else (1.0,),
        negative=(negative, negative) if mixed else negative,
        observe=observe,
    )


@dataclass(eq=False)
class _Work(Generic[Key, Result]):
    """A coroutine that waits for the codes of its requests."""

    key: Key
    coroutine: SamplingCoroutine[Result]
    requests: Sequence[SampleRequest] = ()
    sampled: dict[int, Tensor] = field(default_factory=dict)  # by the request's place


def paint_together(
    network: BinaryModel,
    coroutines: Iterable[tuple[Key, SamplingCoroutine[Result]]],
    *,
    batch_size: int,
    watch: Watch | None = None,
    cancelled: Callable[[Key], bool] | None = None,
    most_held: int = MOST_HELD,
) -> Iterator[tuple[Key, Result | BigrError]]:
    """Run coroutines, with up to `batch_size` requests at a time; gives each one's result, or the error that ended it.

    They come in the order in which they end. `coroutines` is read no further than needed, so it may have any length,
    and is asked again after it has ended, so more may come. Requests that do not fit into memory together are halved,
    with a warning, and fewer go together from then on.

    While those that wait hold more than `most_held` bytes, no other begins.

    `cancelled` says whether a coroutine is not wanted any more: it ends with `Cancelled`, at once or, when its requests
    are being sampled, with the iteration; if there are others in the batch, with the last one.

    Raises:
        UsageError: the batch size is below 1.
        RunError: there is too little memory for one request.
    """
    source, batches = iter(coroutines), Batches(batch_size)
    queue: deque[tuple[_Work[Key, Result], int]] = deque()
    while True:
        while len(queue) < batches.size and _held(queue) < most_held and (fresh := next(source, None)) is not None:
            work = _Work(*fresh)
            ended = _advance(work)
            if isinstance(ended, _Ended):
                yield work.key, ended.result
            queue.extend((work, place) for place in range(len(work.requests)))
        for work in _unwanted(queue, cancelled):
            yield work.key, Cancelled("cancelled")
        if not queue:
            return
        batch = _same_settings(queue, batches.size)
        try:
            for part, codes in batches.run(batch, lambda part: _sampled(network, part, watch, cancelled)):
                for (work, place), code in zip(part, codes, strict=True):
                    work.sampled[place] = code
        except Cancelled:  # what is left of the batch waits again, and who is cancelled is sorted out above
            queue.extendleft(reversed([(work, place) for work, place in batch if place not in work.sampled]))
        begun: list[tuple[_Work[Key, Result], int]] = []
        for work in dict.fromkeys(work for work, _ in batch):
            if work.requests and len(work.sampled) == len(work.requests):
                ended = _advance(work)
                if isinstance(ended, _Ended):
                    yield work.key, ended.result
                begun += [(work, place) for place in range(len(work.requests))]
        queue.extendleft(reversed(begun))  # in front, so that images that were begun get finished


def _held(queue: Iterable[tuple[_Work[Key, Result], int]]) -> int:
    return sum(max(request.held for request in work.requests) for work in dict.fromkeys(work for work, _ in queue))


@dataclass(frozen=True)
class _Ended(Generic[Result]):
    result: Result | BigrError


def _sampled(
    network: BinaryModel,
    batch: Sequence[tuple[_Work[Key, Result], int]],
    watch: Watch | None,
    cancelled: Callable[[Key], bool] | None,
) -> Tensor:
    keys, requests = [work.key for work, _ in batch], [work.requests[place] for work, place in batch]

    def observe(index: int, codes: Tensor, masked: Tensor) -> None:
        if watch is not None:
            watch(Iteration(keys, requests, index, codes, masked))
        if cancelled is not None and all(map(cancelled, keys)):
            raise Cancelled("cancelled")

    return sample_batch(network, requests, None if watch is None and cancelled is None else observe)


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
        work.coroutine.close()
        work.requests = ()
    return works


def _same_settings(queue: deque[tuple[_Work[Key, Result], int]], most: int) -> list[tuple[_Work[Key, Result], int]]:
    """Take the first request out of the queue, and up to `most` with the same settings."""
    settings = queue[0][0].requests[queue[0][1]].settings
    batch = [entry for entry in queue if entry[0].requests[entry[1]].settings == settings][:most]
    taken = set(map(id, batch))
    left = [entry for entry in queue if id(entry) not in taken]
    queue.clear()
    queue.extend(left)
    return batch


def _advance(work: _Work[Key, Result]) -> _Ended[Result] | None:
    """Let a coroutine go on to its next requests; what it ends with, if it ends."""
    try:
        if work.requests:
            codes = torch.stack([work.sampled.pop(place) for place in range(len(work.requests))])
            work.requests = work.coroutine.send(codes)
        else:
            work.requests = next(work.coroutine)
        return None
    except StopIteration as stop:
        result = stop.value
    except BigrError as error:
        result = error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        result = RunError("there is too little memory for an image of this size")
    work.requests = ()
    return _Ended(result)


def generate(
    network: BinaryModel, label: Prompt, settings: SamplingConfig, seed: int, *, negative: Prompt = None
) -> SamplingCoroutine[Image]:
    """Sample all tokens of one image; the same image as `Model.generate` makes with this seed."""
    config = network.generator.config
    codes = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    masked = torch.ones(config.tokens, dtype=torch.bool)
    sampled = yield [SampleRequest(codes, masked, seed, settings, label=label, negative=negative)]
    return decode_images(network, sampled)[0]
