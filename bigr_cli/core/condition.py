"""What a picture is conditioned on, turned into tokens in front of the picture's own.

The sampler and all that is built on it hand conditions on without looking into them: a batch of class numbers, or of
encoded texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bigr_cli.core.config import Guide
from bigr_cli.core.layers import Table


@dataclass(frozen=True)
class Texts:
    """A batch of encoded texts.

    `features` (B, T, F) are an encoder's, or (B, T) int64 bytes for a generator that reads them itself; `mask` (B, T)
    bool says where there is something. A text of which nothing is there is the empty one.
    """

    features: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def to(self, device: torch.device) -> Texts:
        """The batch on another device."""
        return Texts(self.features.to(device), self.mask.to(device))


Condition = Tensor | Texts
Labels = Condition | tuple[Condition, ...]
Ratios = tuple[float | Tensor, ...]


class Prefix(NamedTuple):
    """`tokens` (B, P, D) in front of the picture's, `pooled` (B, 1, D) for the modulations, `keep` (B, P) bool.

    Tokens that are not kept are padding; None keeps all.
    """

    tokens: Tensor
    pooled: Tensor
    keep: Tensor | None = None

    def rows(self, rows: slice) -> Prefix:
        """A part of the batch."""
        return Prefix(self.tokens[rows], self.pooled[rows], None if self.keep is None else self.keep[rows])


class ClassCondition(nn.Module):
    """A table with one vector a class and one more, the last, for "no label"."""

    length = 1  # of the prefix

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = Table(classes + 1, dim)

    def forward(self, labels: Labels, ratios: Ratios = (1.0,)) -> Prefix:
        """Labels (B,) int64, or a tuple of such with one ratio each, mixed.

        A ratio is a number, or (B,) numbers, one for each row.

        Raises:
            ValueError: the number of ratios differs from the number of label tensors.
        """
        mixed = [column(ratio, 2) * self.table(_numbers(part)) for part, ratio in zip_ratios(labels, ratios)]
        tokens = torch.stack(mixed).sum(dim=0)[:, None].to(self.table.weight.dtype)  # ratios may be in float32
        return Prefix(tokens, tokens)

    def null(self, labels: Labels) -> Labels:
        """The "no label" entries that guidance compares with, of the same form as the labels given."""
        if isinstance(labels, tuple):
            return tuple(self._null(part) for part in labels)
        return self._null(labels)

    def dropped(self, labels: Condition, where: Tensor) -> Condition:
        """The labels, with "no label" in the rows `where` (B,) bool."""
        return _numbers(labels).masked_fill(where, self.classes)

    def batch(self, guides: Sequence[Guide]) -> Condition:
        """Class numbers and None as a batch. Raises ValueError for a text."""
        texts = [guide for guide in guides if isinstance(guide, str)]
        if texts:
            raise ValueError(f"expected classes, got the text {texts[0]!r}")
        return torch.tensor([self.classes if guide is None else int(guide) for guide in guides], dtype=torch.int64)

    def check(self, labels: Condition, count: int) -> None:
        """ValueError unless there is a class or "no label" for each of `count` pictures."""
        numbers = _numbers(labels)
        if numbers.shape != (count,):
            raise ValueError(f"labels: expected one for each of {count} seeds, got {tuple(numbers.shape)}")
        if count and not (0 <= int(numbers.min()) and int(numbers.max()) <= self.classes):
            raise ValueError(f"labels: expected 0 to {self.classes}, got {numbers.tolist()}")

    def _null(self, labels: Condition) -> Tensor:
        numbers = _numbers(labels)
        return numbers.new_full(numbers.shape, self.classes)


def joined(batches: Sequence[Labels]) -> Labels:
    """Batches of the same form, one after the other."""
    if isinstance(batches[0], tuple):
        return tuple(_joined(parts) for parts in zip(*batches, strict=True))
    return _joined(batches)  # type: ignore[arg-type]


def on_device(labels: Labels, device: torch.device) -> Labels:
    """The batch on another device."""
    return tuple(part.to(device) for part in labels) if isinstance(labels, tuple) else labels.to(device)


def zip_ratios(labels: Labels, ratios: Ratios) -> list[tuple[Condition, float | Tensor]]:
    """Each batch with its ratio. Raises ValueError if the numbers of the two differ."""
    parts = labels if isinstance(labels, tuple) else (labels,)
    if len(parts) != len(ratios):
        raise ValueError(f"ratios: expected {len(parts)}, one for each label, got {len(ratios)}")
    return list(zip(parts, ratios, strict=True))


def column(ratio: float | Tensor, axes: int) -> float | Tensor:
    """A ratio, or one for each row, so that it multiplies something of so many axes."""
    return ratio.reshape(-1, *[1] * (axes - 1)) if isinstance(ratio, Tensor) else ratio


def _joined(parts: Sequence[Condition]) -> Condition:
    if isinstance(parts[0], Texts):
        texts = [part for part in parts if isinstance(part, Texts)]
        return Texts(torch.cat([text.features for text in texts]), torch.cat([text.mask for text in texts]))
    return torch.cat([_numbers(part) for part in parts])


def _numbers(labels: Condition) -> Tensor:
    if isinstance(labels, Texts):
        raise ValueError("labels: expected class numbers, got texts")
    return labels
