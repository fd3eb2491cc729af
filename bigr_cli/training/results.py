"""A run's folder as a model folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bigr_cli.core.config import GeneratorConfig, SamplingConfig, TokenizerConfig
from bigr_cli.errors import ConfigError, ModelError
from bigr_cli.runtime.device import main_memory
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.version import __version__
from bigr_cli.vocabulary import Vocabulary
from bigr_cli.zoo.card import render_card
from bigr_cli.zoo.config import ModelConfig, Provenance
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import write_model_files
from bigr_cli.zoo.sizes import parameters
from bigr_cli.zoo.tensors import grow_from

_BYTES = 4  # of a parameter in float32, in which models are trained


def run_model_config(
    training: TokenizerTraining | GeneratorTraining,
    step: int,
    *,
    tokenizer: TokenizerConfig,
    generator: GeneratorConfig | None = None,
    labels: tuple[str, ...] = (),
    vocabulary: Vocabulary | None = None,
    refine: int = 0,
) -> ModelConfig:
    """What a run's model folder says about itself after `step` steps."""
    return ModelConfig(
        name=training.name,
        image_size=tokenizer.image_size,
        tokenizer=tokenizer,
        generator=generator,
        labels=labels,
        sampling=training.sampling if isinstance(training, GeneratorTraining) else SamplingConfig(),
        painting=training.painting if isinstance(training, GeneratorTraining) else None,
        background=training.data.background,
        vocabulary=vocabulary,
        refine=refine,
        provenance=Provenance(
            data=training.data.source,
            without=training.data.without,
            steps=step,
            pictures=step * training.run.batch,
            seed=training.run.seed,
            version=__version__,
        ),
    )


def require_memory(config: ModelConfig) -> None:
    """Raise ConfigError before a model is made whose weights alone are more than the machine's memory holds."""
    count, memory = sum(parameters(config).values()), main_memory()
    if memory and count * _BYTES > memory:
        raise ConfigError(
            f"a model of {count:,} parameters needs {count * _BYTES / 1e9:,.0f} GB for its weights alone, and this"
            f" machine has {memory / 1e9:.0f} GB",
            hint="smaller sizes of the tokenizer or generator, such as layers, dim or channels, need less",
        )


def start_from(model: str, file: str, part: nn.Module) -> None:
    """Give a freshly made tokenizer or generator the weights that a model of its sizes, or smaller, has in a file.

    A model of classes can begin one of texts, and the other way round; what reads the conditions then starts anew.

    Raises:
        UnknownNameError: there is no such model.
        ModelError: it lacks the file.
        ModelFormatError: its tensors find no place in the part.
    """
    path = find_model(model) / file
    if not path.is_file():
        raise ModelError(f"init: {path} is not there")
    grow_from(path, part, replaced="condition_tokens")


def write_run_model(
    run: Path, config: ModelConfig, *, tokenizer: nn.Module, generator: nn.Module | None, measures: dict[str, float]
) -> None:
    """Write weights, card and config into the run's folder; half precision suffices for weights that are averages."""
    card = render_card(config, measures)
    write_model_files(run, config, tokenizer, generator, dtype=torch.float16, card=card)
