"""The transformer over binary tokens (reference section 2), which looks in both directions, or only back."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.condition import ClassCondition, Labels, Prefix, Ratios
from bigr_cli.core.config import GeneratorConfig
from bigr_cli.core.heads import Head, make_head
from bigr_cli.core.layers import RMSNorm, SwiGLU, attend, in_cache, modulate, normal
from bigr_cli.core.text import TextCondition

Observer = Callable[[int, Tensor], None]  # called after a block with its number and what `hidden` gives of it


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


class Attention(nn.Module):
    """Multi-head attention with rotary positions; q, k, v come from one matrix, without biases."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rope: Tensor, keep: Tensor | None = None) -> Tensor:
        # (B, L, 3D) → three of (B, heads, L, d)
        both, (v,) = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).split((2, 1))
        q, k = rotate(both, rope)
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

    def forward(self, x: Tensor, modulation: Tensor, rope: Tensor, keep: Tensor | None = None) -> Tensor:
        """x (B, P + L, D), modulation (B, 1, 6, D); `keep` bool: who attends to whom.

        `keep` goes with (B, heads, P + L, P + L); None is everybody to everybody.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offsets).unbind(2)
        mixed = self.attention(modulate(self.attention_norm(x), shift1, scale1), rope, keep)
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

    def _run(self, tokens: Tensor, prefix: Prefix, layers: int, observe: Observer | None = None) -> Tensor:
        """The residual stream of the picture's tokens after so many blocks: (B, L, D)."""
        x = torch.cat([prefix.tokens, tokens], dim=1)
        rope = self.rope[len(self.rope) - x.shape[1] :]  # texts may be padded to less than they could be
        keep = self._keep(prefix, x)
        modulation = self.ada(prefix.pooled).unflatten(-1, (6, -1))  # (B, 1, 6, D)
        for number, block in enumerate(self.blocks[:layers]):
            x = block(x, modulation, rope, keep)
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

    def hidden(self, codes: Tensor, labels: Labels, layer: int, observe: Observer | None = None) -> Tensor:
        """The residual stream after block `layer` (0 is the first), for unmasked codes: (B, L, D).

        With causal attention a place knows of the tokens before it only, and none of the last.
        `observe` is called after every block up to that one.

        Raises:
            ValueError: there is no such block.
        """
        if not 0 <= layer < len(self.blocks):
            raise ValueError(f"layer: expected 0 to {len(self.blocks) - 1}, got {layer}")
        return self._run(self.embed(codes, None), self.condition_tokens(labels), layer + 1, observe)

    def condition(self, codes: Tensor, labels: Labels | Prefix, mask: Tensor, *, ratios: Ratios = (1.0,)) -> Tensor:
        """The transcoder's condition of every token; with causal attention, of what stands before it.

        Args:
            codes: (B, L, K) bool or 0/1; what stands at masked places does not matter.
            labels: (B,) int64 or texts, or a tuple of such, mixed by `ratios`; or the condition's tokens already.
            mask: (B, L) bool, True = masked.

        Returns:
            (B, L, D)
        """
        prefix = labels if isinstance(labels, Prefix) else self.condition_tokens(labels, ratios)
        x = self._run(self.embed(codes, mask), prefix, len(self.blocks))
        return self.norm(x) + self.positions  # type: ignore[no-any-return]
