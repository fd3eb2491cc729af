"""Passes through the transformer that reuse what earlier ones computed (ReCAP, arXiv 2505.19089).

Between two iterations few tokens change. A full pass keeps the keys and values of all tokens in each block; until the
next one, only those tokens go through the blocks that have changed or whose prediction is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bigr_cli.core.network import Generator, KeysValues, Part, Prefix


class _Kept(NamedTuple):
    """What is left of a full pass: each block's keys and values, the output (B, L, D), and which tokens were masked."""

    kind: int
    blocks: list[KeysValues]
    output: Tensor
    masked: Tensor


class Passes:
    """The transformer's passes over one batch, of which those in iterations that `interval` divides are full ones."""

    def __init__(self, generator: Generator, interval: int) -> None:
        self.generator, self.interval = generator, interval
        self._kept: _Kept | None = None

    def due(self, iteration: int, guidance: float) -> bool:
        """Whether a full pass is made now even if no token's prediction is needed.

        So an image does not depend on whether another one in its batch needs a pass.
        """
        return self.interval > 1 and self._fresh(iteration, guidance)

    def _fresh(self, iteration: int, guidance: float) -> bool:
        """Whether there is nothing to reuse, or it is too old."""
        return self._kept is None or self._kept.kind != _kind(guidance) or iteration % self.interval == 0

    def condition(
        self, codes: Tensor, prefix: Prefix, masked: Tensor, needed: Tensor, iteration: int, guidance: float
    ) -> Tensor:
        """The transcoder's condition, of which the tokens that are needed (B, L) are to be read: (B, L, D).

        Args:
            codes: as for `Generator.condition`; the prefix and the masked tokens (B, L) too.
            guidance: with 0, 1 and others the batch has different variants of the condition, which share nothing.
        """
        if self.interval == 1:
            return self.generator.condition(codes, prefix, masked)
        kept = self._kept
        if kept is None or self._fresh(iteration, guidance):
            blocks = [KeysValues() for _ in self.generator.blocks]
            output = self.generator.condition(codes, prefix, masked, kept=blocks)
            self._kept = _Kept(_kind(guidance), blocks, output, masked.clone())
            return output
        changed = kept.masked != masked
        active = (needed | changed) & needed.any(dim=1, keepdim=True)
        if not bool(active.any()):
            return kept.output
        part = _part(active)
        output = self.generator.condition(codes, prefix, masked, kept=kept.blocks, part=part)  # (B, n, D)
        where = part.places[..., None].expand_as(output)
        kept.output.scatter_(1, where, torch.where(part.valid[..., None], output, kept.output.gather(1, where)))
        kept.masked.copy_(torch.where(active, masked, kept.masked))
        return kept.output


def _kind(guidance: float) -> int:
    return int(guidance) if guidance in (0, 1) else 2


def _part(active: Tensor) -> Part:
    """The active tokens (B, L) of each image; where others have more, inactive ones fill up, which change nothing."""
    count = int(active.sum(dim=1).max())
    places = (~active).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    return Part(places, active.gather(1, places))
