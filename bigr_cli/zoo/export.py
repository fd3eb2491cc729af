"""Model folders as files for other programs: as the published code loads them, or all in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from bigr_cli import schema
from bigr_cli.core.architectures import AutoencoderConfig, GeneratorConfig, TokenizerConfig
from bigr_cli.core.schedule import BernoulliSchedule
from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.files import atomic_write, check_writable, writing
from bigr_cli.folders import whole_directory
from bigr_cli.runtime.tensor_file import write_tensors
from bigr_cli.zoo.config import GENERATOR_FILE, TOKENIZER_FILE, ModelConfig, read_config
from bigr_cli.zoo.folder import check_model
from bigr_cli.zoo.published import sizes

Format = Literal["published", "safetensors", "torch-checkpoint"]
FORMATS: tuple[Format, ...] = get_args(Format)
PUBLISHED = PUBLISHED_TOKENIZER, PUBLISHED_GENERATOR = "tokenizer.th", "generator.pt"

_SUFFIXES = {"safetensors": (".safetensors",), "torch-checkpoint": (".pt", ".pth", ".ckpt")}


def export_model(folder: Path, output: Path, kind: Format, *, overwrite: bool = False) -> list[Path]:
    """Write a model's weights, in the number format that they are stored in, to files that appear whole or not at all.

    "published": a folder with `tokenizer.th` and `generator.pt`, whose tensors are named and shaped as the published
    code loads them; what its networks hold and never use is there too, as zeros. "safetensors": one file, tensors
    named `tokenizer.…` and `generator.…`, the config as JSON in the metadata. "torch-checkpoint": one file of
    `torch.save` with "config", "tokenizer" and "generator".

    Args:
        folder: a model folder with a tokenizer and a generator.
        output: the folder or the file to make.
        kind: one of `FORMATS`.
        overwrite: replace what is at `output`: a file, or a folder that holds such files and nothing else.

    Returns:
        the files written.

    Raises:
        UsageError: there is something at `output`, its suffix does not fit, or the model's architecture is not that of
            the published code.
        ModelFormatError: the model's files are damaged.
        RunError: the files cannot be written.
    """
    config = read_config(folder)
    if config.generator is None:
        raise UsageError(f"{config.name}: has no generator; there is nothing to export but its folder")
    _check_output(output, kind, overwrite=overwrite)
    if kind == "published" and (stranger := _unpublished(config.tokenizer, config.generator)):
        raise UsageError(
            f"{config.name}: {stranger}, which the published code does not know",
            hint="--format safetensors writes any model",
        )
    if problems := check_model(folder):
        raise ModelFormatError("; ".join(problems))
    tokenizer, generator = load_file(folder / TOKENIZER_FILE), load_file(folder / GENERATOR_FILE)
    with writing(output):
        if kind != "published":
            _write_one(output, kind, config, tokenizer, generator)
            return [output]
        with whole_directory(output, PUBLISHED) as temporary:
            _save(dict(published_tokenizer(tokenizer)), temporary / PUBLISHED_TOKENIZER)
            timesteps = config.generator.diffusion_timesteps
            _save({"ema": dict(published_generator(generator, timesteps))}, temporary / PUBLISHED_GENERATOR)
        return [output / name for name in PUBLISHED]


class _Stream:
    """A file that is written to, and remembers why it cannot be: torch.save hides that behind an error of its own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._stream.flush()


def _save(content: object, path: Path) -> None:
    """As torch.save; raises the OSError for which it could not write."""
    with path.open("wb") as raw:
        stream = _Stream(raw)
        try:
            torch.save(content, stream)  # type: ignore[arg-type]
        except (OSError, RuntimeError) as error:
            raise (stream.error or error) from error


def _unpublished(tokenizer: TokenizerConfig, generator: GeneratorConfig) -> str:
    """What of a model the published code has nothing of; empty if it has all."""
    if not isinstance(tokenizer, AutoencoderConfig):
        return f"its tokenizer is {tokenizer.architecture}"
    if generator.head != "flip":
        return f"its head is {generator.head}"
    return "its attention is causal" if generator.attention == "causal" else ""


def _check_output(output: Path, kind: Format, *, overwrite: bool) -> None:
    check_writable(Path(os.path.realpath(output)).parent)
    if kind == "published":
        others = {path.name for path in output.iterdir()} if output.is_dir() else set()
        if output.exists() and not output.is_dir():
            raise UsageError(f"{output}: is a file; the published form is a folder of two")
        if strange := sorted(name for name in others if name not in PUBLISHED or (output / name).is_dir()):
            raise UsageError(f"{output}: holds other files ({', '.join(strange[:3])}); choose another folder")
        there = bool(others)
    else:
        if output.suffix.lower() not in _SUFFIXES[kind]:
            raise UsageError(f"{output}: expected a name that ends with {' or '.join(_SUFFIXES[kind])}")
        if output.is_dir():
            raise UsageError(f"{output}: is a folder, not a file")
        there = output.exists()
    if there and not overwrite:
        raise UsageError(f"{output}: exists already", hint="--overwrite replaces it")


def _write_one(
    output: Path, kind: Format, config: ModelConfig, tokenizer: Mapping[str, Tensor], generator: Mapping[str, Tensor]
) -> None:
    plain = schema.to_mapping(config)
    output.parent.mkdir(parents=True, exist_ok=True)
    if kind == "torch-checkpoint":
        with atomic_write(output) as temporary:
            _save({"config": plain, "tokenizer": dict(tokenizer), "generator": dict(generator)}, temporary)
        return
    parts = {"tokenizer": tokenizer, "generator": generator}
    tensors = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    write_tensors(output, tensors, config=json.dumps(plain))


def published_tokenizer(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of the published autoencoder (reference section 1)."""
    for name, tensor in state.items():
        yield f"ae.{sizes.published_tokenizer_name(name)}", tensor
        block = name.removesuffix("conv1.weight")
        if block != name and f"{block}conv_out.weight" not in state:  # every block has one, of use or not
            shortcut = f"ae.{sizes.published_tokenizer_name(block + 'conv_out.')}"
            yield f"{shortcut}weight", tensor.new_zeros(*tensor.shape[:2], 1, 1)
            yield f"{shortcut}bias", tensor.new_zeros(len(tensor))
    last = _last_block(state)
    colours, width = state[last].shape[:2]
    for key, shape in {"0": (width, width, 3, 3), "2": (colours, width, 1, 1)}.items():
        yield f"ae.generator.logsigma.{key}.weight", state[last].new_zeros(shape)
        yield f"ae.generator.logsigma.{key}.bias", state[last].new_zeros(shape[0])


def _last_block(state: Mapping[str, Tensor]) -> str:
    """The name of the decoder's last convolution."""
    numbers = [int(name.split(".")[2]) for name in state if name.startswith("decoder.blocks.")]
    return f"decoder.blocks.{max(numbers)}.weight"


def published_generator(state: Mapping[str, Tensor], timesteps: int) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of the published generator; its transcoder is there twice, and so in the published files."""
    for name, tensor in state.items():
        published = sizes.published_generator_name(name)
        yield published, tensor
        if published.startswith("denoise_mlp."):
            yield published.replace("denoise_mlp.", "diffusion_processor._denoise_fn.", 1), tensor
    schedule = BernoulliSchedule(timesteps)
    tables = {"k_final": schedule.k, "b_final": schedule.b, "beta": schedule.beta, "cumbeta": schedule.k}
    for name, table in tables.items():
        yield f"diffusion_processor.scheduler.{name}", table.clone()
