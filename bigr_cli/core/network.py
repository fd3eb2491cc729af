"""The network: what conditions it, its blocks, and the generator, which is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.architectures import BYTES, GeneratorConfig, TextConfig
from bigr_cli.core.conditions import (
    PADDING,
    Condition,
    Labels,
    Ratios,
    Texts,
    as_texts,
    byte_texts,
    class_numbers,
    column,
    zip_ratios,
)
from bigr_cli.core.config import Prompt
from bigr_cli.core.heads import Head, make_head
from bigr_cli.core.layers import KeysValues, Part, RMSNorm, SelfBlock, SwiGLU, Table, attend, in_cache, modulate, normal

Observer = Callable[[int, Tensor], None]  # called after a block with its number and what `hidden` gives of it


class Prefix(NamedTuple):
    """`tokens` (B, P, D) in front of the image's, `pooled` (B, 1, D) for the modulations, `keep` (B, P) bool.

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
        mixed = [column(ratio, 2) * self.table(class_numbers(part)) for part, ratio in zip_ratios(labels, ratios)]
        tokens = torch.stack(mixed).sum(dim=0)[:, None].to(self.table.weight.dtype)  # ratios may be in float32
        return Prefix(tokens, tokens)

    def null(self, labels: Labels) -> Labels:
        """The "no label" entries that guidance compares with, of the same form as the labels given."""
        if isinstance(labels, tuple):
            return tuple(self._null(part) for part in labels)
        return self._null(labels)

    def dropped(self, labels: Condition, where: Tensor) -> Condition:
        """The labels, with "no label" in the rows `where` (B,) bool."""
        return class_numbers(labels).masked_fill(where, self.classes)

    def batch(self, prompts: Sequence[Prompt]) -> Condition:
        """Class numbers and None as a batch. Raises ValueError for a text."""
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        if texts:
            raise ValueError(f"expected classes, got the text {texts[0]!r}")
        return torch.tensor([self.classes if prompt is None else int(prompt) for prompt in prompts], dtype=torch.int64)

    def check(self, labels: Condition, count: int) -> None:
        """ValueError unless there is a class or "no label" for each of `count` images."""
        numbers = class_numbers(labels)
        if numbers.shape != (count,):
            raise ValueError(f"labels: expected one for each of {count} seeds, got {tuple(numbers.shape)}")
        if count and not (0 <= int(numbers.min()) and int(numbers.max()) <= self.classes):
            raise ValueError(f"labels: expected 0 to {self.classes}, got {numbers.tolist()}")

    def _null(self, labels: Condition) -> Tensor:
        numbers = class_numbers(labels)
        return numbers.new_full(numbers.shape, self.classes)


class ByteEncoder(nn.Module):
    """A transformer over bytes; `group` neighbouring outputs are averaged into one token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.group = config.group
        self.table = Table(PADDING + 1, config.width)
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
            own, there = self._tokens(as_texts(part))
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
        parts = tuple(_empty(as_texts(part)) for part in (labels if isinstance(labels, tuple) else (labels,)))
        return parts if isinstance(labels, tuple) else parts[0]

    def dropped(self, labels: Condition, where: Tensor) -> Condition:
        """The texts, empty in the rows `where` (B,) bool."""
        texts = as_texts(labels)
        return Texts(texts.features, texts.mask & ~where[:, None])

    def batch(self, prompts: Sequence[Prompt]) -> Condition:
        """Texts and None as a batch. Raises ValueError for a class, and for texts that another encoder must read."""
        if self.encoder is None:
            raise ValueError(f"texts are read by {self.config.encoder}, which is not there")
        numbers = [prompt for prompt in prompts if isinstance(prompt, int)]
        if numbers:
            raise ValueError(f"expected texts, got the class {numbers[0]}")
        return byte_texts([str(prompt or "") for prompt in prompts], self.config.tokens)

    def check(self, labels: Condition, count: int) -> None:
        """ValueError unless there are `count` texts of this model's form."""
        texts, tokens = as_texts(labels), self.config.tokens
        shape = (count, tokens) if self.encoder is not None else (count, tokens, self.config.width)
        if texts.mask.shape != (count, tokens) or texts.features.shape != shape:
            got = f"{tuple(texts.features.shape)} and {tuple(texts.mask.shape)}"
            raise ValueError(f"texts: expected {shape} and {(count, tokens)} for {count} seeds, got {got}")


def _empty(texts: Texts) -> Texts:
    return Texts(torch.zeros_like(texts.features), torch.zeros_like(texts.mask))


