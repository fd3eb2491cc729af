from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import (
    Cancelled,
    Iteration,
    SampleRequest,
    SamplingCoroutine,
    derived_seed,
    holding,
    paint_together,
    sample_batch,
    side_by_side,
)
from bigr_cli.errors import BigrError, ImageError, RunError
from bigr_cli.zoo.folder import load_model

FEW = SamplingConfig(steps=2, timesteps=3)
MORE = SamplingConfig(steps=3, timesteps=3)


@pytest.fixture(scope="module")
def network(tiny_model: Path) -> BinaryModel:
    return load_model(tiny_model)[0]


def request(seed: int, settings: SamplingConfig = FEW, **more: object) -> SampleRequest:
    codes = torch.zeros(16, 6, dtype=torch.bool)
    return SampleRequest(codes, torch.ones(16, dtype=torch.bool), seed, settings, **more)  # type: ignore[arg-type]


def twice(seed: int, settings: SamplingConfig = FEW) -> SamplingCoroutine[Tensor]:
    """Requests an image, then for its upper half once more."""
    first = yield [request(seed, settings, label=1)]
    masked = torch.arange(16) < 8
    second = yield [SampleRequest(first[0], masked, derived_seed(seed, 1), settings, label=2)]
    return second[0]


def failing(error: BigrError) -> SamplingCoroutine[Tensor]:
    yield [request(0)]
    raise error


def idle() -> SamplingCoroutine[str]:
    return "done"
    yield []


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_results_do_not_depend_on_the_batch(network: BinaryModel, batch_size: int) -> None:
    coroutines = ((seed, twice(seed, MORE if seed % 3 == 0 else FEW)) for seed in range(9))
    results = dict(paint_together(network, coroutines, batch_size=batch_size))
    for seed in range(9):
        ((_, alone),) = paint_together(network, [(0, twice(seed, MORE if seed % 3 == 0 else FEW))], batch_size=1)
        assert torch.equal(results[seed], alone)


def test_no_more_coroutines_are_begun_than_are_needed(network: BinaryModel) -> None:
    begun = 0

    def endless() -> Iterator[tuple[int, SamplingCoroutine[Tensor]]]:
        nonlocal begun
        while True:
            begun += 1
            yield begun, twice(begun)

    coming = paint_together(network, endless(), batch_size=4)
    for _ in range(20):
        next(coming)
    assert begun <= 24 + 4


def test_an_error_ends_its_coroutine_alone(network: BinaryModel) -> None:
    error = ImageError("broken")
    coroutines = [("a", twice(1)), ("b", failing(error)), ("c", twice(2))]
    results = dict(paint_together(network, coroutines, batch_size=3))
    assert results["b"] is error
    assert isinstance(results["a"], Tensor)
    assert isinstance(results["c"], Tensor)


def test_a_coroutine_may_ask_for_nothing(network: BinaryModel) -> None:
    assert list(paint_together(network, [(1, idle()), (2, idle())], batch_size=2)) == [(1, "done"), (2, "done")]


def test_side_by_side_gives_what_each_gives_alone(network: BinaryModel) -> None:
    ((_, together),) = paint_together(network, [(0, side_by_side([twice(3), twice(4), twice(5)]))], batch_size=2)
    assert not isinstance(together, BigrError)
    for seed, codes in zip((3, 4, 5), together, strict=True):
        ((_, alone),) = paint_together(network, [(0, twice(seed))], batch_size=1)
        assert torch.equal(codes, alone)


def test_labels_mixed_and_led_away_from_go_together_with_plain_ones(network: BinaryModel) -> None:
    requests = [
        request(1),
        request(2, label=0),
        request(3, label=0, other=2, ratio=0.25),
        request(4, label=1, negative=3),
    ]
    together = sample_batch(network, requests)
    for one, codes in zip(requests, together, strict=True):
        assert torch.equal(sample_batch(network, [one])[0], codes)
    assert not torch.equal(sample_batch(network, [request(4, label=1)])[0], together[3])


