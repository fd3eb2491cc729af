"""Published checkpoints, a tokenizer and a generator, made into a model folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bigr_cli import console
from bigr_cli.core.architectures import AutoencoderConfig, GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.schedule import BernoulliSchedule
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.errors import CheckpointError, ConfigError
from bigr_cli.runtime.tensor_file import Renamed, shape_problems, shapes_of
from bigr_cli.version import __version__
from bigr_cli.zoo.checkpoint import Checkpoint
from bigr_cli.zoo.config import ModelConfig, Provenance, check_name, safe_name
from bigr_cli.zoo.folder import check_destination, save_model
from bigr_cli.zoo.presets import published_sampling
from bigr_cli.zoo.published import sizes
from bigr_cli.zoo.published.sizes import Shapes, autoencoder_sizes, generator_sizes

_Read = TypeVar("_Read")
_Config = TypeVar("_Config", AutoencoderConfig, GeneratorConfig)
_PREFIX = "ae."
_UNUSED = "generator.logsigma."
_SHORTCUT = ".conv_out."
_SECOND_COPIES = "diffusion_processor."
_ANY_GRID = 16  # to look through a tokenizer whose generator cannot be read
_DENOISER, _DENOISER_COPY = "denoise_mlp.", "diffusion_processor._denoise_fn."
_TABLES = {"k_final": "k", "b_final": "b", "beta": "beta"}


@dataclass(frozen=True)
class _Part(Generic[_Config]):
    """The architecture and the tensors, by our names, of a published file."""

    config: _Config
    state: Mapping[str, Tensor]


def import_published(
    tokenizer: Path,
    generator: Path,
    *,
    heads: int | None = None,
    image_size: int | None = None,
    output: Path,
    name: str | None = None,
    labels: tuple[str, ...] = (),
    licence: str = "",
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> ModelConfig:
    """Make a model folder of the published files of a tokenizer and a generator, of whatever sizes.

    Args:
        tokenizer: a file whose tensors are named `ae.…`.
        generator: a file with a state dict, or with one as "ema" or "model".
        heads: attention heads of the generator, which its tensors do not tell; None is for published sizes.
        image_size: width and height in pixels; None takes as many as make the generator's tokens.
        output: the folder to make.
        name: of the model; None takes the folder's.
        labels: names of the classes in their order, or none.
        dtype: what to store the weights as; None stores them as they are.

    Raises:
        CheckpointError: a file cannot be used, or the two do not fit; lists everything that is wrong, by file.
        ConfigError: the name or the labels do not fit.
        UsageError: there is something at `output` that must not be replaced.
    """
    check_destination(output, overwrite=overwrite)
    name = safe_name(output.absolute().name) if name is None else check_name(name)
    first, second = _read_both(tokenizer, generator, heads=heads, image_size=image_size)
    sampling, painting, presets = published_sampling(second.config)
    config = ModelConfig(
        name=name,
        image_size=first.config.image_size,
        tokenizer=first.config,
        generator=second.config,
        labels=labels,
        sampling=sampling,
        painting=painting,
        presets=presets,
        provenance=Provenance(version=f"bigr-cli {__version__}", sources=(tokenizer.name, generator.name)),
        licence=licence,
    )
    return save_model(output, config, first.state, second.state, dtype=dtype, overwrite=overwrite)


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
    tokenizer: Path, generator: Path, *, heads: int | None, image_size: int | None
) -> tuple[_Part[AutoencoderConfig], _Part[GeneratorConfig]]:
    problems: list[str] = []
    second = _attempt(generator, problems, lambda: _read_generator(generator, heads, problems))
    grid = second.config.grid if second else _ANY_GRID
    first = _attempt(tokenizer, problems, lambda: _read_tokenizer(tokenizer, image_size, grid, problems))
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


def _read_tokenizer(path: Path, image_size: int | None, grid: int, problems: list[str]) -> _Part[AutoencoderConfig]:
    """A tokenizer's config and tensors by our names; what is wrong with the tensors is added to the problems.

    Of a file that its training saved, the autoencoder alone is used: no discriminator, no perceptual network.
    """
    content = Checkpoint(path)
    shapes = {key.removeprefix(_PREFIX): shape for key, shape in content.shapes.items() if key.startswith(_PREFIX)}
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith(_UNUSED)}
    if not shapes:
        swapped = "; it is a generator (are the two files swapped?)" if "tok_embeddings.weight" in content else ""
        raise CheckpointError(f"is no tokenizer: it has no tensors named {_PREFIX}*{swapped}")
    inside = [key for key in content.others if key.startswith(_PREFIX) and not key.startswith(_PREFIX + _UNUSED)]
    _require_weights(content, [key for key in inside if _SHORTCUT not in key])
    config = autoencoder_sizes(shapes, image_size=image_size, grid=grid)
    with torch.device("meta"):
        expected = shapes_of(Tokenizer(config))
    published = {_PREFIX + sizes.published_tokenizer_name(ours): shape for ours, shape in expected.items()}
    # Files have a shortcut for every residual block, and it acts only where the channel count changes.
    _require_weights(content, [key for key in inside if key in published])
    used = [_PREFIX + key for key in shapes if _PREFIX + key in published or _SHORTCUT not in key]
    problems += shape_problems(path, published, {key: content.shapes[key] for key in used})
    problems += _number_problems(path, content, published)
    _tell_unused(content, used)
    return _Part(config, Renamed(content, {_our_name(key): key for key in used}))


def _our_name(key: str) -> str:
    """Our name of a tensor in a tokenizer's file."""
    bare = key.removeprefix(_PREFIX)
    return sizes.tokenizer_name(bare) or bare


