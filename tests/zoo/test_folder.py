"""Model folders: what is saved is loaded; what is not as it should be is named."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.folder import check_model, load_model, load_tokenizer, save_model, write_model_files

Edit = Callable[[dict[str, torch.Tensor]], None]


def edit(file: Path, change: Edit) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def test_what_is_saved_is_loaded(folder: Path, model: BinaryModel, config: ModelConfig) -> None:
    loaded, found = load_model(folder, verify=True)
    assert replace(found, sha256={}) == config
    assert set(found.sha256) == set(config.weight_files)
    expected = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    got = {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.yaml", "generator.safetensors", "tokenizer.safetensors")
    ]


def test_files_can_be_read_by_whoever_may_read_the_folder(folder: Path) -> None:
    (folder / "plain").touch()
    expected = stat.S_IMODE((folder / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {expected}


def test_a_loaded_model_draws_as_the_saved_one(folder: Path, model: BinaryModel) -> None:
    loaded, _ = load_model(folder)
    labels, seeds = torch.tensor([0, 2]), [5, 6]
    drawn = [m.sample_codes(labels, seeds, steps=3, timesteps=5) for m in (model, loaded)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, None])
@pytest.mark.parametrize("asked", [torch.bfloat16, torch.float32, None])
def test_number_formats(
    tmp_path: Path, config: ModelConfig, model: BinaryModel, stored: torch.dtype | None, asked: torch.dtype | None
) -> None:
    save_model(tmp_path / "m", config, model.tokenizer, model.generator, dtype=stored)
    loaded, _ = load_model(tmp_path / "m", dtype=asked)
    kept = {parameter.dtype for parameter in loaded.tokenizer.encoder.parameters()}
    assert kept == {stored or torch.float32}  # until it is used
    images = torch.rand(2, 3, *[config.image_size] * 2).to(asked or torch.float32)
    with torch.inference_mode():
        codes = loaded.tokenizer.encode(images)
    assert {parameter.dtype for parameter in loaded.parameters()} == {asked or torch.float32}
    assert {buffer.dtype for buffer in loaded.buffers()} == {torch.float32}
    expected = model.generator.positions.to(stored or torch.float32).to(asked or torch.float32)
    assert torch.equal(loaded.generator.positions, expected)
    if stored is None and asked is None:
        assert torch.equal(codes, model.tokenizer.encode(images))


def test_what_is_converted_late_is_no_inference_tensor(tmp_path: Path, config: ModelConfig, model: BinaryModel) -> None:
    save_model(tmp_path / "m", config, model.tokenizer, model.generator, dtype=torch.bfloat16)
    loaded, _ = load_model(tmp_path / "m")
    images = torch.rand(2, 3, *[config.image_size] * 2)
    with torch.inference_mode():
        before = loaded.tokenizer.bit_logits(images)
    given = images.requires_grad_()
    after = loaded.tokenizer.bit_logits(given)
    assert torch.equal(before, after)
    after.sum().backward()
    assert given.grad is not None and given.grad.any()


def test_everything_ends_on_the_device(folder: Path) -> None:
    loaded, _ = load_model(folder, device="meta")
    devices = {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())}
    assert devices == {"meta"}


def test_a_folder_of_a_tokenizer_alone(tmp_path: Path, config: ModelConfig, model: BinaryModel) -> None:
    save_model(tmp_path / "t", replace(config, generator=None), model.tokenizer.state_dict(), None)
    tokenizer, found = load_tokenizer(tmp_path / "t", verify=True)
    assert found.generator is None
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(tokenizer.bit_logits(images), model.tokenizer.bit_logits(images))
    with pytest.raises(ModelError, match="holds a tokenizer but no generator"):
        load_model(tmp_path / "t")


def test_the_tokenizer_of_a_whole_model_needs_only_its_own_file(folder: Path) -> None:
    (folder / "generator.safetensors").unlink()
    load_tokenizer(folder, verify=True)
    with pytest.raises(ModelError, match=r"the weights of small are not here \(generator\.safetensors\)"):
        load_model(folder)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("generator", lambda t: t.pop("mask_token"), "missing tensors: mask_token"),
        ("generator", lambda t: t.update(more=torch.ones(1)), "unknown tensors: more"),
        ("tokenizer", lambda t: t.update(embed=torch.ones(1)), "wrong shapes: embed (expected [6, 16], got [1])"),
        ("tokenizer", lambda t: t.update(embed=t["embed"].double()), "expected F32, BF16, F16, got embed (F64)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, file: str, change: Edit, message: str) -> None:
    edit(folder / f"{file}.safetensors", change)
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder)
    assert f"{file}.safetensors: {message}" in str(caught.value)
    assert any(message in line for line in check_model(folder))


def test_all_problems_are_listed_at_once(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["mask_token"]
        tensors["norm.weight"] = torch.ones(3)

    edit(folder / "generator.safetensors", change)
    edit(folder / "tokenizer.safetensors", lambda tensors: tensors.update(x=torch.ones(1)))
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder)
    for part in ("mask_token", "norm.weight (expected [16], got [3])", "unknown tensors: x"):
        assert part in str(caught.value)


def test_a_flipped_bit_is_found_if_asked_for(folder: Path) -> None:
    file = folder / "generator.safetensors"
    content = bytearray(file.read_bytes())
    content[-7] ^= 4
    file.write_bytes(content)
    load_model(folder)
    load_tokenizer(folder, verify=True)
    with pytest.raises(ModelFormatError, match=r"generator\.safetensors: has SHA-256"):
        load_model(folder, verify=True)
    assert len(check_model(folder)) == 1


def test_an_existing_folder_is_kept(folder: Path, config: ModelConfig, model: BinaryModel) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="exists already"):
        save_model(folder, config, model.tokenizer, model.generator)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    save_model(folder, replace(config, name="new"), model.tokenizer, model.generator, overwrite=True)
    assert read_config(folder).name == "new"


def test_other_files_are_never_removed(folder: Path, config: ModelConfig, model: BinaryModel) -> None:
    (folder / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex\)"):
        save_model(folder, config, model.tokenizer, model.generator, overwrite=True)
    file = folder.parent / "file"
    file.touch()
    with pytest.raises(UsageError, match="is a file"):
        save_model(file, config, model.tokenizer, model.generator, overwrite=True)


def test_a_run_folder_becomes_a_model_folder(tmp_path: Path, config: ModelConfig, model: BinaryModel) -> None:
    (tmp_path / "metrics.jsonl").touch()
    for _ in range(2):
        written = write_model_files(tmp_path, config, model.tokenizer, model.generator, card="# Mine\n")
    assert read_config(tmp_path) == written
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert check_model(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 5


def test_weights_that_do_not_fit_the_config_are_not_saved(
    tmp_path: Path, config: ModelConfig, model: BinaryModel
) -> None:
    state = {f"module.{name}": tensor for name, tensor in model.generator.state_dict().items()}
    with pytest.raises(ModelFormatError, match="unknown tensors: module"):
        save_model(tmp_path / "m", config, model.tokenizer, state)
    with pytest.raises(ModelFormatError, match="the config asks for"):
        save_model(tmp_path / "m", config, model.tokenizer, None)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_folder_that_could_not_be_written(
    tmp_path: Path, config: ModelConfig, model: BinaryModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="cannot be written: No space left on device"):
        save_model(tmp_path / "a" / "m", config, model.tokenizer, model.generator)
    assert list(tmp_path.iterdir()) == []


def test_loading_does_not_import_torchs_compiler(tiny_model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bigr_cli.zoo.folder import load_model; "
        f"load_model(Path({str(tiny_model)!r})); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
