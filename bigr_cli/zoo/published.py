"""Published checkpoints, a tokenizer and a generator, made into a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bigr_cli import __version__
from bigr_cli.core.config import AutoencoderConfig, GeneratorConfig, SamplingConfig
from bigr_cli.core.schedule import BernoulliSchedule
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.core.transformer import Generator
from bigr_cli.errors import CheckpointError, ConfigError
from bigr_cli.zoo import published_names as names
from bigr_cli.zoo.checkpoint import read_checkpoint
from bigr_cli.zoo.config import ModelConfig, Provenance, check_name, safe_name
from bigr_cli.zoo.folder import check_destination, save_model, shape_problems, shapes_of
from bigr_cli.zoo.published_sizes import autoencoder_sizes, generator_sizes

_Read = TypeVar("_Read")
_Config = TypeVar("_Config", AutoencoderConfig, GeneratorConfig)
_PREFIX = "ae."
_UNUSED = "generator.logsigma."
_SECOND_COPIES = "diffusion_processor."
_TABLES = {"k_final": "k", "b_final": "b", "beta": "beta"}
# Layers of a published generator → iterations and Gumbel scale that go with it (reference section 5).
_SAMPLING = {24: (20, 0.17), 36: (25, 0.25), 48: (25, 0.30)}


@dataclass(frozen=True)
class _Part(Generic[_Config]):
    """The architecture and the tensors, by our names, of a published file."""

    config: _Config
    state: dict[str, Tensor]


def import_published(
    tokenizer: Path,
    generator: Path,
    *,
    heads: int,
    image_size: int,
    output: Path,
    name: str | None = None,
    labels: tuple[str, ...] = (),
    licence: str = "",
    overwrite: bool = False,
) -> ModelConfig:
    """Make a model folder of the published files of a tokenizer and a generator, of whatever sizes.

    Args:
        tokenizer: a file whose tensors are named `ae.…`.
        generator: a file with a state dict, or with one as "ema" or "model".
        heads: attention heads of the generator, which its tensors do not tell.
        image_size: width and height in pixels, likewise.
        output: the folder to make.
        name: of the model; None takes the folder's.
        labels: names of the classes in their order, or none.

    Raises:
        CheckpointError: a file cannot be used, or the two do not fit; lists everything that is wrong, by file.
        ConfigError: the name or the labels do not fit.
        UsageError: there is something at `output` that must not be replaced.
    """
    check_destination(output, overwrite=overwrite)
    name = safe_name(output.absolute().name) if name is None else check_name(name)
    first, second = _read_both(tokenizer, generator, heads=heads, image_size=image_size)
    config = ModelConfig(
        name=name,
        image_size=image_size,
        tokenizer=first.config,
        generator=second.config,
        labels=labels,
        sampling=_sampling(second.config),
        provenance=Provenance(version=f"bigr-cli {__version__}", sources=(tokenizer.name, generator.name)),
        licence=licence,
    )
    return save_model(output, config, first.state, second.state, overwrite=overwrite)


def convert_published(
    tokenizer: Path,
    generator: Path,
    card: ModelConfig,
    *,
    output: Path,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> ModelConfig:
    """Make a model folder of the published files that a card, a config without weights, describes.

    Args:
        tokenizer: the file that the card's source names; `generator` likewise.
        card: everything but the weights.
        output: the folder to make.
        dtype: what to store the weights as; None stores them as they are.

    Raises:
        CheckpointError: a file cannot be used, or is not what the card says; lists everything that is wrong, by file.
        UsageError: there is something at `output` that must not be replaced.
    """
    if card.generator is None:
        raise CheckpointError(f"{card.name}: its card has no generator")
    first, second = _read_both(tokenizer, generator, heads=card.generator.heads, image_size=card.image_size)
    problems = _differences(tokenizer, card.tokenizer, first.config)
    problems += _differences(generator, replace(card.generator, dropout=second.config.dropout), second.config)
    if problems:
        raise CheckpointError("; ".join(problems))
    return save_model(output, card, first.state, second.state, dtype=dtype, overwrite=overwrite)


def _read_both(
    tokenizer: Path, generator: Path, *, heads: int, image_size: int
) -> tuple[_Part[AutoencoderConfig], _Part[GeneratorConfig]]:
    problems: list[str] = []
    first = _attempt(tokenizer, problems, lambda: _read_tokenizer(tokenizer, image_size, problems))
    second = _attempt(generator, problems, lambda: _read_generator(generator, heads, problems))
    if first and second:
        problems += _disagreements(tokenizer, first.config, generator, second.config)
    if problems or first is None or second is None:
        raise CheckpointError("; ".join(problems))
    return first, second


def _differences(path: Path, card: object, found: object) -> list[str]:
    """How the architecture that a card describes differs from that of a file."""
    says = vars(card)
    return [
        f"{path}: {key} is {value}, and the card says {says.get(key)}"
        for key, value in vars(found).items()
        if says.get(key) != value
    ]


def _attempt(path: Path, problems: list[str], read: Callable[[], _Read]) -> _Read | None:
    """What `read` returns, or None and one problem more."""
    try:
        return read()
    except (CheckpointError, ConfigError) as error:
        problems.append(str(error) if str(error).startswith(str(path)) else f"{path}: {error}")
        return None


def _read_tokenizer(path: Path, image_size: int, problems: list[str]) -> _Part[AutoencoderConfig]:
    """A tokenizer's config and tensors by our names; what is wrong with the tensors is added to the problems."""
    content = read_checkpoint(path)
    state = {key.removeprefix(_PREFIX): tensor for key, tensor in content.items() if key.startswith(_PREFIX)}
    state = {key: tensor for key, tensor in state.items() if not key.startswith(_UNUSED)}
    if not state:
        swapped = "; it is a generator (are the two files swapped?)" if "tok_embeddings.weight" in content else ""
        raise CheckpointError(f"is no tokenizer: it has no tensors named {_PREFIX}*{swapped}")
    config = autoencoder_sizes({key: tuple(tensor.shape) for key, tensor in state.items()}, image_size=image_size)
    with torch.device("meta"):
        expected = shapes_of(Tokenizer(config))
    published = {names.published_tokenizer_name(ours): shape for ours, shape in expected.items()}
    # Files have a conv_out for every residual block, and it acts only where the channel count changes.
    state = {key: tensor for key, tensor in state.items() if key in published or ".conv_out." not in key}
    problems += _tensor_problems(path, published, state, _PREFIX)
    return _Part(config, _renamed(state, names.tokenizer_name))