def _read_generator(path: Path, heads: int | None, problems: list[str]) -> _Part[GeneratorConfig]:
    """A generator's config and tensors by our names; what is wrong with the tensors is added to the problems."""
    content = Checkpoint(path)
    if 2 * sum(key.startswith(_PREFIX) for key in content) > len(content):
        raise CheckpointError("is no generator but a tokenizer (are the two files swapped?)")
    _require_weights(content, [key for key in content.others if not key.startswith(_SECOND_COPIES)])
    config = generator_sizes(content.shapes, heads=heads)
    with torch.device("meta"):
        expected = shapes_of(Generator(config))
    published = {sizes.published_generator_name(ours): shape for ours, shape in expected.items()}
    used = [key for key in content if not key.startswith(_SECOND_COPIES)]
    problems += shape_problems(path, published, {key: content.shapes[key] for key in used})
    problems += _number_problems(path, content, published)
    problems += _schedule_problems(path, content, config.diffusion_timesteps)
    problems += _copy_problems(path, content)
    _tell_unused(content, used)
    return _Part(config, Renamed(content, {sizes.generator_name(key) or key: key for key in used}))


def _require_weights(content: Checkpoint, needed: Sequence[str]) -> None:
    """Raise CheckpointError for things that the network needs and that are no weights."""
    if needed:
        odd = ", ".join(f"{key} is not ({content.others[key]})" for key in needed[:4])
        raise CheckpointError(f"expected dense tensors in float32, bfloat16 or float16; {odd}")


def _tell_unused(content: Checkpoint, used: Collection[str]) -> None:
    """With --verbose, say what of a file is left."""
    taken = set(used)
    counts = Counter(key.partition(".")[0] for key in (*content, *content.others) if key not in taken)
    if counts:
        parts = ", ".join(f"{count} under {name}" for name, count in counts.items())
        console.detail(f"{content.path}: {len(taken)} tensors used, {counts.total()} entries left: {parts}")


def _number_problems(path: Path, content: Checkpoint, expected: Shapes) -> list[str]:
    """Which tensors of the expected shapes have values that are not finite."""
    fitting = [key for key, shape in expected.items() if content.shapes.get(key) == shape]
    infinite = [key for key in fitting if not bool(torch.isfinite(content[key]).all())]
    return [f"{path}: {key} has values that are not finite" for key in infinite[:8]]


def _copy_problems(path: Path, content: Checkpoint) -> list[str]:
    """Whether what is in the file twice is the same both times; the published code would use the other one.

    A tensor that has one place in the file for both is the same.
    """
    problems = []
    for copy in (*content, *content.others):
        key = copy.replace(_DENOISER_COPY, _DENOISER, 1)
        if copy.startswith(_DENOISER_COPY) and key in content and not _same(content, key, copy):
            problems.append(f"{path}: {key} is there twice, and the other, {copy}, differs")
    return problems[:8]


def _same(content: Checkpoint, key: str, copy: str) -> bool:
    if content.shapes.get(copy) != content.shapes[key]:
        return False
    one, other = content[key], content[copy]
    return one.data_ptr() == other.data_ptr() or torch.equal(one.float(), other.float())


def _schedule_problems(path: Path, content: Checkpoint, timesteps: int) -> list[str]:
    """Whether tables of noise that the file has are those of the one schedule that there is."""
    schedule = BernoulliSchedule(timesteps)
    for published, ours in _TABLES.items():
        key = f"{_SECOND_COPIES}scheduler.{published}"
        table = getattr(schedule, ours)
        fits = key in content and content.shapes[key] == tuple(table.shape)
        if (key in content or key in content.others) and not (
            fits and torch.allclose(content[key].float(), table, atol=1e-4)
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
