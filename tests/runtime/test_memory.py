from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bigr_cli
from bigr_cli.core.architectures import AutoencoderConfig, GeneratorConfig
from bigr_cli.errors import RunError, UsageError
from bigr_cli.runtime import memory
from bigr_cli.runtime.memory import Batches, out_of_memory
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models

SMALL = GeneratorConfig(grid=8, bits=24, classes=16, layers=8, heads=6, dim=192, transcoder_width=192)


@given(st.integers(1, 2**34), st.integers(0, 2**40))
def test_as_many_as_fit(each: int, free: int) -> None:
    count = memory.fitting(each, free)
    room = memory.SHARE * free - memory.RESERVE
    assert count >= 1 and count & (count - 1) == 0
    assert count == 1 or count * each <= room
    assert 2 * count * each > room - each


def test_larger_models_need_more() -> None:
    needs = [memory.sampling_bytes(SMALL, itemsize) for itemsize in (2, 4)]
    large = GeneratorConfig(grid=16, bits=24, classes=1000)
    assert needs[0] < needs[1] < memory.sampling_bytes(large, 2) < memory.sampling_bytes(large, 4)
    one, other = (memory.coding_bytes(AutoencoderConfig(size, 24)) for size in (256, 512))
    assert memory.refining_bytes(AutoencoderConfig(256, 24)) > 3 * one
    assert other == 4 * one


def test_there_is_free_memory() -> None:
    assert 2**26 < memory.free_memory(torch.device("cpu")) < 2**50


@pytest.mark.parametrize(
    "files", [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")]
)
def test_a_containers_limit_counts(tmp_path: Path, files: tuple[str, str]) -> None:
    for name, number in zip(files, ("5000\n", "1200\n"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(number)
    assert memory._left_in_group(tmp_path) == [3800]
    (tmp_path / files[0]).write_text("max\n")
    assert memory._left_in_group(tmp_path) == []


def test_the_batch_follows_from_what_is_free(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bigr_cli.load(tiny_model, device="cpu", dtype="float32")
    assert model.batch_size() == 64  # all that pays: 1,024 tokens
    each = memory.sampling_bytes(model.generator.config, 4)
    few = round((memory.RESERVE + 9 * each) / memory.SHARE) + memory.coding_bytes(model.tokenizer.config)
    monkeypatch.setattr(memory, "free_memory", lambda device: few)
    assert model.batch_size() == 8
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    assert (model.batch_size(), model.coding_batch_size()) == (1, 1)


def test_published_sizes_are_of_a_sensible_order() -> None:
    """An image of L-d24 takes tens of megabytes, of the 512 model some more, and none of them a gigabyte."""
    needs = {}
    for name in ("bigr-l-d24", "bigr-xxl-d24", "bigr-l-d32-512"):
        config = read_config(packaged_models() / name).generator
        assert config is not None
        needs[name] = memory.sampling_bytes(config, 4)
    assert 2**24 < needs["bigr-l-d24"] < needs["bigr-xxl-d24"] < 2**30
    assert needs["bigr-l-d24"] < needs["bigr-l-d32-512"] < 2**30


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
