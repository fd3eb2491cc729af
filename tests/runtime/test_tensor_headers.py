"""Headers of weights files, and hashes."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bigr_cli.errors import ModelFormatError
from bigr_cli.runtime.tensor_headers import TensorInfo, hash_problems, read_header, sha256_of
from bigr_cli.zoo.config import read_config


def test_the_header_tells_types_and_shapes(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.ones(())}, file, {"k": "v"})
    header = read_header(file)
    assert header == {"a": TensorInfo("F32", (2, 3)), "b": TensorInfo("BF16", (4,)), "c": TensorInfo("F32", ())}
    assert {name: info.count for name, info in header.items()} == {"a": 6, "b": 4, "c": 1}


def test_a_file_cut_or_lengthened_anywhere_is_refused(folder: Path) -> None:
    file = folder / "generator.safetensors"
    whole = file.read_bytes()
    for length in [*range(0, 40), *range(40, len(whole), 997), len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(ModelFormatError, match=r"generator\.safetensors"):
            read_header(file)
    file.write_bytes(whole + b"x")
    with pytest.raises(ModelFormatError, match="is truncated or damaged"):
        read_header(file)
    file.write_bytes(whole)
    assert set(read_header(file)) == set(load_file(file))


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [1]}}', b"\xff\xff"])
def test_a_header_that_is_none(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFormatError, match="is not a safetensors file"):
        read_header(file)


def test_hashes(folder: Path) -> None:
    config = read_config(folder)
    file = folder / "tokenizer.safetensors"
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest() == config.sha256[file.name]
    assert hash_problems(folder, config.sha256, config.weight_files) == []
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (problem,) = hash_problems(folder, config.sha256, config.weight_files)
    assert "tokenizer.safetensors: has SHA-256" in problem
    file.unlink()
    (problem,) = hash_problems(folder, config.sha256, config.weight_files)
    assert "tokenizer.safetensors: is missing" in problem
