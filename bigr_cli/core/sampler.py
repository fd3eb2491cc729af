"""The one sampling loop: draws masked tokens, a few in each iteration (reference section 5).

Generating, inpainting, editing and enriching differ only in the known tokens and the settings that they give it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bigr_cli.core.condition import Labels, Prefix, Ratios, joined
from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.orders import certainty, fixed_ranks, is_fixed, ranks
from bigr_cli.core.random import Stream, gumbel, uniform
from bigr_cli.core.schedule import denoising_timesteps, guidance_at, gumbel_at, masked_count, timesteps_at
from bigr_cli.core.transformer import Generator

# Called after each iteration with its number (from 0), the codes (B, L, K) and what is still masked (B, L).
Observer = Callable[[int, Tensor, Tensor], None]

_BLOCK = 1 << 22  # random numbers drawn at once: bounds the memory, changes no number


class _Rows(NamedTuple):
    """The tokens of a batch that are worked on, one row each."""

    item: Tensor  # (N,) which picture
    position: Tensor  # (N,) which token of it
    seed: Tensor  # (N,) the picture's seed

    def at(self, where: Tensor) -> _Rows:
        """The rows that are True, or that have these numbers."""
        return _Rows(*(column[where] for column in self))


class _Chain(NamedTuple):
    """How the transcoder is walked: the settings of one iteration that it needs."""

    timesteps: list[int]
    guidance: float
    temperature: float
    tolerance: float
    iteration: int


@torch.no_grad()  # not inference_mode: callers may change the codes or train on them
def sample(
    generator: Generator,
    labels: Labels,
    seeds: Tensor,
    settings: SamplingConfig,
    *,
    known: tuple[Tensor, Tensor] | None = None,
    ratios: Ratios = (1.0,),
    against: Labels | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """Draw the codes of a batch of pictures.

    Args:
        generator: the transformer with its transcoder.
        labels: (B,) int64 or texts, or a tuple of such, mixed by `ratios`, each a number or (B,) numbers.
        seeds: (B,) int64; a picture depends on its own seed alone.
        settings: steps, guidance, order and so on.
        known: codes (B, L, K) and mask (B, L), True = masked, to be drawn; the others are kept as they are.
        against: labels of the same form that guidance leads away from; None is "no label".
        observe: called after every iteration.

    Returns:
        (B, L, K) bool codes.

    Raises:
        ValueError: shapes that do not fit the model, or more timesteps than it was trained with.
    """
    config = generator.config
    codes, masked = _start(generator, seeds, known)
    unknown = masked.sum(dim=1).tolist()
    fixed = fixed_ranks(settings.order, seeds, config.grid) if is_fixed(settings.order) else None
    prefix = _prefix(generator, labels, ratios, against)
    for i in range(settings.steps):
        remaining = torch.tensor([masked_count(count, i, settings.steps) for count in unknown], device=seeds.device)
        left = masked.sum(dim=1)
        quota = left - remaining  # (B,) how many tokens of each picture are settled now
        chosen = None
        if fixed is not None:
            chosen = _first(fixed.float(), masked, quota)
        elif bool((quota == left).all()):
            chosen = masked  # nothing to choose between
        rows = _rows(masked & (quota > 0)[:, None] if chosen is None else chosen, seeds)
        if len(rows.item) > 0:
            guidance = guidance_at(
                settings.guidance, settings.guidance_schedule, settings.guidance_interval, i, settings.steps
            )
            conds = _conditions(generator, codes, prefix, masked, guidance, rows)
            chain = _chain(settings, config.diffusion_timesteps, guidance, i)
            short = settings.rank_timesteps
            p: Tensor | None = None
            if chosen is None:
                ranking = chain
                if 0 < short < len(chain.timesteps):
                    ranking = chain._replace(timesteps=denoising_timesteps(config.diffusion_timesteps, short))
                p = _denoise(generator, conds, rows, ranking)
                chosen = _first(_keys(p, rows, masked, settings, i), masked, quota)
                settled = chosen[rows.item, rows.position]
                rows, conds = rows.at(settled), conds[:, settled]
                p = p[settled] if ranking is chain else None
            if p is None:
                p = _denoise(generator, conds, rows, chain)
            codes[rows.item, rows.position] = (
                uniform(rows.seed, Stream.BITS, rows.position, config.bits, iteration=i) < p
            )
            masked = masked & ~chosen
        if observe is not None:
            observe(i, codes, masked)
    return codes


def _start(generator: Generator, seeds: Tensor, known: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Codes (a copy) and mask to begin with."""
    config, batch = generator.config, len(seeds)
    shape = (batch, config.tokens, config.bits)
    if known is None:
        codes = torch.zeros(shape, dtype=torch.bool, device=seeds.device)
        return codes, torch.ones(shape[:2], dtype=torch.bool, device=seeds.device)
    codes, masked = known
    if codes.shape != shape or masked.shape != shape[:2]:
        raise ValueError(
            f"known: expected codes {shape} and mask {shape[:2]}, got {tuple(codes.shape)} and {tuple(masked.shape)}"
        )
    return codes.to(seeds.device).bool().clone(), masked.to(seeds.device).bool().clone()


