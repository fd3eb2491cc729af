"""What a picture is conditioned on, turned into tokens in front of the picture's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bigr_cli.core.layers import Table

Labels = Tensor | tuple[Tensor, ...]
Ratios = tuple[float | Tensor, ...]


class ClassCondition(nn.Module):
    """A table with one vector a class and one more, the last, for "no label"."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = Table(classes + 1, dim)

    def forward(self, labels: Labels, ratios: Ratios = (1.0,)) -> Tensor:
        """Labels (B,) int64, or a tuple of such with one ratio each → (B, 1, D) condition tokens.

        A ratio is a number, or (B,) numbers, one for each row.

        Raises:
            ValueError: the number of ratios differs from the number of label tensors.
        """
        parts = labels if isinstance(labels, tuple) else (labels,)
        if len(parts) != len(ratios):
            raise ValueError(f"ratios: expected {len(parts)}, one for each label, got {len(ratios)}")
        mixed = [_column(ratio) * self.table(part) for part, ratio in zip(parts, ratios, strict=True)]
        return torch.stack(mixed).sum(dim=0)[:, None].to(self.table.weight.dtype)  # ratios may be in float32

    def null(self, labels: Labels) -> Labels:
        """The "no label" entries that guidance compares with, of the same form as the labels given."""
        if isinstance(labels, tuple):
            return tuple(part.new_full(part.shape, self.classes) for part in labels)
        return labels.new_full(labels.shape, self.classes)


def _column(ratio: float | Tensor) -> float | Tensor:
    return ratio[:, None] if isinstance(ratio, Tensor) else ratio
