from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bigr_cli
from bigr_cli.core.config import AutoencoderConfig, GeneratorConfig
from bigr_cli.runtime import memory
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
    needs = [memory.drawing_bytes(SMALL, itemsize) for itemsize in (2, 4)]
    large = GeneratorConfig(grid=16, bits=24, classes=1000)
    assert needs[0] < needs[1] < memory.drawing_bytes(large, 2) < memory.drawing_bytes(large, 4)
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
    each = memory.drawing_bytes(model.generator.config, 4)
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
        needs[name] = memory.drawing_bytes(config, 4)
    assert 2**24 < needs["bigr-l-d24"] < needs["bigr-xxl-d24"] < 2**30
    assert needs["bigr-l-d24"] < needs["bigr-l-d32-512"] < 2**30
