"""The transcoder's network: a token's bits and its condition vector in, a logit for each bit out (reference section 3).

What the logits mean, and how bits are drawn by them, is a head's to say: see `heads`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.config import GeneratorConfig
from bigr_cli.core.layers import in_cache, modulate

_FREQUENCIES = 256


class TimestepEmbedding(nn.Module):
    """A sinusoid of 256 numbers, cosines first, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(N,) timesteps counted from 0 → (N, W)."""
        half = _FREQUENCIES // 2
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device).float() / half)
        angles = t.float()[:, None] * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(waves.to(next(self.parameters()).dtype))  # type: ignore[no-any-return]


class TranscoderBlock(nn.Module):
    """A gated two-layer network, modulated by the condition and the timestep."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.ada = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        shift, scale, gate = self.ada(activated).chunk(3, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        return torch.addcmul(x, gate, self.mlp(modulate(normed, shift, scale)))


class Transcoder(nn.Module):
    """A few gated layers between the bits that are known of a token, or guessed, and a logit for each bit."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.transcoder_width
        self.timestep_embedding = TimestepEmbedding(width)
        self.bit_embedding = nn.Linear(config.bits, width)
        self.condition_embedding = nn.Linear(config.dim, width)
        self.blocks = nn.ModuleList(TranscoderBlock(width) for _ in range(config.transcoder_layers))
        self.shared = nn.Identity()  # what all modulations get their input through
        self.final_ada = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, config.bits)

    def initialise(self) -> None:
        """Modulations and the last layer start at zero, so every block starts as the identity."""
        layers = [block.ada for block in self.blocks if isinstance(block, TranscoderBlock)]
        for layer in (*layers, self.final_ada, self.final):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def denoise(self, x_t: Tensor, context: Tensor) -> Tensor:
        """(N, K) bits, ½ where nothing is known, and (N, W) context, the sum of both embeddings → (N, K) logits."""
        return in_cache(self.network, context, x_t)

    def network(self, context: Tensor, x_t: Tensor) -> Tensor:
        """`denoise`, of all rows at once whatever their number."""
        activated = self.shared(F.silu(context))
        x = self.bit_embedding(2 * x_t.to(context.dtype) - 1)
        for block in self.blocks:
            x = block(x, activated)
        shift, scale = self.final_ada(activated).chunk(2, dim=-1)
        return self.final(modulate(F.layer_norm(x, x.shape[-1:], eps=1e-6), shift, scale))  # type: ignore[no-any-return]

    def logits(self, bits: Tensor, t: Tensor | int, cond: Tensor) -> Tensor:
        """The network's logits.

        Args:
            bits: (N, K) bits, ½ where nothing is known.
            t: (N,) int64 levels from 1, or one for all rows.
            cond: (N, D) condition vectors of the tokens.

        Returns:
            (N, K)
        """
        times = torch.as_tensor(t, device=cond.device).reshape(-1)
        return self.denoise(bits, self.condition_embedding(cond) + self.timestep_embedding(times - 1))
