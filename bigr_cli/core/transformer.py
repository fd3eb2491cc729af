"""The bidirectional transformer over binary tokens (reference section 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.condition import ClassCondition, Labels, Ratios
from bigr_cli.core.config import GeneratorConfig
from bigr_cli.core.layers import RMSNorm, SwiGLU, modulate, normal
from bigr_cli.core.transcoder import Transcoder


def rope_table(grid: int, head_dim: int, base: float, prefix: int = 1) -> Tensor:
    """Cosines and sines of the two-dimensional rotary embedding: (prefix + grid², head_dim / 2, 2).

    The rows of the condition tokens are zeros, not (1, 0): the published weights were trained so.
    """
    # On the CPU by name, so that a model laid out on the meta device still gets its table.
    frequencies = base ** (-2 * torch.arange(head_dim // 4, device="cpu").float() / (head_dim // 2))
    angles = torch.arange(grid, device="cpu").float()[:, None] * frequencies  # (grid, head_dim / 4)
    rows, columns = angles[:, None].expand(-1, grid, -1), angles[None].expand(grid, -1, -1)
    both = torch.cat([rows, columns], dim=-1).flatten(0, 1)  # (grid², head_dim / 2)
    table = torch.stack([both.cos(), both.sin()], dim=-1)
    return torch.cat([table.new_zeros(prefix, *table.shape[1:]), table])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate consecutive pairs of (B, heads, L, d) by the (L, d/2, 2) table."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Bidirectional multi-head attention with rotary positions; q, k, v come from one matrix, without biases."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        # (B, L, 3D) → three of (B, heads, L, d)
        q, k, v = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q, rope), rotate(k, rope), v)
        return self.dropout(self.wo(mixed.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and SwiGLU, modulated by the shared adaLN plus the block's own offsets."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.offsets = normal(1, 1, 6, config.dim, std=config.dim**-0.5)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn = SwiGLU(config.dim, config.ffn_width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, modulation: Tensor, rope: Tensor) -> Tensor:
        """x (B, 1 + L, D), modulation (B, 1, 6, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offsets).unbind(2)
        x = x + self.dropout(gate1 * self.attention(modulate(self.attention_norm(x), shift1, scale1), rope))
        return x + self.dropout(gate2 * self.ffn(modulate(self.ffn_norm(x), shift2, scale2)))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Masked binary tokens and a condition in; for each token a vector that conditions the transcoder out."""

    rope: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.condition_tokens = ClassCondition(config.classes, config.dim)
        self.token_embedding = nn.Linear(config.bits, config.dim)
        self.mask_token = normal(1, config.dim, std=0.02)
        self.ada = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.positions = normal(1, config.tokens, config.dim, std=0.02)
        self.transcoder = Transcoder(config)
        rope = rope_table(config.grid, config.dim // config.heads, config.rope_base)
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
        """(B, L, K) codes, (B, L) mask → (B, L, D); masked places hold the mask token."""
        tokens, bits = self.config.tokens, self.config.bits
        if codes.ndim != 3 or codes.shape[1:] != (tokens, bits):
            raise ValueError(f"codes: expected (B, {tokens}, {bits}), got {tuple(codes.shape)}")
        embedded: Tensor = self.token_embedding(codes.to(self.mask_token.dtype))
        return embedded if mask is None else torch.where(mask[..., None], self.mask_token, embedded)

    def _run(self, tokens: Tensor, condition: Tensor, layers: int) -> Tensor:
        """The residual stream of the picture's tokens after so many blocks: (B, L, D)."""
        x = torch.cat([condition, tokens], dim=1)
        modulation = self.ada(condition[:, :1]).unflatten(-1, (6, -1))  # (B, 1, 6, D)
        for block in self.blocks[:layers]:
            x = block(x, modulation, self.rope)
        return x[:, condition.shape[1] :]

    def hidden(self, codes: Tensor, labels: Labels, layer: int) -> Tensor:
        """The residual stream after block `layer` (0 is the first), for unmasked codes: (B, L, D).

        Raises:
            ValueError: there is no such block.
        """
        if not 0 <= layer < len(self.blocks):
            raise ValueError(f"layer: expected 0 to {len(self.blocks) - 1}, got {layer}")
        return self._run(self.embed(codes, None), self.condition_tokens(labels), layer + 1)

    def condition(self, codes: Tensor, labels: Labels, mask: Tensor, *, ratios: Ratios = (1.0,)) -> Tensor:
        """The transcoder's condition of every token.

        Args:
            codes: (B, L, K) bool or 0/1; what stands at masked places does not matter.
            labels: (B,) int64, or a tuple of such, mixed by `ratios`.
            mask: (B, L) bool, True = masked.

        Returns:
            (B, L, D)
        """
        x = self._run(self.embed(codes, mask), self.condition_tokens(labels, ratios), len(self.blocks))
        return self.norm(x) + self.positions  # type: ignore[no-any-return]