def _read_generator(path: Path, heads: int, problems: list[str]) -> _Part[GeneratorConfig]:
    """A generator's config and tensors by our names; what is wrong with the tensors is added to the problems."""
    content = read_checkpoint(path)
    if any(key.startswith(_PREFIX) for key in content):
        raise CheckpointError("is no generator but a tokenizer (are the two files swapped?)")
    config = generator_sizes({key: tuple(tensor.shape) for key, tensor in content.items()}, heads=heads)
    with torch.device("meta"):
        expected = shapes_of(Generator(config))
    published = {names.published_generator_name(ours): shape for ours, shape in expected.items()}
    state = {key: tensor for key, tensor in content.items() if not key.startswith(_SECOND_COPIES)}
    problems += _tensor_problems(path, published, state)
    problems += _schedule_problems(path, content, config.diffusion_timesteps)
    return _Part(config, _renamed(state, names.generator_name))


def _renamed(state: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> dict[str, Tensor]:
    return {rename(key) or key: tensor for key, tensor in state.items()}


def _tensor_problems(
    path: Path, expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], prefix: str = ""
) -> list[str]:
    wanted = {prefix + key: shape for key, shape in expected.items()}
    problems = shape_problems(path, wanted, {prefix + key: tuple(tensor.shape) for key, tensor in state.items()})
    infinite = [prefix + key for key, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    return problems + [f"{path}: {key} has values that are not finite" for key in infinite[:8]]


def _schedule_problems(path: Path, content: Mapping[str, Tensor], timesteps: int) -> list[str]:
    """Whether tables of noise that the file has are those of the one schedule that there is."""
    schedule = BernoulliSchedule(timesteps)
    for published, ours in _TABLES.items():
        key = f"{_SECOND_COPIES}scheduler.{published}"
        table = getattr(schedule, ours)
        if key in content and not (
            content[key].shape == table.shape and torch.allclose(content[key].float(), table, atol=1e-4)
        ):
            return [f"{path}: {key} is not the table of the linear noise schedule of {timesteps} timesteps"]
    return []


def _disagreements(tokenizer: Path, one: AutoencoderConfig, generator: Path, other: GeneratorConfig) -> list[str]:
    problems = []
    if one.bits != other.bits:
        problems.append(f"{tokenizer} has {one.bits} bits a token, {generator} {other.bits}: they do not fit")
    if one.grid != other.grid:
        size = one.image_size // one.grid * other.grid
        problems.append(
            f"{tokenizer} makes {one.grid}×{one.grid} tokens of {one.image_size} pixels, {generator} has "
            f"{other.grid}×{other.grid}: they do not fit, or --image-size should be {size}"
        )
    return problems


def _sampling(config: GeneratorConfig) -> SamplingConfig:
    default = SamplingConfig()
    steps, gumbel = _SAMPLING.get(config.layers, (default.steps, default.gumbel))
    timesteps = min(default.timesteps, config.diffusion_timesteps)
    return SamplingConfig(steps=min(steps, config.tokens), gumbel=gumbel, timesteps=timesteps)
