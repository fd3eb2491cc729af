from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bigr_cli
from bigr_cli.errors import RunError, UsageError
from bigr_cli.runtime.batches import Batches, out_of_memory

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


def with_room_for(most: int, error: Callable[[], Exception]) -> Callable[[Sequence[int]], list[int]]:
    """Doubles numbers, as many as there is room for."""

    def work(items: Sequence[int]) -> list[int]:
        if len(items) > most:
            raise error()
        return [2 * item for item in items]

    return work


@given(st.lists(st.integers(), max_size=70), st.integers(1, 80), st.integers(1, 80))
def test_everything_is_done_once_and_in_order(items: list[int], size: int, most: int) -> None:
    batches = Batches(size)
    done = list(batches.run(items, with_room_for(most, MemoryError)))
    assert [item for part, _ in done for item in part] == items
    assert [made for _, some in done for made in some] == [2 * item for item in items]
    assert all(len(part) <= min(size, most) for part, _ in done)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)"),
        RuntimeError(f"{CPU} 4000 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_what_counts_as_too_little_memory(error: Exception) -> None:
    assert out_of_memory(error)


def test_what_torch_really_raises_counts() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert out_of_memory(caught.value)
    with pytest.raises(MemoryError) as from_numpy:
        np.empty(10**15)
    assert out_of_memory(from_numpy.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError(CPU), KeyboardInterrupt()])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    assert not out_of_memory(error)

    def work(items: Sequence[int]) -> None:
        raise error

    with pytest.raises(type(error)):
        list(Batches(4).run([1, 2, 3], work))


def test_it_is_said_once_and_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    batches, work = Batches(16), with_room_for(3, MemoryError)
    assert [len(part) for part, _ in batches.run(range(20), work)] == [2] * 10
    assert [len(part) for part, _ in batches.run(range(5), work)] == [2, 2, 1]
    message = "warning: there is too little memory for 16 images at once; going on with 2\n"
    assert (batches.size, capsys.readouterr().err) == (2, message)


def test_not_even_one() -> None:
    with pytest.raises(RunError, match="too little memory even for one image"):
        list(Batches(8).run(range(8), with_room_for(0, MemoryError)))


def test_no_batch_is_empty() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        Batches(0)


def test_tensors_are_split_too() -> None:
    parts = list(Batches(4).run(torch.arange(5), lambda part: part.sum()))
    assert [int(made) for _, made in parts] == [6, 4]


def test_embedding_goes_on_in_smaller_batches(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bigr_cli.load(tiny_model, device="cpu", dtype="float32")
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before, encode = model.embed(images, batch_size=2), model.tokenizer.encode

    def crowded(images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            torch.empty(10**15)
        return encode(images)

    monkeypatch.setattr(model.tokenizer, "encode", crowded)
    assert np.allclose(model.embed(images, batch_size=5), before, atol=1e-6)
