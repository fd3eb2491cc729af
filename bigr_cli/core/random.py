"""Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC 2011) in torch integer arithmetic.

A number depends on its key and counter alone, never on how many were sampled before it. That is why an image does not
depend on the batch it was made in, nor on the device.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Stream(IntEnum):
    """What a random number is for: numbers of different streams are independent."""

    NOISE = 0
    TRANSCODER = 1
    BITS = 2
    GUMBEL = 3
    ORDER = 4
    ENCODE = 5
    SCORE = 6
    REVEAL = 7


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox 4x32-10. All words are int64 tensors with values in [0, 2^32), broadcast against each other.

    Returns the four output words, int64 in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The product wraps modulo 2^64, and the arithmetic shift is masked, so both halves come out right.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & _MASK) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32 & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = k0 + _WEYL[0] & _MASK, k1 + _WEYL[1] & _MASK
    return c0, c1, c2, c3


def uniform(
    seeds: Tensor,
    stream: Stream,
    positions: Tensor,
    width: int,
    *,
    iteration: int = 0,
    timesteps: Tensor | None = None,
) -> Tensor:
    """Uniform float32 numbers in (0, 1), multiples of 2^-23 shifted by half a step.

    Args:
        seeds: (N,) int64, the seed of the image that each row belongs to.
        stream: what the numbers are for.
        positions: (N,) int64, each row's place in its image.
        width: how many numbers a row gets.
        iteration: the sampler's iteration.
        timesteps: (S,) int64 or None.

    Returns:
        (N, width), or (S, N, width) when timesteps are given.
    """
    quads = -(-width // 4)
    quad = torch.arange(quads, device=seeds.device)
    place = (positions[:, None] * quads + quad)[None]  # (1, N, quads)
    times = torch.zeros(1, dtype=torch.int64, device=seeds.device) if timesteps is None else timesteps
    zero = torch.zeros((), dtype=torch.int64, device=seeds.device)
    counter = (place, times[:, None, None], zero + iteration, zero + int(stream))
    key = ((seeds & _MASK)[None, :, None], (seeds >> 32 & _MASK)[None, :, None])
    words = torch.stack(philox(counter, key), dim=-1)  # (S, N, quads, 4)
    numbers = ((words >> 9).float() + 0.5) * 2.0**-23  # 23 bits and the half are exact in float32
    numbers = numbers.flatten(-2)[..., :width]
    return numbers[0] if timesteps is None else numbers


def gumbel(seeds: Tensor, stream: Stream, positions: Tensor, *, iteration: int = 0) -> Tensor:
    """One standard Gumbel number for each row: (N,) seeds and positions → (N,) float32."""
    return -torch.log(-torch.log(uniform(seeds, stream, positions, 1, iteration=iteration)[:, 0]))
