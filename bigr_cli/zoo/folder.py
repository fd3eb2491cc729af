"""Model folders: save and load. A folder appears whole or not at all, and is checked before it is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bigr_cli.core.model import BinaryModel
from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.files import atomic_write, check_writable, writing
from bigr_cli.folders import whole_directory
from bigr_cli.runtime import fast_layers
from bigr_cli.runtime.fast_layers import to_int8
from bigr_cli.runtime.offload import Offload, fill_offloaded
from bigr_cli.runtime.tensor_file import (
    StoredTensors,
    file_problems,
    number_problems,
    shape_problems,
    shapes_of,
    size_problems,
    write_tensors,
)
from bigr_cli.runtime.tensor_headers import hash_problems
from bigr_cli.zoo.card import render_card
from bigr_cli.zoo.config import (
    CARD_FILE,
    CONFIG_FILE,
    GENERATOR_FILE,
    TOKENIZER_FILE,
    ModelConfig,
    dump_config,
    read_config,
)
from bigr_cli.zoo.source import readable_size
from bigr_cli.zoo.text_encoders.features import text_reader

Weights = nn.Module | Mapping[str, Tensor]
MODEL_FILES = (CONFIG_FILE, TOKENIZER_FILE, GENERATOR_FILE, CARD_FILE)


def save_model(
    directory: Path,
    config: ModelConfig,
    tokenizer: Weights,
    generator: Weights | None,
    *,
    dtype: torch.dtype | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> ModelConfig:
    """Write a model folder, whole or not at all; returns the config with the hashes filled in.

    Args:
        directory: where; it must not exist, unless `overwrite`, and then it may hold nothing but a model's files.
        tokenizer: a module or its state dict; `generator` likewise, None if the config has none.
        dtype: what to store the weights as; None stores them as they are.
        card: the text of README.md; None writes one from the config.

    Raises:
        UsageError: there is something at `directory` already.
        ModelFormatError: the weights do not fit the config.
        RunError: the files cannot be written.
    """
    check_destination(directory, overwrite=overwrite)
    with writing(directory), whole_directory(directory, MODEL_FILES) as temporary:
        return write_model_files(temporary, config, tokenizer, generator, dtype=dtype, card=card)


def check_destination(directory: Path, *, overwrite: bool) -> None:
    """Raise UsageError if there is something that a model folder must not take the place of, or none can be there."""
    check_writable(Path(os.path.realpath(directory)).parent)
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"{directory}: is a file, not a folder")
    others = sorted(path.name for path in directory.iterdir() if path.name not in MODEL_FILES or path.is_dir())
    if others:
        raise UsageError(f"{directory}: holds other files ({', '.join(others[:3])}); choose another folder")
    if any(directory.iterdir()) and not overwrite:
        raise UsageError(f"{directory}: exists already", hint="--overwrite replaces it")


def write_model_files(
    directory: Path,
    config: ModelConfig,
    tokenizer: Weights,
    generator: Weights | None,
    *,
    dtype: torch.dtype | None = None,
    card: str | None = None,
) -> ModelConfig:
    """Make an existing folder, such as a training run's, a model folder; other files in it stay.

    Each file appears whole or not at all, `config.yaml` last. Arguments, result and errors are those of `save_model`.
    """
    states = {TOKENIZER_FILE: _state(tokenizer)}
    if generator is not None:
        states[GENERATOR_FILE] = _state(generator)
    _check_states(directory, config, states)
    with writing(directory):
        hashes = {name: write_tensors(directory / name, state, dtype) for name, state in states.items()}
        config = replace(config, sha256=hashes)
        _write_text(directory / CARD_FILE, render_card(config) if card is None else card)
        _write_text(directory / CONFIG_FILE, dump_config(config))
    return config


def load_model(
    directory: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    tokenizer_dtype: torch.dtype | None = None,
    offloading: Offload | None = None,
    verify: bool = False,
) -> tuple[BinaryModel, ModelConfig]:
    """Load a model for use: in eval mode, without gradients.

    Args:
        directory: a model folder.
        device: where the model shall be.
        dtype: number format of the weights, whatever the files hold; None is float32. Tables stay in float32, and so
            does with int8 all that is not a large layer of the generator.
        tokenizer_dtype: that of the tokenizer, if it is another one.
        offloading: keep the generator's blocks elsewhere, for want of room; see `offload.fill_offloaded`.
        verify: compare the files' hashes with the config's first.

    Raises:
        ModelFormatError: anything in the folder that is not as format 1 promises; names the file and the tensors.
        ModelError: there is no generator, or the weights are not there.
    """
    config = read_config(directory)
    if config.generator is None:
        raise ModelError(f"{directory}: holds a tokenizer but no generator", hint="train one with bigr train-generator")
    with torch.device("meta"):
        model = BinaryModel(config.tokenizer, config.generator)
    parts = {TOKENIZER_FILE: model.tokenizer, GENERATOR_FILE: model.generator}
    _check_files(directory, config, parts, verify)
    floats = None if dtype is torch.int8 else dtype
    _fill(model.tokenizer, directory / TOKENIZER_FILE, device, tokenizer_dtype or floats, later="encoder")
    model.tokenizer.to(device)
    if offloading is not None:
        where = torch.device(device)
        fill_offloaded(model.generator, directory / GENERATOR_FILE, where, floats or torch.float32, offloading)
    elif dtype is torch.int8:
        to_int8(model.generator, StoredTensors(directory / GENERATOR_FILE, torch.float32))
    elif dtype is torch.bfloat16 and torch.device(device).type == "cpu" and fast_layers.prepacked_works():
        fast_layers.pack(model.generator, StoredTensors(directory / GENERATOR_FILE, dtype))
    else:
        _fill(model.generator, directory / GENERATOR_FILE, device, dtype)
        model.generator.to(device)
    model.read, model.held_out = text_reader(config.generator.text), config.held_out
    return model.eval().requires_grad_(False), config


def load_tokenizer(
    directory: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    verify: bool = False,
) -> tuple[Tokenizer, ModelConfig]:
    """Load the tokenizer of a model folder, which need not have a generator; otherwise as `load_model`."""
    config = read_config(directory)
    with torch.device("meta"):
        tokenizer = Tokenizer(config.tokenizer)
    _check_files(directory, config, {TOKENIZER_FILE: tokenizer}, verify)
    _fill(tokenizer, directory / TOKENIZER_FILE, device, dtype)
    return tokenizer.to(device).eval().requires_grad_(False), config


def check_model(directory: Path) -> list[str]:
    """Everything that is wrong with a model folder, a line each: hashes, tensors, shapes, numbers that are not finite.

    Raises:
        ModelFormatError: the config cannot be read, so that nothing can be compared with it.
    """
    config = read_config(directory)
    problems = hash_problems(directory, config.sha256, config.weight_files)
    there = [name for name in config.weight_files if (directory / name).is_file()]
    parts = {name: part for name, part in _modules(config).items() if name in there} if there else {}
    for name, part in parts.items():
        problems += _part_problems(directory, {name: part}) or number_problems(directory / name)
    return problems


def _modules(config: ModelConfig) -> dict[str, nn.Module]:
    """The model's parts by the file of their weights, without memory for the weights."""
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {TOKENIZER_FILE: Tokenizer(config.tokenizer)}
        if config.generator is not None:
            parts[GENERATOR_FILE] = Generator(config.generator)
    return parts


