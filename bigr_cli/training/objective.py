"""What a trainer optimises, as far as the loop knows it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bigr_cli.data.loading import Batch, Positions, load_batches
from bigr_cli.data.sources import Source
from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.ema import WeightAverage

if TYPE_CHECKING:
    from PIL.Image import Image


class Objective(nn.Module):
    """A model, its loss, and perhaps a rival that is trained against it.

    Subclasses set `model` (whose weights are averaged and end in the run's folder). Frozen networks are kept out of
    the module tree, so that they are neither trained nor saved.
    """

    model: nn.Module
    can_be_offloaded = False  # whether `forward` never touches a block's weights but by calling the block

    def forward(self, batch: Batch, turn: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the player whose turn it is, and values to be shown."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def turns(self, step: int) -> list[str]:
        """Who is trained in this step, in order; "model" is always among them."""
        return ["model"]

    def players(self, turn: str) -> list[str]:
        """Whose weights move by the gradients of a turn's loss."""
        return [turn]

    def follow(self, average: WeightAverage) -> None:
        """Told, once, of the average of the model's weights. UsageError if the loss needs what this has not."""

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        """The modules that have an optimiser of their own."""
        raise TypeError(f"{type(self).__name__} has no players")

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
