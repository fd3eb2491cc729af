"""The one sampling loop: draws masked tokens, a few in each iteration (reference section 5).

Generating, inpainting, editing and enriching differ only in the known tokens and the settings that they give it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bigr_cli.core.config import SamplingConfig, taken_by
from bigr_cli.core.heads import Chain, Rows
from bigr_cli.core.likelihood import seen_scores
from bigr_cli.core.network import Generator, Labels, Prefix, Ratios, joined
from bigr_cli.core.random import Stream, gumbel, uniform
from bigr_cli.core.reuse import Passes
from bigr_cli.core.schedule import (
    certainty,
    fixed_ranks,
    guidance_at,
    gumbel_at,
    is_fixed,
    masked_count,
    ranks,
    timesteps_at,
)

# Called after each iteration with its number (from 0), the codes (B, L, K) and what is still masked (B, L).
Observer = Callable[[int, Tensor, Tensor], None]


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
    """Draw the codes of a batch of images.

    Args:
        generator: the transformer with its transcoder. With causal attention it draws token i in iteration i, if that
            is masked, whatever `steps` and `order` say; known tokens count for those after them.
        labels: (B,) int64 or texts, or a tuple of such, mixed by `ratios`, each a number or (B,) numbers.
        seeds: (B,) int64; an image depends on its own seed alone.
        settings: steps, guidance, order and so on.
        known: codes (B, L, K) and mask (B, L), True = masked, to be drawn; the others are kept as they are.
        against: labels of the same form that guidance leads away from; None is "no label".
        observe: called after every iteration.

    Returns:
        (B, L, K) bool codes.

    Raises:
        ValueError: shapes that do not fit the model, or more timesteps than it was trained with.
    """
    settings = taken_by(generator.config, settings)
    codes, masked = _start(generator, seeds, known)
    work = _Work(generator, _prefix(generator, labels, ratios, against), seeds, settings, observe)
    codes = _unmask(work, codes, masked)
    for number in range(settings.corrections):
        codes = _unmask(work, codes, _least_likely(work, codes, masked), correction=number + 1)
    return codes


class _Work(NamedTuple):
    """What stays the same through a call of `sample`."""

    generator: Generator
    prefix: Prefix
    seeds: Tensor
    settings: SamplingConfig
    observe: Observer | None


def _unmask(work: _Work, codes: Tensor, masked: Tensor, *, correction: int = 0) -> Tensor:
    """The codes (B, L, K) with the masked tokens (B, L) sampled; `codes` is changed in place.

    Corrections, numbered from 1, have the guidance, the noise and the timesteps of the last iteration throughout.
    """
    generator, prefix, seeds, settings, observe = work
    config = generator.config
    steps, before = settings.steps, 0  # `before` are the iterations so far, by which random numbers are keyed
    if correction:
        steps, before = settings.correction_steps, settings.steps + (correction - 1) * settings.correction_steps
    unknown = masked.sum(dim=1).tolist()
    passes = Passes(generator, settings.cache_interval)
    fixed = fixed_ranks(settings.order, seeds, config.grid) if is_fixed(settings.order) else None
    for i in range(steps):
        like, iteration = settings.steps - 1 if correction else i, before + i
        remaining = [masked_count(count, i, steps, settings.mask_schedule) for count in unknown]
        left = masked.sum(dim=1)
        quota = left - torch.tensor(remaining, device=seeds.device)  # (B,) how many tokens are unmasked now
        chosen = None
        if config.attention == "causal":
            chosen = masked & (torch.arange(config.tokens, device=seeds.device) == i)
        elif fixed is not None:
            chosen = _first(fixed.float(), masked, quota)
        elif bool((quota == left).all()):
            chosen = masked  # nothing to choose between
        needed = masked & (quota > 0)[:, None] if chosen is None else chosen
        rows = _rows(needed, seeds)
        guidance = guidance_at(
            settings.guidance, settings.guidance_schedule, settings.guidance_interval, like, settings.steps
        )
        if len(rows.item) > 0 or passes.due(i, guidance):
            conds = _conditions(passes, codes, prefix, masked, needed, guidance, i)[:, rows.item, rows.position]
        if len(rows.item) > 0:
            count = timesteps_at(settings.timesteps, settings.last_timesteps, like, settings.steps)
            walked = generator.transcoder.timesteps(count)
            chain = Chain(walked, guidance, settings.temperature, settings.tolerance, iteration)
            short = settings.rank_timesteps
            p: Tensor | None = None
            if chosen is None:
                ranking = chain
                if 0 < short < len(chain.timesteps):
                    ranking = chain._replace(timesteps=generator.transcoder.timesteps(short))
                p = generator.transcoder.denoised_probabilities(conds, rows, ranking)
                noise = gumbel_at(settings.gumbel, settings.gumbel_schedule, like, settings.steps)
                chosen = _first(_keys(p, rows, masked, settings, noise, iteration), masked, quota)
                settled = chosen[rows.item, rows.position]
                rows, conds = rows.at(settled), conds[:, settled]
                p = p[settled] if ranking is chain else None
            if p is None:
                p = generator.transcoder.denoised_probabilities(conds, rows, chain)
            codes[rows.item, rows.position] = (
                uniform(rows.seed, Stream.BITS, rows.position, config.bits, iteration=iteration) < p
            )
            masked = masked & ~chosen
        if observe is not None:
            observe(iteration, codes, masked)
    return codes


def _least_likely(work: _Work, codes: Tensor, free: Tensor) -> Tensor:
    """Of the tokens that may change (B, L), the share that the model finds least likely beside the others.

    Without guidance, which is sampling without a label, it is asked without one too.
    """
    batch, share = len(codes), work.settings.correction_share
    plain = work.prefix.rows(slice(batch, None) if work.settings.guidance == 0 else slice(0, batch))
    scores = seen_scores(work.generator, codes, plain, torch.zeros_like(free), work.seeds)
    quota = [math.ceil(share * count) for count in free.sum(dim=1).tolist()]
    return _first(scores, free, torch.tensor(quota, device=free.device))


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
    """The masked tokens with the smallest keys, as many as each image's quota: (B, L) bool."""
    return (ranks(keys.masked_fill(~masked, torch.inf)) < quota[:, None]) & masked