def test_the_watcher_sees_every_iteration(network: BinaryModel) -> None:
    seen: list[tuple[list[object], int, int, int]] = []

    def watch(now: Iteration) -> None:
        assert now.codes.shape == (len(now.requests), 16, 6)
        seen.append((list(now.keys), now.index, now.steps, int(now.masked[0].sum())))

    list(paint_together(network, [("a", twice(1)), ("b", twice(2))], batch_size=2, watch=watch))
    assert [now[:3] for now in seen] == [(["a", "b"], 0, 2), (["a", "b"], 1, 2)] * 2
    assert seen[0][3] > seen[1][3] == 0


def test_a_cancelled_coroutine_ends_with_the_iteration(network: BinaryModel) -> None:
    stopped: set[str] = set()
    iterations = []

    def watch(now: Iteration) -> None:
        iterations.append(now.index)
        stopped.add("a")

    slow = SamplingConfig(steps=16, timesteps=3)
    ((key, error),) = paint_together(
        network, [("a", twice(1, slow))], batch_size=2, watch=watch, cancelled=stopped.__contains__
    )
    assert key == "a" and isinstance(error, Cancelled)
    assert iterations == [0]


def test_others_are_none_the_worse_for_a_cancelled_coroutine(network: BinaryModel) -> None:
    stopped: set[str] = set()

    def watch(now: Iteration) -> None:
        if now.index == 1:
            stopped.add("b")

    coroutines = [(name, twice(seed, MORE)) for seed, name in enumerate("abcd")]
    results = dict(paint_together(network, coroutines, batch_size=2, watch=watch, cancelled=stopped.__contains__))
    assert isinstance(results.pop("b"), Cancelled)
    for seed, name in ((0, "a"), (2, "c"), (3, "d")):
        ((_, alone),) = paint_together(network, [(0, twice(seed, MORE))], batch_size=1)
        assert torch.equal(results[name], alone)


def test_a_source_may_have_more_after_it_had_none(network: BinaryModel) -> None:
    waiting = [("a", twice(1))]

    class Source:
        def __iter__(self) -> Iterator[tuple[str, SamplingCoroutine[Tensor]]]:
            return self

        def __next__(self) -> tuple[str, SamplingCoroutine[Tensor]]:
            if not waiting:
                raise StopIteration
            return waiting.pop()

    def watch(now: Iteration) -> None:
        if now.index == 0 and now.keys == ["a"] and not late:
            late.append("b")
            waiting.append(("b", twice(2)))

    late: list[str] = []
    assert {key for key, _ in paint_together(network, Source(), batch_size=2, watch=watch)} == {"a", "b"}


def test_seeds_of_later_draws_are_nobodys_next_seed() -> None:
    seeds = {derived_seed(seed, index) for seed in range(100) for index in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(7, 0) == 7


def test_what_waits_to_be_sampled_holds_no_more_memory_than_it_may(network: BinaryModel) -> None:
    begun, together = [0], []

    def heavy(seed: int, held: int) -> SamplingCoroutine[Tensor]:
        begun[0] += 1
        codes = yield [request(seed)]
        together.append(begun[0] - len(together))
        return codes[0]

    coroutines = ((seed, holding(heavy(seed, 10), 10)) for seed in range(6))
    assert len(list(paint_together(network, coroutines, batch_size=6, most_held=25))) == 6
    assert max(together) == 3  # the third one begins while two hold 20 bytes
    begun[0], together = 0, []
    coroutines = ((seed, holding(heavy(seed, 10), 10)) for seed in range(3))
    assert len(list(paint_together(network, coroutines, batch_size=3, most_held=5))) == 3
    assert max(together) == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory: you tried to allocate")])
def test_an_image_without_memory_fails_alone(network: BinaryModel, error: Exception) -> None:
    def hungry() -> SamplingCoroutine[Tensor]:
        yield [request(0)]
        raise error

    results = dict(paint_together(network, [("a", twice(1)), ("b", hungry()), ("c", twice(2))], batch_size=2))
    assert isinstance(results["b"], RunError) and "memory" in str(results["b"])
    assert isinstance(results["a"], Tensor) and isinstance(results["c"], Tensor)
    with pytest.raises(RuntimeError, match="something else"):
        list(paint_together(network, [("a", failing(RuntimeError("something else")))], batch_size=2))  # type: ignore[arg-type]
