"""Schedules, all pure functions: noise, masking and guidance; and the orders in which tokens are unmasked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bigr_cli.core.config import GuidanceSchedule, GumbelSchedule, MaskSchedule, Order
from bigr_cli.core.random import Stream, uniform


class BernoulliSchedule(nn.Module):
    """q(x_t = 1 | x_0) = k_t x_0 + b_t, with β_t = 1 − 1/(T − t + 1); index 0 is "no noise".

    `beta`, `k` and `b` are float32 tables of T + 1 numbers.
    """

    beta: Tensor
    k: Tensor
    b: Tensor

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        # Python floats, not tensors, so that a model laid out on the meta device still gets its tables.
        beta, k, b = [1.0], [1.0], [0.0]
        for t in range(1, timesteps + 1):
            beta.append(1 - 1 / (timesteps - t + 1))
            k.append(k[-1] * beta[-1])
            b.append(beta[-1] * b[-1] + (1 - beta[-1]) / 2)
        for name, table in (("beta", beta), ("k", k), ("b", b)):
            self.register_buffer(name, torch.tensor(table, dtype=torch.float32, device="cpu"), persistent=False)

    def _at(self, table: Tensor, t: Tensor | int) -> Tensor:
        """The entries at timesteps (N,), or at one for all rows, as a column."""
        return table[torch.as_tensor(t, device=table.device)].reshape(-1, 1)

    def noised(self, x0: Tensor, t: Tensor | int) -> Tensor:
        """q(x_t = 1 | x_0): (N, K) bits or probabilities and timesteps, (N,) or one for all rows → (N, K)."""
        return self._at(self.k, t) * x0.float() + self._at(self.b, t)

    def posterior(self, x_t: Tensor, x0_prob: Tensor, t: Tensor | int, s: Tensor | int) -> Tensor:
        """P(x_s = 1 | x_t) when x_0 = 1 has probability `x0_prob`, for timesteps s < t: (N, K)."""
        prior = self.noised(x0_prob, s)
        keep = self._at(self.k, t) / self._at(self.k, s)  # product of β over s + 1 .. t
        bit = x_t.to(prior.dtype)
        if_one = prior * (keep * bit + (1 - keep) / 2)
        if_zero = (1 - prior) * (keep * (1 - bit) + (1 - keep) / 2)
        return if_one / (if_one + if_zero)


def denoising_timesteps(total: int, count: int) -> list[int]:
    """`count` = S timesteps of the reverse process, from `total` = T down to 1: 1 + ⌊linspace(0, 1, S) (T − 1)⌋.

    They are truncated in double precision, as the published code does it: for 21 of 256 counts the list is not the
    one that exact arithmetic gives. One timestep alone is 1, which predicts the bits without denoising them.

    Raises:
        ValueError: count is not in 1..total.
    """
    if not 1 <= count <= total:
        raise ValueError(f"timesteps: expected 1 to {total}, got {count}")
    if count in (1, total):
        return list(range(count, 0, -1))
    step = 1 / (count - 1)
    return [total, *(1 + int(i * step * (total - 1)) for i in reversed(range(count - 1)))]


def hidden_counts(bits: int, rounds: int) -> list[int]:
    """How many bits of a token are hidden before each round: along a cosine, as tokens are masked, and fewer each time.

    More rounds than bits are as many as there are bits.

    Raises:
        ValueError: no round at all.
    """
    if rounds < 1:
        raise ValueError(f"timesteps: expected at least 1, got {rounds}")
    rounds, counts = min(rounds, bits), [bits]
    for i in range(rounds - 1):
        counts.append(min(counts[-1] - 1, max(rounds - 1 - i, masked_count(bits, i, rounds))))
    return counts


def cosine_mask(sampled: Tensor, rows: int, width: int, inside: Tensor | None = None) -> Tensor:
    """(rows, width) bool: max(1, ⌊n · cos(πr / 2)⌋) of the n places of each row, at random.

    `sampled` are r · width, (rows,) int64 from 0 to width − 1, or (1,) for all rows. The places are all, or those that
    are `inside` (rows, width), of which each row has at least one.
    """
    keys, places = torch.rand(rows, width, device=sampled.device), torch.tensor(width, device=sampled.device)
    if inside is not None:
        keys, places = keys.masked_fill(~inside, torch.inf), inside.sum(dim=1)
    counts = (places * torch.cos(math.pi / 2 * sampled / width)).floor().clamp_min(1)
    return keys.argsort(dim=1).argsort(dim=1) < counts[:, None]


def timesteps_at(first: int, last: int, iteration: int, steps: int) -> int:
    """How many timesteps the chains of this iteration have: from `first` evenly to `last`; 0 is `first` too."""
    if not last or steps == 1:
        return first
    return first + round((last - first) * iteration / (steps - 1))


def masked_count(unknown: int, iteration: int, steps: int, schedule: MaskSchedule = "cosine") -> int:
    """How many of the unknown tokens U are still masked after this iteration (from 0) of N.

    ⌊U cos(π (i + 1) / 2N)⌋, or with "linear" ⌊U (1 − (i + 1) / N)⌋, rounded down as the published code rounds.
    """
    if iteration >= steps - 1:
        return 0
    share = (iteration + 1) / steps
    return math.floor(unknown * (1 - share if schedule == "linear" else math.cos(math.pi / 2 * share)))


def guidance_at(
    scale: float, schedule: GuidanceSchedule, interval: tuple[float, float], iteration: int, steps: int
) -> float:
    """The guidance of this iteration; 1, which is none, outside the interval (shares of the iterations)."""
    if not interval[0] <= iteration / steps < interval[1]:
        return 1.0
    share = (iteration + 1) / steps
    if schedule == "linear":
        return 1 + (scale - 1) * share
    if schedule == "cosine":
        return 1 + (scale - 1) * (1 - math.cos(math.pi * share)) / 2
    return scale


def gumbel_at(scale: float, schedule: GumbelSchedule, iteration: int, steps: int) -> float:
    """The weight of the Gumbel noise in this iteration."""
    share = (iteration + 1) / steps
    if schedule == "up":
        return scale * share
    if schedule == "down":
        return scale * (1 - share)
    return scale


def certainty(probabilities: Tensor, order: Order) -> Tensor:
    """How certain a token is: (N, K) probabilities of its bits → (N,), larger is more certain.

    "entropy" is 1 minus the mean entropy of the bits in bits, as in the paper; "confidence" is mean |2P − 1|, as in
    the published code. Both run from 0 to 1.
    """
    if order == "confidence":
        return (2 * probabilities - 1).abs().mean(dim=-1)
    p = probabilities.clamp(1e-7, 1 - 1e-7)
    entropy = -(p * p.log2() + (1 - p) * (1 - p).log2())
    return 1 - entropy.mean(dim=-1)


def is_fixed(order: Order) -> bool:
    """Whether the order is known before anything is predicted."""
    return order in ("halton", "random", "raster")


def fixed_ranks(order: Order, seeds: Tensor, grid: int) -> Tensor:
    """The place of every token in a fixed order: (B,) seeds → (B, L) int64, 0 comes first."""
    tokens = grid * grid
    if order == "random":
        batch = len(seeds)
        positions = torch.arange(tokens, device=seeds.device).repeat(batch)
        numbers = uniform(seeds.repeat_interleave(tokens), Stream.ORDER, positions, 1).view(batch, tokens)
        return ranks(numbers)
    if order == "halton":
        sequence = torch.tensor(halton_sequence(grid), device=seeds.device)
        return torch.argsort(sequence).expand(len(seeds), -1)
    return torch.arange(tokens, device=seeds.device).expand(len(seeds), -1)


def ranks(keys: Tensor) -> Tensor:
    """(B, L) sort keys → (B, L) int64, the rank of each in its row, 0 for the smallest; ties go by position."""
    return keys.argsort(dim=-1, stable=True).argsort(dim=-1)


def halton_sequence(grid: int) -> list[int]:
    """All cells of a grid in the order in which the 2-D Halton sequence (bases 2 and 3) first visits them."""
    order: dict[int, None] = {}
    index = 0
    while len(order) < grid * grid:
        index += 1
        row, column = int(_radical_inverse(index, 2) * grid), int(_radical_inverse(index, 3) * grid)
        order.setdefault(row * grid + column)
    return list(order)


def _radical_inverse(index: int, base: int) -> float:
    """The digits of `index`, mirrored behind the point."""
    result, share = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        result += digit * share
        share /= base
    return result
