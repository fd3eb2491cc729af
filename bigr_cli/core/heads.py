"""What the transcoder predicts of a token's bits, how they are sampled by it, and the loss it is trained with.

The published way is `FlipHead` (reference section 3). All heads have the same network with the same names of weights;
they differ in what goes in beside the condition, what the logits mean, the loss, and the denoising that ends in the
bits' probabilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.architectures import HEADS, GeneratorConfig, imported
from bigr_cli.core.layers import Transcoder
from bigr_cli.core.random import Stream, uniform
from bigr_cli.core.schedule import BernoulliSchedule, cosine_mask, denoising_timesteps, hidden_counts, ranks

_BLOCK = 1 << 22  # random numbers at once: bounds the memory, changes no number


def flip_loss(flip_logits: Tensor, flipped: Tensor) -> Tensor:
    """Weighted binary cross-entropy of the predicted flips, one value a bit: (N, K) float32.

    A token with few flips would teach mostly "nothing flips"; the weight balances flipped against kept bits by the
    token's own share f of flips: (1 − f) · target + f · (1 − target) + 1/K.
    """
    target = flipped.float()
    share = target.mean(dim=-1, keepdim=True)
    weight = (1 - share) * target + share * (1 - target) + 1 / target.shape[-1]
    return weight * _cross_entropy(flip_logits, target)


class Rows(NamedTuple):
    """The tokens of a batch that are worked on, one row each."""

    item: Tensor  # (N,) which image
    position: Tensor  # (N,) which token of it
    seed: Tensor  # (N,) the image's seed

    def at(self, where: Tensor) -> Rows:
        """The rows that are True, or that have these numbers."""
        return Rows(*(column[where] for column in self))


class Chain(NamedTuple):
    """How the transcoder is denoised: the settings of one iteration that it needs."""

    timesteps: list[int]  # as the head's `timesteps` gives them
    guidance: float
    temperature: float
    tolerance: float
    iteration: int


class Head(Transcoder, ABC):
    """The transcoder with a meaning: what it is trained to say, and how bits are sampled by what it says."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.bits = config.bits

    @abstractmethod
    def loss(self, cond: Tensor, bits: Tensor) -> Tensor:
        """The loss of each bit: (N, D) conditions of tokens, (N, K) bool bits → (N, K) float32; noise is torch's."""

    @abstractmethod
    def timesteps(self, count: int) -> list[int]:
        """The levels of a chain of so many timesteps, first to last. Raises ValueError for more than there can be."""

    @abstractmethod
    def denoised_probabilities(self, conds: Tensor, rows: Rows, chain: Chain) -> Tensor:
        """The probabilities by which the bits are sampled: (N, K) float32, P(bit = 1) of each row.

        A bit is 1 if its number in the stream BITS is below its probability, and the caller samples it. A head
        that itself goes on by such bits samples them by the same numbers, so the two always agree.

        Args:
            conds: (G, N, D), G = 1, or 2 with those of the negative prompt as the second.
            rows: the N tokens, whose random numbers depend on nothing else.
            chain: the settings, with `timesteps` from this head.
        """

    @abstractmethod
    def first_logits(self, cond: Tensor, rows: Rows) -> Tensor:
        """Logits of P(bit = 1) where nothing of a token is known: (N, D) conditions → (N, K) float32."""

    def _guided(self, bits: Tensor, context: Tensor, chain: Chain) -> Tensor:
        """Logits (N, K) float32 of the same (N, K) bits in each variant's context (G, N, W), tempered and mixed."""
        variants = len(context)
        logits = self.denoise(bits.repeat(variants, 1), context.flatten(0, 1)).float()
        if variants == 1:
            return logits / chain.temperature
        given, other = (logits / chain.temperature).chunk(2)
        return other + chain.guidance * (given - other)