def _keys(p: Tensor, rows: Rows, masked: Tensor, settings: SamplingConfig, noise: float, iteration: int) -> Tensor:
    """By what masked tokens are ranked, the first to be settled first: (B, L)."""
    keys = -certainty(p, settings.order)
    if noise > 0:
        keys = keys - noise * gumbel(rows.seed, Stream.GUMBEL, rows.position, iteration=iteration)
    spread = keys.new_full(masked.shape, torch.inf)
    spread[rows.item, rows.position] = keys
    return spread


def _rows(where: Tensor, seeds: Tensor) -> Rows:
    item, position = where.nonzero(as_tuple=True)
    return Rows(item, position, seeds[item])


def _prefix(generator: Generator, labels: Labels, ratios: Ratios, against: Labels | None) -> Prefix:
    """The tokens of the condition, and after them, (2·B), those of what guidance leads away from."""
    null = generator.condition_tokens.null(labels) if against is None else against
    twice = tuple(ratio.repeat(2) if isinstance(ratio, Tensor) else ratio for ratio in ratios)
    prefix: Prefix = generator.condition_tokens(joined([labels, null]), twice)
    return prefix


def _conditions(
    passes: Passes, codes: Tensor, prefix: Prefix, masked: Tensor, needed: Tensor, guidance: float, iteration: int
) -> Tensor:
    """The transcoder's condition of the tokens needed: (G, B, L, D), G = 1, or 2 if guidance compares two networks."""
    batch = len(codes)
    if guidance == 1:
        prefix = prefix.rows(slice(0, batch))
    elif guidance == 0:
        prefix = prefix.rows(slice(batch, None))
    count = len(prefix.tokens) // batch
    given = codes.repeat(count, 1, 1), prefix, masked.repeat(count, 1), needed.repeat(count, 1)
    cond: Tensor = passes.condition(*given, iteration, guidance).unflatten(0, (count, -1))
    return cond
