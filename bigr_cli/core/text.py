"""Texts as conditions: a small transformer over their bytes, or features that another encoder made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bigr_cli.core.condition import Condition, Labels, Prefix, Ratios, Texts, column, zip_ratios
from bigr_cli.core.config import BYTES, Guide, TextConfig
from bigr_cli.core.layers import RMSNorm, SelfBlock, Table, normal

_PADDING = 256  # what stands after the last byte


def fitting_bytes(text: str, most: int) -> bytes:
    """The text in UTF-8, cut off after the last character that ends within `most` bytes.

    Half a surrogate pair, which is no character, becomes a question mark.
    """
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode("utf-8")


def byte_texts(texts: Sequence[str], most: int) -> Texts:
    """Texts as their first bytes, padded to `most`: (B, most) each."""
    numbers = torch.full((len(texts), most), _PADDING, dtype=torch.int64)
    for row, text in zip(numbers, texts, strict=True):
        data = fitting_bytes(text, most)
        row[: len(data)] = torch.tensor(list(data), dtype=torch.int64)
    return Texts(numbers, numbers != _PADDING)


class ByteEncoder(nn.Module):
    """A transformer over bytes; `group` neighbouring outputs are averaged into one token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.group = config.group
        self.table = Table(_PADDING + 1, config.width)
        self.positions = normal(1, config.tokens, config.width, std=0.02)
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)

    def forward(self, numbers: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) bytes, and where there are any → (B, T / group, F) features, and where there are any."""
        x = self.table(numbers) + self.positions[:, : numbers.shape[1]]
        seen = mask.clone()
        seen[:, 0] = True  # a softmax needs something, and what comes of an empty text is masked
        for block in self.blocks:
            x = block(x, seen)
        weight = mask.unflatten(1, (-1, self.group)).to(x.dtype)[..., None]  # (B, T / group, group, 1)
        total = (x.unflatten(1, (-1, self.group)) * weight).sum(dim=2)
        return self.norm(total / weight.sum(dim=2).clamp_min(1)), weight.sum(dim=2)[..., 0] > 0


class TextCondition(nn.Module):
    """Features of a text, projected; for the empty text a token of its own, with which guidance compares."""

    def __init__(self, config: TextConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.length = config.prefix
        self.encoder = ByteEncoder(config) if config.encoder == BYTES else None
        self.project = nn.Sequential(nn.Linear(config.width, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))
        self.pool = nn.Linear(dim, dim)
        self.empty = normal(1, dim, std=0.02)

    def forward(self, labels: Labels, ratios: Ratios = (1.0,)) -> Prefix:
        """Texts, or a tuple of such with one ratio each, mixed token by token.

        Raises:
            ValueError: the number of ratios differs from the number of texts.
        """
        tokens, keep = torch.zeros(()), torch.zeros((), dtype=torch.bool)
        for part, ratio in zip_ratios(labels, ratios):
            own, there = self._tokens(_texts(part))
            tokens = tokens.to(own) + column(ratio, 3) * own
            keep = keep.to(own.device) | (there & (torch.as_tensor(column(ratio, 2), device=own.device) != 0))
        tokens = tokens.to(self.empty.dtype)  # ratios may be in float32
        pooled = tokens.sum(dim=1, keepdim=True) / keep.sum(dim=1).clamp_min(1)[:, None, None]
        return Prefix(tokens, self.pool(pooled), keep)

    def _tokens(self, texts: Texts) -> tuple[Tensor, Tensor]:
        """(B, P, D), zeros where nothing is, and (B, P) bool."""
        if self.encoder is not None:
            features, mask = self.encoder(texts.features, texts.mask)
        else:
            features, mask = texts.features.to(self.empty.dtype), texts.mask
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)
        tokens = torch.where(first[..., None], self.empty, self.project(features))
        return tokens * (mask | first)[..., None], mask | first

    def null(self, labels: Labels) -> Labels:
        """Empty texts, of the same form as the texts given."""
        parts = tuple(_empty(_texts(part)) for part in (labels if isinstance(labels, tuple) else (labels,)))
        return parts if isinstance(labels, tuple) else parts[0]

    def dropped(self, labels: Condition, where: Tensor) -> Condition:
        """The texts, empty in the rows `where` (B,) bool."""
        texts = _texts(labels)
        return Texts(texts.features, texts.mask & ~where[:, None])

    def batch(self, guides: Sequence[Guide]) -> Condition:
        """Texts and None as a batch. Raises ValueError for a class, and for texts that another encoder must read."""
        if self.encoder is None:
            raise ValueError(f"texts are read by {self.config.encoder}, which is not there")
        numbers = [guide for guide in guides if isinstance(guide, int)]
        if numbers:
            raise ValueError(f"expected texts, got the class {numbers[0]}")
        return byte_texts([str(guide or "") for guide in guides], self.config.tokens)

    def check(self, labels: Condition, count: int) -> None:
        """ValueError unless there are `count` texts of this model's form."""
        texts, tokens = _texts(labels), self.config.tokens
        shape = (count, tokens) if self.encoder is not None else (count, tokens, self.config.width)
        if texts.mask.shape != (count, tokens) or texts.features.shape != shape:
            got = f"{tuple(texts.features.shape)} and {tuple(texts.mask.shape)}"
            raise ValueError(f"texts: expected {shape} and {(count, tokens)} for {count} seeds, got {got}")


def _texts(labels: Condition) -> Texts:
    if not isinstance(labels, Texts):
        raise ValueError("labels: expected texts, got class numbers")
    return labels


def _empty(texts: Texts) -> Texts:
    return Texts(torch.zeros_like(texts.features), torch.zeros_like(texts.mask))
