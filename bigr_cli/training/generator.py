"""Training of the generator: masked tokens, or next ones, predicted bit by bit (reference section 4)."""

from __future__ import annotations

from collections.abc import Generator as Batches
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli.core.conditions import Condition
from bigr_cli.core.familiarity import mean_likelihoods, summary, token_errors
from bigr_cli.core.held_out import HeldOut
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import sample
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.cached import cached_codes
from bigr_cli.data.loading import Batch, Positions, all_batches, as_floats, code_batches
from bigr_cli.data.sources import Source, vocabulary_of
from bigr_cli.errors import UsageError
from bigr_cli.training.config import GeneratorTraining, OptimizerConfig
from bigr_cli.training.generator_loss import (
    Projector,
    View,
    alignment_loss,
    foreground_mask,
    late_states,
    less_masked,
    masked_loss,
    training_view,
    view_loss,
)
from bigr_cli.training.loss_config import MaskingConfig
from bigr_cli.training.objective import Objective, WeightAverage, require_memory, run_model_config, write_run_model
from bigr_cli.vocabulary import Vocabulary
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.text_encoders.features import text_reader

if TYPE_CHECKING:
    from PIL.Image import Image

_BATCH = 64
_PREVIEW = 32


class GeneratorObjective(Objective):
    """The generator on codes that a frozen tokenizer samples."""

    model: Generator
    can_be_sharded = True

    def __init__(self, config: GeneratorTraining, tokenizer: Tokenizer, base: ModelConfig, held_out: Source) -> None:
        """`base` describes the tokenizer's model.

        Raises:
            ConfigError: sizes that do not fit one another or the memory, sampling defaults that the model cannot
                do, a name that is none.
        """
        super().__init__()
        self.config, self.base, self.held_out = config, base, held_out
        self._source: Source | None = None
        self._vocabulary: Vocabulary | None = None
        self.labels = () if config.generator.text else held_out.labels or ("picture",)
        shape = base.tokenizer
        self.sizes = config.generator.complete(grid=shape.grid, bits=shape.bits, classes=len(self.labels))
        require_memory(self._describe(0))  # what is wrong with it shows now, not hours later
        torch.manual_seed(config.run.seed)
        self.model = Generator(self.sizes)
        self.projector = Projector(self.sizes.dim) if config.alignment.weight > 0 else None
        self._average: WeightAverage | None = None
        self._frozen: list[Any] = [tokenizer]  # a list hides it from the module tree
        self.read = text_reader(self.sizes.text, keep=config.data.cache_texts)
        self._validation: list[tuple[Tensor, Condition]] = []
        self._errors = torch.empty(0)  # mean squared ones of the held-out images' reconstructions
        self._statistics: HeldOut | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The frozen tokenizer, on the generator's device."""
        tokenizer: Tokenizer = self._frozen[0].to(self.model.positions.device)
        return tokenizer

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        moved: dict[str, tuple[nn.Module, OptimizerConfig]] = {"model": (self.model, self.config.optimizer)}
        if self.projector is not None:
            moved["projector"] = (self.projector, self.config.optimizer)
        return moved

    def optimized(self, phase: str) -> list[str]:
        return [phase] if self.projector is None else [phase, "projector"]

    def follow(self, average: WeightAverage) -> None:
        self._average = average
        needed = self.projector is not None and self.config.alignment.teacher == "average"
        if needed and not hasattr(average, "module"):
            raise UsageError("alignment.teacher: with sharded weights no process has the whole average; expected self")

    def batches(self, source: Source, positions: Positions, *, workers: int) -> Batches[Batch, None, None]:
        data = self.config.data
        self._source = source
        if data.cache_codes:
            codes = cached_codes(
                self.tokenizer,
                self.config.tokenizer_sha256,
                source,
                variants=data.cache_codes,
                augment=data.augmented,
                workers=workers,
            )
            if codes is not None:
                return code_batches(codes, source, positions)
        return super().batches(source, positions, workers=workers)

    def forward(self, batch: Batch, phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        codes = self._sample_codes(batch) if batch.codes is None else batch.codes
        foreground = (
            foreground_mask(batch.foreground, self.sizes.grid) if self.config.masking.foreground_weight > 0 else None
        )
        view = training_view(self.model, codes, self._conditions(batch), self.config.masking)
        if self.projector is None:
            loss = view_loss(self.model, view, codes, self.config.masking, foreground)
            return loss, {"loss": loss}
        return self._aligned(self.projector, view, codes, foreground)

    def _aligned(
        self, projector: Projector, view: View, codes: Tensor, foreground: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss with that of self-alignment added, and both."""
        config, kept = self.config.alignment, dict[int, Tensor]()
        early, late = config.blocks(self.sizes.layers)
        loss = view_loss(self.model, view, codes, self.config.masking, foreground, kept.__setitem__)
        teacher = self.model if config.teacher == "self" or self._average is None else self._average.module
        if not isinstance(teacher, Generator):
            raise TypeError(f"expected a generator, got {type(teacher).__name__}")
        # After the pass with gradients: autocast would keep weights cast without them, and give these to that pass.
        shown = less_masked(view.masked, config.revealed)
        states = late_states(teacher, codes, view.labels, shown, late)
        aligned = alignment_loss(projector(kept[early]), states)
        return loss + config.weight * aligned, {"loss": loss, "alignment": aligned}

    def _conditions(self, batch: Batch) -> Condition:
        """What the images are conditioned on: their captions or their classes."""
        return self.read(batch.captions, batch.labels.device) if self.read is not None else batch.labels

    @torch.no_grad()
    def _sample_codes(self, batch: Batch) -> Tensor:
        probabilities = self.tokenizer.bit_probabilities(as_floats(batch.images))
        return torch.rand_like(probabilities) < probabilities

    def validate(self, average: nn.Module) -> dict[str, float]:
        """The loss on held-out images, with the same masks and noise every time."""
        if not isinstance(average, Generator):
            raise TypeError(f"expected a generator, got {type(average).__name__}")
        if not self._validation:
            device = average.positions.device
            errors = []
            for batch in all_batches(self.held_out, _BATCH):
                images = as_floats(batch.images.to(device))
                codes = self.tokenizer.encode(images)
                errors.append(token_errors(images, self.tokenizer.decode(codes), self.sizes.grid).mean(dim=1))
                self._validation.append((codes, self._conditions(batch.to(device))))
            self._errors = torch.cat(errors)
        torch.manual_seed(0)
        masking = MaskingConfig("image", 0.0, 1)
        parts = [masked_loss(average, codes, labels, masking) for codes, labels in self._validation]
        likelihoods = [mean_likelihoods(average, self._nothing(len(codes)), codes) for codes, _ in self._validation]
        self._statistics = summary(self._errors, torch.cat(likelihoods))
        return {"loss": float(torch.stack(parts).mean())}

    def _nothing(self, count: int) -> Condition:
        """So many conditions of no label or text."""
        device = self.model.positions.device
        if self.read is not None:
            return self.read([""] * count, device)
        return self.model.condition_tokens.batch([None] * count).to(device)

    def preview(self, average: nn.Module) -> Image:
        """Samples of the first classes or captions, at the sampling defaults."""
        from bigr_cli.imaging.arrays import to_images
        from bigr_cli.imaging.montage import grid

        if not isinstance(average, Generator):
            raise TypeError(f"expected a generator, got {type(average).__name__}")
        device = average.positions.device
        numbers = range(_PREVIEW)
        if self.read is None:
            labels: Condition = torch.tensor([number % self.sizes.classes for number in numbers], device=device)
        else:
            labels = self.read([self.held_out.caption(n % len(self.held_out)) for n in numbers], device)
        codes = sample(average, labels, torch.arange(_PREVIEW, device=device), self.config.sampling)
        return grid(to_images(self.tokenizer.decode(codes).float().clamp(0, 1)), columns=8)

    def write(self, average: nn.Module, run: Path, step: int, measures: dict[str, float]) -> None:
        if self._vocabulary is None and self._source is not None and self.read is not None:
            self._vocabulary = vocabulary_of(self._source)
        config = replace(self._describe(step), held_out=self._statistics)
        write_run_model(run, config, tokenizer=self.tokenizer, generator=average, measures=measures)

    def _describe(self, step: int) -> ModelConfig:
        return run_model_config(
            self.config,
            step,
            tokenizer=self.base.tokenizer,
            generator=self.sizes,
            labels=self.labels,
            sampling=self.config.sampling,
            painting=self.config.painting,
            vocabulary=self._vocabulary,
            refine=self.base.refine,
        )