def _first(keys: Tensor, masked: Tensor, quota: Tensor) -> Tensor:
    """The masked tokens with the smallest keys, as many as each picture's quota: (B, L) bool."""
    return (ranks(keys.masked_fill(~masked, torch.inf)) < quota[:, None]) & masked


def _chain(settings: SamplingConfig, trained: int, guidance: float, iteration: int) -> _Chain:
    count = timesteps_at(settings.timesteps, settings.last_timesteps, iteration, settings.steps)
    walked = denoising_timesteps(trained, count)
    return _Chain(walked, guidance, settings.temperature, settings.tolerance, iteration)


def _keys(p: Tensor, rows: _Rows, masked: Tensor, settings: SamplingConfig, iteration: int) -> Tensor:
    """By what masked tokens are ranked, the first to be settled first: (B, L)."""
    keys = -certainty(p, settings.order)
    noise = gumbel_at(settings.gumbel, settings.gumbel_schedule, iteration, settings.steps)
    if noise > 0:
        keys = keys - noise * gumbel(rows.seed, Stream.GUMBEL, rows.position, iteration=iteration)
    spread = keys.new_full(masked.shape, torch.inf)
    spread[rows.item, rows.position] = keys
    return spread


def _rows(where: Tensor, seeds: Tensor) -> _Rows:
    item, position = where.nonzero(as_tuple=True)
    return _Rows(item, position, seeds[item])


def _prefix(generator: Generator, labels: Labels, ratios: Ratios, against: Labels | None) -> Prefix:
    """The tokens of the condition, and after them, (2·B), those of what guidance leads away from."""
    null = generator.condition_tokens.null(labels) if against is None else against
    twice = tuple(ratio.repeat(2) if isinstance(ratio, Tensor) else ratio for ratio in ratios)
    prefix: Prefix = generator.condition_tokens(joined([labels, null]), twice)
    return prefix


def _conditions(
    generator: Generator, codes: Tensor, prefix: Prefix, masked: Tensor, guidance: float, rows: _Rows
) -> Tensor:
    """The transcoder's condition of the rows: (G, N, D), G = 1, or 2 when guidance compares two networks."""
    batch = len(codes)
    if guidance == 1:
        prefix = prefix.rows(slice(0, batch))
    elif guidance == 0:
        prefix = prefix.rows(slice(batch, None))
    count = len(prefix.tokens) // batch
    cond = generator.condition(codes.repeat(count, 1, 1), prefix, masked.repeat(count, 1))
    rowwise: Tensor = cond.unflatten(0, (count, -1))[:, rows.item, rows.position]
    return rowwise


def _denoise(generator: Generator, conds: Tensor, rows: _Rows, chain: _Chain) -> Tensor:
    """Walk the transcoder from noise to P(bit = 1) of each row: (N, K) float32."""
    transcoder, bits = generator.transcoder, generator.config.bits
    variants, count = conds.shape[:2]
    condition = transcoder.condition_embedding(conds)  # (G, N, W)
    walked = torch.tensor(chain.timesteps, device=conds.device)
    times = transcoder.timestep_embedding(walked - 1)  # (S, W)
    x = uniform(rows.seed, Stream.NOISE, rows.position, bits, iteration=chain.iteration) < 0.5
    found = conds.new_empty(count, bits, dtype=torch.float32)
    active = torch.arange(count, device=conds.device)  # the rows that are still walked on
    p: Tensor | None = None
    numbers: Tensor | None = None
    block = max(1, _BLOCK // max(1, count * bits))
    for step in range(len(walked)):
        context = (condition + times[step]).flatten(0, 1)
        logits = transcoder.denoise(x.repeat(variants, 1), context).float().unflatten(0, (variants, -1))
        logits = logits / chain.temperature
        flip = (logits[0] if variants == 1 else logits[1] + chain.guidance * (logits[0] - logits[1])).sigmoid()
        before = p if chain.tolerance > 0 else None
        p = torch.where(x, 1 - flip, flip)
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
        posterior = transcoder.posterior(x, p, walked[step : step + 1], walked[step + 1 : step + 2])
        x = numbers[step % block] < posterior  # type: ignore[index]
    found[active] = p  # type: ignore[assignment]
    return found
