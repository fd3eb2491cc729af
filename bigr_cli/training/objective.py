"""What a trainer optimises, the average of its weights, and the model folder that it writes."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli.core.architectures import TokenizerConfig
from bigr_cli.data.loading import Batch, Positions, load_batches
from bigr_cli.data.sources import Source
from bigr_cli.errors import ConfigError, ModelError
from bigr_cli.runtime.device import main_memory
from bigr_cli.runtime.tensor_file import grow_from
from bigr_cli.training.config import GeneratorTraining, OptimizerConfig, TokenizerTraining
from bigr_cli.version import __version__
from bigr_cli.zoo.card import render_card
from bigr_cli.zoo.config import ModelConfig, Provenance
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import Weights, write_model_files
from bigr_cli.zoo.sizes import parameters

if TYPE_CHECKING:
    from PIL.Image import Image

_BYTES = 4  # of a parameter in float32, in which models are trained


class Objective(nn.Module):
    """A model, its loss, and perhaps other modules that are trained with it, such as a discriminator.

    Subclasses set `model` (whose weights are averaged and end in the run's folder). Frozen networks are kept out of
    the module tree, so that they are neither trained nor saved.
    """

    model: nn.Module
    can_be_sharded = False  # whether `forward` never touches a block's weights but by calling the block

    def forward(self, batch: Batch, phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a phase, and values to be shown."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def phases(self, step: int) -> list[str]:
        """What is trained in this step, in order: names of modules, among them always "model"."""
        return ["model"]

    def optimized(self, phase: str) -> list[str]:
        """The modules whose weights move by the gradients of a phase's loss."""
        return [phase]

    def follow(self, average: WeightAverage) -> None:
        """Told, once, of the average of the model's weights. UsageError if the loss needs what this has not."""

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        """The modules that have an optimiser of their own."""
        raise TypeError(f"{type(self).__name__} has no optimisers")

    def batches(self, source: Source, positions: Positions, *, workers: int) -> Generator[Batch, None, None]:
        """What `forward` is given: endless batches of a source."""
        return load_batches(source, positions, workers=workers)

    def validate(self, average: nn.Module) -> dict[str, float]:
        """Measures on held-out images; must leave the objective as it is."""
        return {}

    def goodness(self, measures: dict[str, float]) -> float:
        """How good the measures of a validation are: of two, the larger is better."""
        return -measures.get("loss", 0.0)

    def preview(self, average: nn.Module) -> Image | None:
        """An image that shows how far training is."""
        return None

    def write(self, average: nn.Module, run: Path, step: int, measures: dict[str, float]) -> None:
        """Make the run's folder a model folder."""


class WeightAverage:
    """Exponential moving average whose decay warms up: min(decay, (1 + step) / (10 + step)).

    A fixed decay of 0.9999 would still hold a good part of the random start after 10,000 steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights after `step` steps (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.averages(), module.parameters(), strict=True)
        averages, weights = (list(each) for each in zip(*pairs, strict=True))
        torch._foreach_lerp_(averages, weights, 1 - decay)
        self._copy_buffers(module)

    def averages(self) -> list[Tensor]:
        """The average of each parameter, in the module's order."""
        return list(self.module.parameters())

    def _copy_buffers(self, module: nn.Module) -> None:
        for average, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(buffer)

    @contextmanager
    def gathered(self, *, needed: bool) -> Iterator[nn.Module]:
        """A module with the averaged weights, not to be changed, where it is needed; all processes must call this."""
        yield self.module

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over averaged weights saved earlier."""
        self.module.load_state_dict(state)


def run_model_config(
    training: TokenizerTraining | GeneratorTraining,
    step: int,
    *,
    tokenizer: TokenizerConfig,
    **more: Any,
) -> ModelConfig:
    """What a run's model folder says about itself after `step` steps, with `more` fields of the model's config."""
    return ModelConfig(
        name=training.name,
        image_size=tokenizer.image_size,
        tokenizer=tokenizer,
        background=training.data.background,
        **more,
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
    run: Path, config: ModelConfig, *, tokenizer: nn.Module, generator: Weights | None, measures: dict[str, float]
) -> None:
    """Write weights, card and config into the run's folder; half precision suffices for weights that are averages."""
    card = render_card(config, measures)
    write_model_files(run, config, tokenizer, generator, dtype=torch.float16, card=card)