def rope_table(grid: int, head_dim: int, base: float, prefix: int = 1, *, turned: bool = False) -> Tensor:
    """Cosines and sines of the two-dimensional rotary embedding: (prefix + grid², head_dim / 2, 2).

    The rows of the condition tokens are zeros, and not (1, 0): the published weights were trained so. It hides from
    attention what they hold, which does for one of them; with `turned` they are (1, 0), and can be told apart.
    """
    # On the CPU by name, so that a model laid out on the meta device still gets its table.
    frequencies = base ** (-2 * torch.arange(head_dim // 4, device="cpu").float() / (head_dim // 2))
    angles = torch.arange(grid, device="cpu").float()[:, None] * frequencies  # (grid, head_dim / 4)
    rows, columns = angles[:, None].expand(-1, grid, -1), angles[None].expand(grid, -1, -1)
    both = torch.cat([rows, columns], dim=-1).flatten(0, 1)  # (grid², head_dim / 2)
    table = torch.stack([both.cos(), both.sin()], dim=-1)
    front = table.new_zeros(prefix, *table.shape[1:])
    front[..., 0] = float(turned)
    return torch.cat([front, table])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate consecutive pairs of (..., L, d) by the (L, d/2, 2) table."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if x.device.type == "cpu" and not torch.is_grad_enabled():
        # As complex numbers it is one pass over memory; in real ones it takes as long as all of attention. Compilers
        # and other devices do better, or only, with real ones.
        return torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table)).flatten(-2).to(x.dtype)
    even, odd = pairs.unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


Kept = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # a part's keys and values → those of all tokens


class Attention(nn.Module):
    """Multi-head attention with rotary positions; q, k, v come from one matrix, without biases."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rope: Tensor, keep: Tensor | None = None, kept: Kept | None = None) -> Tensor:
        # (B, L, 3D) → three of (B, heads, L, d)
        both, (v,) = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).split((2, 1))
        q, k = rotate(both, rope)
        if kept is not None:
            k, v = kept(k, v)
        mixed = attend(q, k, v, keep)
        return self.dropout(self.wo(mixed.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and SwiGLU, modulated by the shared adaLN plus the block's own offsets.

    Each branch drops out where it ends, inside `Attention` and `SwiGLU`, once.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.offsets = normal(1, 1, 6, config.dim, std=config.dim**-0.5)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn = SwiGLU(config.dim, config.ffn_width, config.dropout)

    def forward(
        self, x: Tensor, modulation: Tensor, rope: Tensor, keep: Tensor | None = None, kept: Kept | None = None
    ) -> Tensor:
        """x (B, P + L, D), modulation (B, 1, 6, D); `keep` bool: who attends to whom.

        `keep` goes with (B, heads, P + L, P + L); None is everybody to everybody. With `kept` x may be a part of the
        tokens, with the rope (B, 1, n, d / 2, 2) of their places, and it gives the keys and values of all.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offsets).unbind(2)
        mixed = self.attention(modulate(self.attention_norm(x), shift1, scale1), rope, keep, kept)
        x = torch.addcmul(x, gate1, mixed)

        def fed_forward(x: Tensor) -> Tensor:
            return torch.addcmul(x, gate2, self.ffn(modulate(self.ffn_norm(x), shift2, scale2)))

        return in_cache(fed_forward, x, dim=1)


