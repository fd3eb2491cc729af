"""One iteration of drawing as it is published: plainly, without anything that makes it faster.

Sections 2, 3 and 5 of the paper's method, written down as they stand: every token of both halves of guidance goes
through all timesteps, known or not, and what does not depend on the state is computed anew each time. It takes the
weights of our network and nothing else from it, so that it is also a second opinion on what the network computes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bigr_cli.core.layers import Transcoder
from bigr_cli.core.network import Block, Generator
from bigr_cli.core.schedule import denoising_timesteps


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """(B, L, heads, d): pairs of neighbours turned by (L, d / 2, 2) cosines and sines."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    cos, sin = table[:, None, :, 0], table[:, None, :, 1]
    first, second = pairs[..., 0], pairs[..., 1]
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(3)


def transformer_block(block: Block, x: Tensor, modulation: Tensor, rope: Tensor, eps: float) -> Tensor:
    """x (B, 1 + L, D)."""
    shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + block.offsets).unbind(2)
    normed = rms(x, block.attention_norm.weight, eps) * (1 + scale1) + shift1
    q, k, v = block.attention.wqkv(normed).unflatten(-1, (3, block.attention.heads, -1)).unbind(2)
    q, k, v = rotated(q, rope).transpose(1, 2), rotated(k, rope).transpose(1, 2), v.transpose(1, 2)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + gate1 * block.attention.wo(mixed)
    normed = rms(x, block.ffn_norm.weight, eps) * (1 + scale2) + shift2
    ffn = block.ffn
    return x + gate2 * ffn.w2(F.silu(ffn.w1(normed)) * ffn.w3(normed))


def condition(generator: Generator, codes: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Codes (B, L, K), classes (B,) and mask (B, L) → the transcoder's condition (B, L, D)."""
    tokens = torch.where(mask[..., None], generator.mask_token, generator.token_embedding(codes.float()))
    first = generator.condition_tokens(labels).tokens
    x, modulation = torch.cat([first, tokens], dim=1), generator.ada(first).unflatten(-1, (6, -1))
    for block in generator.blocks:
        x = transformer_block(block, x, modulation, generator.rope, generator.config.norm_eps)
    return rms(x, generator.norm.weight, generator.config.norm_eps)[:, 1:] + generator.positions


def flip_logits(transcoder: Transcoder, x_t: Tensor, t: int, cond: Tensor) -> Tensor:
    """Bits (N, K) and conditions (N, D) → logits (N, K) of having been flipped."""
    times = torch.full((len(x_t),), t - 1, device=x_t.device)
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(128, device=x_t.device) / 128)
    angles = times[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
    activated = F.silu(transcoder.condition_embedding(cond) + transcoder.timestep_embedding.mlp(waves))
    x = transcoder.bit_embedding(2 * x_t.float() - 1)
    for block in transcoder.blocks:
        shift, scale, gate = block.ada(activated).chunk(3, dim=-1)
        x = x + gate * block.mlp(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
    shift, scale = transcoder.final_ada(activated).chunk(2, dim=-1)
    return transcoder.final(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)


def iteration(
    generator: Generator, codes: Tensor, labels: Tensor, mask: Tensor, *, guidance: float, timesteps: int
) -> Tensor:
    """P(bit = 1) of every token, (B · L, K), of images with classes (B,), codes (B, L, K) and mask (B, L)."""
    transcoder, config = generator.transcoder, generator.config
    both = torch.cat([labels, torch.full_like(labels, config.classes)])
    cond = condition(generator, codes.repeat(2, 1, 1), both, mask.repeat(2, 1)).flatten(0, 1)  # (2 B L, D)
    x_t = torch.rand(codes.flatten(0, 1).shape, device=codes.device) < 0.5
    walked = denoising_timesteps(config.diffusion_timesteps, timesteps)
    for t, s in zip(walked, [*walked[1:], 0], strict=True):
        with_label, without = flip_logits(transcoder, x_t.repeat(2, 1), t, cond).chunk(2)
        flipped = torch.sigmoid(without + guidance * (with_label - without))
        p = torch.where(x_t, 1 - flipped, flipped)
        if s == 0:
            break
        k, b = transcoder.schedule.k, transcoder.schedule.b
        prior, keep, bit = k[s] * p + b[s], k[t] / k[s], x_t.float()
        one = prior * (keep * bit + (1 - keep) / 2)
        zero = (1 - prior) * (keep * (1 - bit) + (1 - keep) / 2)
        x_t = torch.rand_like(one) < one / (one + zero)
    return p
