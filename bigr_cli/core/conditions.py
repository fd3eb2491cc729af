"""What conditions a batch: class numbers, or texts as bytes or as an encoder's features, mixed by ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = 256  # what stands after the last byte of a text


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
    return torch.cat([class_numbers(part) for part in parts])


def class_numbers(labels: Condition) -> Tensor:
    if isinstance(labels, Texts):
        raise ValueError("labels: expected class numbers, got texts")
    return labels


def as_texts(labels: Condition) -> Texts:
    if not isinstance(labels, Texts):
        raise ValueError("labels: expected texts, got class numbers")
    return labels


def fitting_bytes(text: str, most: int) -> bytes:
    """The text in UTF-8, cut off after the last character that ends within `most` bytes.

    Half a surrogate pair, which is no character, becomes a question mark.
    """
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode("utf-8")


def byte_texts(texts: Sequence[str], most: int) -> Texts:
    """Texts as their first bytes, padded to `most`: (B, most) each."""
    numbers = torch.full((len(texts), most), PADDING, dtype=torch.int64)
    for row, text in zip(numbers, texts, strict=True):
        data = fitting_bytes(text, most)
        row[: len(data)] = torch.tensor(list(data), dtype=torch.int64)
    return Texts(numbers, numbers != PADDING)