class Generator(nn.Module):
    """Masked binary tokens and a condition in; for each token a vector that conditions the transcoder out."""

    rope: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.condition_tokens: ClassCondition | TextCondition = (
            ClassCondition(config.classes, config.dim)
            if config.text is None
            else TextCondition(config.text, config.dim)
        )
        self.token_embedding = nn.Linear(config.bits, config.dim)
        self.mask_token = normal(1, config.dim, std=0.02)
        self.ada = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.positions = normal(1, config.tokens, config.dim, std=0.02)
        self.transcoder: Head = make_head(config)
        head, length = config.dim // config.heads, self.condition_tokens.length
        rope = rope_table(config.grid, head, config.rope_base, length, turned=config.text is not None)
        self.register_buffer("rope", rope, persistent=False)
        if not self.positions.is_meta:
            self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.transcoder.initialise()

    def embed(self, codes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, K) codes, (B, L) mask → (B, L, D); masked places hold the mask token.

        With causal attention each place holds the token before it, and the first one the mask token.
        """
        tokens, bits = self.config.tokens, self.config.bits
        if codes.ndim != 3 or codes.shape[1:] != (tokens, bits):
            raise ValueError(f"codes: expected (B, {tokens}, {bits}), got {tuple(codes.shape)}")
        embedded: Tensor = self.token_embedding(codes.to(self.mask_token.dtype))
        embedded = embedded if mask is None else torch.where(mask[..., None], self.mask_token, embedded)
        if self.config.attention == "causal":
            return torch.cat([self.mask_token.expand(len(embedded), 1, -1), embedded[:, :-1]], dim=1)
        return embedded

    def _run_part(self, tokens: Tensor, prefix: Prefix, part: Part, kept: Sequence[KeysValues]) -> Tensor:
        """The residual stream of a part of the image's tokens (B, L, D) after all blocks, (B, n, D).

        Of the other tokens, and the condition, keys and values are taken as they are kept, and the part's kept in turn.
        """
        x = tokens.gather(1, part.places[..., None].expand(-1, -1, tokens.shape[2]))
        rope = self.rope[len(self.rope) - tokens.shape[1] :][part.places][:, None]  # (B, 1, n, d / 2, 2)
        length = prefix.tokens.shape[1]
        keep = None if prefix.keep is None else F.pad(prefix.keep, (0, tokens.shape[1]), value=True)[:, None, None]
        modulation = self.ada(prefix.pooled).unflatten(-1, (6, -1))
        for block, each in zip(self.blocks, kept, strict=True):
            x = block(x, modulation, rope, keep, partial(each.merged, prefix=length, part=part))
        return x

    def _run(
        self,
        tokens: Tensor,
        prefix: Prefix,
        layers: int,
        observe: Observer | None = None,
        kept: Sequence[KeysValues] = (),
    ) -> Tensor:
        """The residual stream of the image's tokens after so many blocks: (B, L, D)."""
        x = torch.cat([prefix.tokens, tokens], dim=1)
        rope = self.rope[len(self.rope) - x.shape[1] :]  # texts may be padded to less than they could be
        keep = self._keep(prefix, x)
        modulation = self.ada(prefix.pooled).unflatten(-1, (6, -1))  # (B, 1, 6, D)
        for number, block in enumerate(self.blocks[:layers]):
            each = (partial(kept[number].merged, prefix=0, part=None),) if kept else ()
            x = block(x, modulation, rope, keep, *each)
            if observe is not None:
                observe(number, x[:, prefix.tokens.shape[1] :])
        return x[:, prefix.tokens.shape[1] :]

    def _keep(self, prefix: Prefix, x: Tensor) -> Tensor | None:
        """Who attends to whom, padding to nobody: of shape (B or 1, 1, P + L or 1, P + L) bool, or None."""
        keep, (length, whole) = None, (prefix.tokens.shape[1], x.shape[1])
        if prefix.keep is not None:
            keep = F.pad(prefix.keep, (0, whole - length), value=True)[:, None, None]
        if self.config.attention == "causal":
            place = torch.arange(whole, device=x.device)
            back = (place <= place[:, None]) | (place < length)  # all see the whole condition, which sees no token
            keep = back[None, None] if keep is None else keep & back
        return keep

    def hidden(
        self,
        codes: Tensor,
        labels: Labels,
        layer: int,
        observe: Observer | None = None,
        *,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The residual stream after block `layer` (0 is the first): (B, L, D).

        No token is masked, or those of `mask` (B, L). With causal attention a place knows of the tokens before it only,
        and none of the last.
        `observe` is called after every block up to that one.

        Raises:
            ValueError: there is no such block.
        """
        if not 0 <= layer < len(self.blocks):
            raise ValueError(f"layer: expected 0 to {len(self.blocks) - 1}, got {layer}")
        return self._run(self.embed(codes, mask), self.condition_tokens(labels), layer + 1, observe)

    def condition(
        self,
        codes: Tensor,
        labels: Labels | Prefix,
        mask: Tensor,
        *,
        ratios: Ratios = (1.0,),
        observe: Observer | None = None,
        kept: Sequence[KeysValues] = (),
        part: Part | None = None,
    ) -> Tensor:
        """The transcoder's condition of every token; with causal attention, of what stands before it.

        Args:
            codes: (B, L, K) bool or 0/1; what stands at masked places does not matter.
            labels: (B,) int64 or texts, or a tuple of such, mixed by `ratios`; or the condition's tokens already.
            mask: (B, L) bool, True = masked.
            observe: called after every block, as in `hidden`.
            kept: one for each block, to keep its keys and values; without gradients and causal attention only.
            part: the tokens that are computed, beside what is kept of the others from a pass before.

        Returns:
            (B, L, D), or of a part (B, n, D)
        """
        prefix = labels if isinstance(labels, Prefix) else self.condition_tokens(labels, ratios)
        if part is not None:
            x = self._run_part(self.embed(codes, mask), prefix, part, kept)
            return self.norm(x) + self.positions[0][part.places]  # type: ignore[no-any-return]
        x = self._run(self.embed(codes, mask), prefix, len(self.blocks), observe, kept)
        return self.norm(x) + self.positions  # type: ignore[no-any-return]