class ChainHead(Head):
    """Heads that turn random bits into a token's, level by level, through a Bernoulli diffusion."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.trained = config.diffusion_timesteps
        self.schedule = BernoulliSchedule(self.trained)

    @abstractmethod
    def _loss(self, logits: Tensor, x_t: Tensor, x0: Tensor) -> Tensor:
        """The loss of each bit, all (N, K)."""

    @abstractmethod
    def _logit(self, x_t: Tensor, logits: Tensor) -> Tensor:
        """The logit of P(x_0 = 1), all (N, K)."""

    def _probability(self, x_t: Tensor, logits: Tensor) -> Tensor:
        return self._logit(x_t, logits).sigmoid()

    def loss(self, cond: Tensor, bits: Tensor) -> Tensor:
        t = torch.randint(1, self.trained + 1, (len(bits),), device=bits.device)
        x_t = torch.rand(bits.shape, device=bits.device) < self.schedule.noised(bits, t)
        return self._loss(self.logits(x_t, t, cond), x_t, bits)

    def timesteps(self, count: int) -> list[int]:
        return denoising_timesteps(self.trained, count)

    def posterior(self, x_t: Tensor, x0_prob: Tensor, t: Tensor | int, s: Tensor | int) -> Tensor:
        """P(x_s = 1 | x_t, P(x_0 = 1)) for s < t, both (N,) or of one element: (N, K)."""
        return self.schedule.posterior(x_t, x0_prob, t, s)

    def first_logits(self, cond: Tensor, rows: Rows) -> Tensor:
        noise = uniform(rows.seed, Stream.SCORE, rows.position, self.bits) < 0.5
        return self._logit(noise, self.logits(noise, self.trained, cond).float())

    def denoised_probabilities(self, conds: Tensor, rows: Rows, chain: Chain) -> Tensor:
        count, bits = conds.shape[1], self.bits
        condition = self.condition_embedding(conds)  # (G, N, W)
        walked = torch.tensor(chain.timesteps, device=conds.device)
        times = self.timestep_embedding(walked - 1)  # (S, W)
        x = uniform(rows.seed, Stream.NOISE, rows.position, bits, iteration=chain.iteration) < 0.5
        found = conds.new_empty(count, bits, dtype=torch.float32)
        active = torch.arange(count, device=conds.device)  # the rows that are still denoised further
        p: Tensor | None = None
        numbers: Tensor | None = None
        block = max(1, _BLOCK // max(1, count * bits))
        for step in range(len(walked)):
            before = p if chain.tolerance > 0 else None
            p = self._probability(x, self._guided(x, condition + times[step], chain))
            if step + 1 == len(walked):
                break
            if step % block == 0:
                ahead = walked[step + 1 : step + 1 + block]
                numbers = uniform(
                    rows.seed, Stream.TRANSCODER, rows.position, bits, iteration=chain.iteration, timesteps=ahead
                )
            if before is not None:
                moving = (p - before).abs().amax(dim=1) > chain.tolerance
                if not bool(moving.all()):
                    found[active[~moving]] = p[~moving]
                    active, x, p, condition = active[moving], x[moving], p[moving], condition[:, moving]
                    rows, numbers = rows.at(moving), numbers[:, moving]  # type: ignore[index]
                    if len(active) == 0:
                        break
            posterior = self.posterior(x, p, walked[step : step + 1], walked[step + 1 : step + 2])
            x = numbers[step % block] < posterior  # type: ignore[index]
        found[active] = p  # type: ignore[assignment]
        return found


class FlipHead(ChainHead):
    """Says of every bit how likely noise has flipped it: P(x_t ≠ x_0). The published way."""

    def flip_logits(self, x_t: Tensor, t: Tensor | int, cond: Tensor) -> Tensor:
        """Logits of P(x_t ≠ x_0): (N, K) noisy bits, timesteps 1 to T, (N,) or one, (N, D) conditions → (N, K)."""
        return self.logits(x_t, t, cond)

    def _loss(self, logits: Tensor, x_t: Tensor, x0: Tensor) -> Tensor:
        return flip_loss(logits, x_t != x0)

    def _probability(self, x_t: Tensor, logits: Tensor) -> Tensor:
        flip = logits.sigmoid()
        return torch.where(x_t, 1 - flip, flip)

    def _logit(self, x_t: Tensor, logits: Tensor) -> Tensor:
        return torch.where(x_t, -logits, logits)


class CleanHead(ChainHead):
    """Says of every bit how likely it is 1 without noise, P(x_0 = 1), in the same chain.

    Its loss is plain cross-entropy, with every level and every bit of the same weight. The weight of `flip_loss`
    balances flips, which are rare at low noise, against bits that stayed; a token's bits themselves are about as
    often 1 as 0, at any level, so here there is nothing to balance.

    So it learns P(x_0 = 1 | x_t), of which the bit's own noisy value is a part. The weights of `flip_loss` take that
    part out again, and the published step puts it back in. Here the step averages q(x_s | x_t, x_0) over x_0.
    """

    def _loss(self, logits: Tensor, x_t: Tensor, x0: Tensor) -> Tensor:
        return _cross_entropy(logits, x0)

    def _logit(self, x_t: Tensor, logits: Tensor) -> Tensor:
        return logits

    def posterior(self, x_t: Tensor, x0_prob: Tensor, t: Tensor | int, s: Tensor | int) -> Tensor:
        one, zero = (self.schedule.posterior(x_t, torch.full_like(x0_prob, bit), t, s) for bit in (1.0, 0.0))
        return torch.lerp(zero, one, x0_prob)


class PlainHead(Head):
    """Heads that are given bits without noise, and ½ for each that is not known, which is 0 in the network.

    `unknown` is the level at which none is.
    """

    unknown: int

    def initialise(self) -> None:
        """Without a bias such a token would be all zeros, and the last layers, which are zeros too, would stay so."""
        super().initialise()
        nn.init.normal_(self.bit_embedding.bias, std=0.02)

    def first_logits(self, cond: Tensor, rows: Rows) -> Tensor:
        return self.logits(_unknown((len(cond), self.bits), cond), self.unknown, cond).float()


class DirectHead(PlainHead):
    """Says P(bit = 1) of all bits at once, from the condition alone: they are sampled independently of each other.

    A chain has one step, however many are asked for.
    """

    unknown = 1

    def loss(self, cond: Tensor, bits: Tensor) -> Tensor:
        return _cross_entropy(self.logits(_unknown(bits.shape, cond), self.unknown, cond), bits)

    def timesteps(self, count: int) -> list[int]:
        return [self.unknown]

    def denoised_probabilities(self, conds: Tensor, rows: Rows, chain: Chain) -> Tensor:
        time = self.timestep_embedding(torch.zeros(1, dtype=torch.int64, device=conds.device))
        nothing = _unknown((conds.shape[1], self.bits), conds)
        return self._guided(nothing, self.condition_embedding(conds) + time, chain).sigmoid()


class MaskedBitsHead(PlainHead):
    """Reveals a token's bits in a few rounds, each from those revealed before it (as BAR does, arXiv 2602.09024).

    A timestep is a round, of which there are at most K. Which bits come first is chance, for each token anew. The
    level that the network is told is the number of bits still hidden. `Chain.tolerance` has no effect.

    The loss is the mean cross-entropy of the hidden bits, so that every token weighs the same however many they are;
    the share of them follows the cosine by which tokens are masked.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.unknown = config.bits

    def loss(self, cond: Tensor, bits: Tensor) -> Tensor:
        count, width = bits.shape
        hidden = cosine_mask(torch.randint(width, (count,), device=bits.device), count, width)
        left = hidden.sum(dim=1)
        given = torch.where(hidden, _unknown(bits.shape, cond), bits.to(cond.dtype))
        per_bit = _cross_entropy(self.logits(given, left, cond), bits)
        return per_bit * hidden * (width / left[:, None])

    def timesteps(self, count: int) -> list[int]:
        return hidden_counts(self.bits, count)

    def denoised_probabilities(self, conds: Tensor, rows: Rows, chain: Chain) -> Tensor:
        condition = self.condition_embedding(conds)  # (G, N, W)
        times = self.timestep_embedding(torch.tensor(chain.timesteps, device=conds.device) - 1)  # (R, W)
        place = ranks(uniform(rows.seed, Stream.REVEAL, rows.position, self.bits, iteration=chain.iteration))
        numbers = uniform(rows.seed, Stream.BITS, rows.position, self.bits, iteration=chain.iteration)
        given = _unknown(place.shape, conds)
        found = torch.zeros_like(numbers)
        for step, (before, after) in enumerate(zip(chain.timesteps, [*chain.timesteps[1:], 0], strict=True)):
            p = self._guided(given, condition + times[step], chain).sigmoid()
            shown = (after <= place) & (place < before)
            found = torch.where(shown, p, found)
            given = torch.where(shown, (numbers < p).to(given.dtype), given)
        return found


def make_head(config: GeneratorConfig) -> Head:
    """The transcoder that a generator's config asks for."""
    made: Head = imported(HEADS[config.head])(config)
    return made


def _unknown(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Bits of which nothing is known: ½, which the network's input maps to 0."""
    return like.new_full(shape, 0.5)


def _cross_entropy(logits: Tensor, bits: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), bits.float(), reduction="none")
