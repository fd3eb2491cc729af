"""Layers that the networks share, and the transcoder, which is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.architectures import GeneratorConfig

_CACHED = 1 << 18  # numbers of one activation that a processor's cache holds beside what else it needs
_SCORES = 1 << 21  # numbers of attention's scores that it holds
_KEPT_SCORES = 1 << 23  # of them that training may keep for each layer: 16 MiB

_FREQUENCIES = 256


def in_cache(
    function: Callable[..., Tensor], *tensors: Tensor, dim: int = 0, numbers: int | None = None, most: int = _CACHED
) -> Tensor:
    """function(*tensors) where it treats all places of this dimension alike, on a CPU in blocks that stay in its cache.

    `numbers` is how many are there at once without blocks, those of the first tensor if not given, and `most` how many
    a block may have. Training keeps the intermediate values anyway, so it gets no blocks.
    """
    first = tensors[0]
    count = -(-(first.numel() if numbers is None else numbers) // most)
    if count <= 1 or first.device.type != "cpu" or torch.is_grad_enabled():
        return function(*tensors)
    return torch.cat([function(*parts) for parts in zip(*(t.chunk(count, dim) for t in tensors), strict=True)], dim)


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over (B, heads, L, d); `keep` bool says who attends to whom, None is all to all."""
    scores = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or (torch.is_grad_enabled() and scores > _KEPT_SCORES):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
    # There torch's kernel works in float32, block by block; products in bfloat16 are 2 to 5 times as fast.
    parts = [q, k, v] if keep is None else [q, k, v, keep.expand(*q.shape[:2], -1, -1)]
    flat = (part.flatten(0, 1) for part in parts)
    return in_cache(_mixed, *flat, numbers=scores, most=_SCORES).reshape(q.shape)


def _mixed(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if keep is not None:
        scores = scores.masked_fill(~keep, -torch.inf)
    mixed: Tensor = scores.softmax(dim=-1) @ v
    return mixed


def normal(*shape: int, std: float) -> nn.Parameter:
    """A parameter of that shape, sampled from a normal distribution."""
    values = torch.empty(shape)
    if not values.is_meta:  # there, sampling makes torch import its compiler: a second or two of every start
        nn.init.normal_(values, std=std)
    return nn.Parameter(values)


class Table(nn.Embedding):
    """An embedding that leaves its numbers alone on the meta device; see `normal`."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis, computed in float32."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, eps=self.eps).to(x.dtype) * self.weight


class SwiGLU(nn.Module):
    """w2(silu(w1 x) · w3 x), without biases."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.shared = nn.Identity()  # what w1 and w3 get their input through
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.shared(x)
        hidden: Tensor = F.silu(self.w1(shared))
        hidden *= self.w3(shared)  # in place: a new tensor of that size costs as much as the product
        return self.dropout(self.w2(hidden))  # type: ignore[no-any-return]


class SelfBlock(nn.Module):
    """A transformer block over (B, N, C), pre-norm, without positions; starts as the identity."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = RMSNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.ffn_norm = RMSNorm(channels)
        self.ffn = SwiGLU(channels, 32 * round(8 * channels / 3 / 32))
        for last in (self.out, self.ffn.w2):
            if not last.weight.is_meta:
                nn.init.zeros_(last.weight)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """`keep` (B, N) bool says which places are attended to; None is all."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if keep is None else keep[:, None, None]
        mixed = attend(q, k, v, mask).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        return x + self.ffn(self.ffn_norm(x))  # type: ignore[no-any-return]


class Part(NamedTuple):
    """Some of the tokens: their `places` (B, n) among the image's, each there once; what is not `valid` fills up."""

    places: Tensor
    valid: Tensor


class KeysValues:
    """A block's keys and values (B, heads, P + L, d), kept from pass to pass."""

    keys: Tensor
    values: Tensor

    def merged(self, keys: Tensor, values: Tensor, prefix: int, part: Part | None) -> tuple[Tensor, Tensor]:
        """Those of all tokens, kept from now on: all are given, or those of a part (B, heads, n, d)."""
        if part is None:
            self.keys, self.values = keys.clone(), values.clone()  # and not the larger tensors that they are views of
        else:
            where = (prefix + part.places)[:, None, :, None].expand_as(keys)
            valid = part.valid[:, None, :, None]
            for kept, new in ((self.keys, keys), (self.values, values)):
                kept.scatter_(2, where, torch.where(valid, new, kept.gather(2, where)))
        return self.keys, self.values


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x · (1 + scale) + shift."""
    return torch.addcmul(shift, x, 1 + scale)


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
        self._levels = config.diffusion_timesteps
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
        times = torch.as_tensor(t, device=cond.device).reshape(-1) - 1
        return self.denoise(bits, self.condition_embedding(cond) + self._embedded(times))

    def _embedded(self, times: Tensor) -> Tensor:
        """(N,) timesteps from 0 → (N, W); each level is embedded once, where there are more rows than levels."""
        if len(times) <= self._levels:
            return self.timestep_embedding(times)  # type: ignore[no-any-return]
        return self.timestep_embedding(torch.arange(self._levels, device=times.device))[times]  # type: ignore[no-any-return]
