import errno
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.errors import CheckpointError, RunError
from bigr_cli.training.checkpoint import (
    last_state,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    step_of,
    writing,
)

STATE = {"objective": {"weight": torch.arange(6.0).view(2, 3)}, "optimizers": {"model": [{"state": {0: {"step": 1}}}]}}

dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
tensors = st.builds(
    lambda shape, dtype, seed: torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    dtypes,
    st.integers(0, 99),
)
scalars = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5)
states = st.recursive(
    tensors | scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(-5, 99), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(st.dictionaries(st.text(min_size=1, max_size=4), states, max_size=4))
def test_states_come_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    path = save_checkpoint(tmp_path_factory.mktemp("run"), 3, state, keep=1)
    assert same(state, load_checkpoint(path))


def test_numbers_keep_all_their_bits(tmp_path: Path) -> None:
    numbers = [math.pi, 1e-300, 5e-324, 0.1 + 0.2, math.inf]
    assert load_checkpoint(save_checkpoint(tmp_path, 0, {"lr": numbers}, keep=1)) == {"lr": numbers}


def test_shared_and_transposed_tensors_are_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    loaded = load_checkpoint(save_checkpoint(tmp_path, 0, {"a": weight, "b": weight, "c": weight.T}, keep=1))
    assert torch.equal(loaded["a"], weight) and torch.equal(loaded["b"], weight) and torch.equal(loaded["c"], weight.T)


def test_what_is_loaded_outlives_the_file(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 0, STATE, keep=1)
    loaded = load_checkpoint(path)
    with path.open("r+b") as stream:
        stream.write(b"\0" * path.stat().st_size)
    assert same(STATE, loaded)
    loaded["objective"]["weight"].add_(1)  # and can be worked on


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    files = [save_checkpoint(tmp_path / name, 7, STATE, keep=1).read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 200_000_000, 20):
        save_checkpoint(tmp_path, step, STATE, keep=3)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [15, 20, 200_000_000]
    save_checkpoint(tmp_path, 25, STATE, keep=None)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [15, 20, 25, 200_000_000]


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path) == []
    path = save_checkpoint(tmp_path, 1, STATE, keep=1)
    for name in ("step-x.safetensors", "step-00000002.safetensors.bak", ".step-00000003.safetensors.0.part"):
        (path.parent / name).touch()
    assert list_checkpoints(tmp_path) == [path]
    with pytest.raises(CheckpointError, match="not the name of a checkpoint"):
        step_of(Path("model.safetensors"))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, STATE, keep=1)
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a readable checkpoint") as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "none.safetensors")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["bigr_cli.training.checkpoint.save_file", "bigr_cli.files.flush"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    before = save_checkpoint(tmp_path, 1, STATE, keep=1)
    monkeypatch.setattr(where, full)
    with pytest.raises(RunError, match="the disk is full") as caught:
        save_checkpoint(tmp_path, 2, STATE, keep=1)
    assert caught.value.hint == f"the last good state is {before}; --resume {tmp_path} goes on from it"
    assert list(before.parent.iterdir()) == [before]
    assert same(STATE, load_checkpoint(before))


def test_what_safetensors_says_of_a_full_disk(tmp_path: Path) -> None:
    from safetensors import SafetensorError

    with pytest.raises(RunError, match="the disk is full"), writing(tmp_path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(RunError, match="Permission denied"), writing(tmp_path):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    assert last_state(tmp_path) == "no state was saved yet"


def test_a_stage_is_resumed_as_the_training_it_is_a_part_of(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "tokenizer", 3, STATE, keep=1)
    assert last_state(tmp_path / "tokenizer").endswith(f"{saved}; --resume {tmp_path / 'tokenizer'} goes on from it")
    for kind in ("generator", "tokenizer"):
        (tmp_path / "tokenizer" / "training.yaml").write_text(f"{kind}: {{}}\n")
        assert last_state(tmp_path / "tokenizer").endswith(
            f"; bigr train-{kind} --resume {tmp_path / 'tokenizer'} goes on from it"
        )
    (tmp_path / "train.yaml").touch()
    assert last_state(tmp_path / "tokenizer").endswith(f"{saved}; bigr train --resume {tmp_path} goes on from it")
