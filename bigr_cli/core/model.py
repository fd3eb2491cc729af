"""The whole model: a tokenizer and a generator that agree on the grid and the bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli.core.architectures import GeneratorConfig, TokenizerConfig
from bigr_cli.core.conditions import Condition, Labels, Ratios, Texts, on_device
from bigr_cli.core.config import Prompt, SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.sampler import Observer, sample
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.errors import ConfigError

if TYPE_CHECKING:
    from bigr_cli.core.held_out import HeldOut


class BinaryModel(nn.Module):
    """`tokenizer` (images ↔ codes) and `generator` (labels or texts → codes).

    `read` encodes texts where the generator does not do it itself. `held_out` are statistics of images like those that
    it was trained on, for telling others from them; None says nothing.
    """

    read: Callable[[Sequence[str]], Texts] | None = None
    held_out: HeldOut | None = None

    def __init__(self, tokenizer: TokenizerConfig, generator: GeneratorConfig) -> None:
        """Raises ConfigError when the two differ in grid or bits."""
        super().__init__()
        for name in ("grid", "bits"):
            one, other = getattr(tokenizer, name), getattr(generator, name)
            if one != other:
                raise ConfigError(f"{name}: the tokenizer has {one}, the generator {other}")
        self.tokenizer = Tokenizer(tokenizer)
        self.generator = Generator(generator)

    def cast(self, dtype: torch.dtype) -> BinaryModel:
        """Convert the weights; the tables of positions and noise stay in float32."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(dtype)
        return self

    def conditions(self, prompts: Sequence[Prompt]) -> Condition:
        """Classes' indices, or texts, as a batch that `sample_codes` takes; None is nothing.

        Raises:
            ValueError: a text for a model of classes, or the other way round.
        """
        if self.read is None or any(isinstance(prompt, int) for prompt in prompts):
            batch = self.generator.condition_tokens.batch(prompts)
        else:
            batch = self.read([str(prompt or "") for prompt in prompts])
        return batch.to(self.generator.positions.device)

    def sample_codes(
        self,
        labels: Labels,
        seeds: Tensor | Sequence[int],
        settings: SamplingConfig | None = None,
        *,
        known: tuple[Tensor, Tensor] | None = None,
        ratios: Ratios = (1.0,),
        negative: Labels | None = None,
        observe: Observer | None = None,
        **changes: Any,
    ) -> Tensor:
        """Sample codes (B, L, K) bool for labels (B,) or texts, and as many seeds in 0 .. 2^63 − 1.

        See `sampler.sample`. `changes` are fields of `settings` to be set anew, such as `steps`; without settings, of
        the defaults.

        Raises:
            ConfigError: a setting out of its range.
            ValueError: shapes, labels or seeds that do not fit.
        """
        settings = replace(settings or SamplingConfig(), **changes)
        seeds = torch.as_tensor(seeds, dtype=torch.int64).to(self.generator.positions.device)
        labels = self._checked(labels, seeds)
        negative = None if negative is None else self._checked(negative, seeds)
        ratios = tuple(ratio.to(seeds.device) if isinstance(ratio, Tensor) else ratio for ratio in ratios)
        return sample(
            self.generator, labels, seeds, settings, known=known, ratios=ratios, negative=negative, observe=observe
        )

    def _checked(self, labels: Labels, seeds: Tensor) -> Labels:
        """The labels beside the seeds; ValueError unless there is one for each, of the kind that the model takes."""
        for part in labels if isinstance(labels, tuple) else (labels,):
            self.generator.condition_tokens.check(part, len(seeds))
        return on_device(labels, seeds.device)
