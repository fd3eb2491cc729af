"""Tensors one at a time, in and out of files."""

import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bigr_cli.errors import ModelFormatError
from bigr_cli.runtime.tensor_file import Renamed, StoredTensors, write_tensors
from bigr_cli.runtime.tensor_headers import sha256_of


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "z": torch.randn(3, 5),
        "a": torch.randn(7).bfloat16(),
        "m": torch.randn(4, 6).T,
        "one": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "ä": torch.randn(2).half(),
    }


def test_the_file_is_what_the_library_writes(tmp_path: Path) -> None:
    given = tensors()
    digest = write_tensors(tmp_path / "ours", given)
    save_file({name: tensor.contiguous() for name, tensor in given.items()}, tmp_path / "theirs", {"format": "pt"})
    assert digest == sha256_of(tmp_path / "ours")
    found = load_file(tmp_path / "ours")
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) and found[name].dtype == given[name].dtype for name in given)
    del given["ä"]  # which JSON may write in two ways
    write_tensors(tmp_path / "ours", given)
    save_file({name: tensor.contiguous() for name, tensor in given.items()}, tmp_path / "theirs", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


class Fresh(Mapping[str, Tensor]):
    """Makes each tensor when it is asked for, and notes how many of them are still there."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Tensor]] = []
        self.alive: list[int] = []

    def __getitem__(self, name: str) -> Tensor:
        self.alive.append(sum(reference() is not None for reference in self.made))
        tensor = torch.full((10,), float(name))
        self.made.append(weakref.ref(tensor))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return map(str, range(20))

    def __len__(self) -> int:
        return 20


def test_tensors_are_asked_for_one_at_a_time(tmp_path: Path) -> None:
    fresh = Fresh()
    write_tensors(tmp_path / "f", fresh, torch.bfloat16)
    assert max(fresh.alive) <= 2
    assert load_file(tmp_path / "f")["7"].tolist() == [7.0] * 10


def test_reading_converts_each(tmp_path: Path) -> None:
    given = {name: tensor for name, tensor in tensors().items() if tensor.dtype == torch.float32}
    write_tensors(tmp_path / "f", given)
    stored = StoredTensors(tmp_path / "f", torch.bfloat16)
    assert set(stored) == set(given)
    assert (len(stored), stored.kinds) == (len(given), {torch.float32})
    assert all(torch.equal(stored[name], given[name].bfloat16()) for name in given)
    assert all(torch.equal(stored.mapped()[name], given[name]) for name in given)
    with pytest.raises(KeyError):
        stored["other"]
    with pytest.raises(ModelFormatError, match="cannot be read"):
        StoredTensors(tmp_path / "none")
    (tmp_path / "f").unlink()
    with pytest.raises(ModelFormatError, match="cannot be read"):
        stored["z"]


def test_renaming() -> None:
    given = tensors()
    renamed = Renamed(given, {"new": "z", "a": "m"})
    assert list(renamed) == ["new", "a"]
    assert len(renamed) == 2
    assert torch.equal(renamed["new"], given["z"])
    assert "z" not in renamed


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_tensors(tmp_path / "f", Broken())
    assert list(tmp_path.iterdir()) == []


class Broken(Mapping[str, Tensor]):
    """Its second tensor cannot be had when it is to be written."""

    asked = 0

    def __getitem__(self, name: str) -> Tensor:
        self.asked += name == "b"
        if self.asked > 2:
            raise ZeroDivisionError
        return torch.ones(3)

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2