def _state(weights: Weights) -> Mapping[str, Tensor]:
    return weights.state_dict() if isinstance(weights, nn.Module) else weights


def _check_states(directory: Path, config: ModelConfig, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    if set(states) != set(config.weight_files):
        expected, got = ", ".join(config.weight_files), ", ".join(states)
        raise ModelFormatError(f"{directory}: the config asks for {expected}, and there is {got}")
    problems = []
    for name, part in _modules(config).items():
        found = {key: tuple(tensor.shape) for key, tensor in states[name].items()}
        problems += shape_problems(directory / name, shapes_of(part), found)
    if problems:
        raise ModelFormatError("; ".join(problems))


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _part_problems(directory: Path, parts: Mapping[str, nn.Module]) -> list[str]:
    """How weights files differ from the modules, a line each; of sizes that are far off, nothing but that."""
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    large = [line for name, count in counts.items() for line in size_problems(directory / name, count)]
    return large or [line for name, part in parts.items() for line in file_problems(directory / name, part)]


def _check_files(directory: Path, config: ModelConfig, parts: Mapping[str, nn.Module], verify: bool) -> None:
    missing = [name for name in parts if not (directory / name).is_file()]
    if missing:
        size = readable_size(config.source.size) if config.source else ""
        hint = f"bigr models pull {directory.resolve().name} brings them ({size})" if config.source else None
        raise ModelError(f"{directory}: the weights of {config.name} are not here ({', '.join(missing)})", hint=hint)
    problems = _part_problems(directory, parts)
    if verify and not problems:
        problems = hash_problems(directory, config.sha256, parts)
    problems = problems or [line for name in parts for line in number_problems(directory / name)]
    if problems:
        raise ModelFormatError("; ".join(problems))


def _fill(
    part: nn.Module, path: Path, device: str | torch.device, dtype: torch.dtype | None, *, later: str | None = None
) -> None:
    """Give a module that was laid out on the meta device its weights, as they are in the file or one by one.

    On a CPU the submodule `later` is left as it is in the file, where it takes no memory, until it is first used.
    """
    wanted = dtype or torch.float32
    stored = StoredTensors(path, wanted)
    if torch.device(device).type != "cpu":
        state = {name: tensor.to(device) for name, tensor in stored.items()}
    elif stored.kinds == {wanted}:
        state = stored.mapped()
    else:
        left = {name for name in stored if later is not None and name.startswith(f"{later}.")}
        mapped = stored.mapped() if left else {}
        state = {name: mapped[name] if name in left else stored[name] for name in stored}
        if left:
            _convert_when_used(part.get_submodule(str(later)), wanted)
    part.load_state_dict(state, assign=True)


def _convert_when_used(module: nn.Module, dtype: torch.dtype) -> None:
    def convert(module: nn.Module, _: object) -> None:
        hook.remove()
        with torch.inference_mode(False):  # its weights would be fit for nothing else
            module.to(dtype)

    hook = module.register_forward_pre_hook(convert)
