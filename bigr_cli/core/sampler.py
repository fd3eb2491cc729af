"""The one sampling loop: samples masked tokens, a few in each iteration (reference section 5).

Generating, inpainting, editing and enriching differ only in the known tokens and the settings that they give it.
Between two iterations few tokens change, so passes through the transformer may reuse what earlier ones computed (ReCAP,
arXiv 2505.19089): a full pass keeps the keys and values of all tokens in each block; until the next one, only those
tokens go through the blocks that have changed or whose prediction is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bigr_cli.core.conditions import Labels, Ratios, joined
from bigr_cli.core.config import SamplingConfig, taken_by
from bigr_cli.core.heads import Chain, Rows
from bigr_cli.core.layers import KeysValues, Part
from bigr_cli.core.network import Generator, Prefix
from bigr_cli.core.random import Stream, gumbel, uniform
from bigr_cli.core.representation import seen_scores
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
    negative: Labels | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """Sample the codes of a batch of images.

    Args:
        generator: the transformer with its transcoder. With causal attention it samples token i in iteration i, if that
            is masked, whatever `steps` and `order` say; known tokens count for those after them.
        labels: (B,) int64 or texts, or a tuple of such, mixed by `ratios`, each a number or (B,) numbers.
        seeds: (B,) int64; an image depends on its own seed alone.
        settings: steps, guidance, order and so on.
        known: codes (B, L, K) and mask (B, L), True = masked, to be sampled; the others are kept as they are.
        negative: the negative prompt, of the same form as `labels`; None is "no label".
        observe: called after every iteration.

    Returns:
        (B, L, K) bool codes.

    Raises:
        ValueError: shapes that do not fit the model, or more timesteps than it was trained with.
    """
    settings = taken_by(generator.config.attention, generator.config.tokens, settings)
    codes, masked = _start(generator, seeds, known)
    work = _Work(generator, _prefix(generator, labels, ratios, negative), seeds, settings, observe)
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
                unmasked = chosen[rows.item, rows.position]
                rows, conds = rows.at(unmasked), conds[:, unmasked]
                p = p[unmasked] if ranking is chain else None
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
    """By what masked tokens are ranked, the first to be unmasked first: (B, L)."""
    keys = -certainty(p, settings.order)
    if noise > 0:
        keys = keys - noise * gumbel(rows.seed, Stream.GUMBEL, rows.position, iteration=iteration)
    all_keys = keys.new_full(masked.shape, torch.inf)
    all_keys[rows.item, rows.position] = keys
    return all_keys


def _rows(where: Tensor, seeds: Tensor) -> Rows:
    item, position = where.nonzero(as_tuple=True)
    return Rows(item, position, seeds[item])


def _prefix(generator: Generator, labels: Labels, ratios: Ratios, negative: Labels | None) -> Prefix:
    """The tokens of the condition, and after them, (2·B), those of the negative prompt."""
    null = generator.condition_tokens.null(labels) if negative is None else negative
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


class _Kept(NamedTuple):
    """What is left of a full pass: each block's keys and values, the output (B, L, D), and which tokens were masked."""

    kind: int
    blocks: list[KeysValues]
    output: Tensor
    masked: Tensor


class Passes:
    """The transformer's passes over one batch, of which those in iterations that `interval` divides are full ones."""

    def __init__(self, generator: Generator, interval: int) -> None:
        self.generator, self.interval = generator, interval
        self._kept: _Kept | None = None

    def due(self, iteration: int, guidance: float) -> bool:
        """Whether a full pass is made now even if no token's prediction is needed.

        So an image does not depend on whether another one in its batch needs a pass.
        """
        return self.interval > 1 and self._fresh(iteration, guidance)

    def _fresh(self, iteration: int, guidance: float) -> bool:
        """Whether there is nothing to reuse, or it is too old."""
        return self._kept is None or self._kept.kind != _kind(guidance) or iteration % self.interval == 0

    def condition(
        self, codes: Tensor, prefix: Prefix, masked: Tensor, needed: Tensor, iteration: int, guidance: float
    ) -> Tensor:
        """The transcoder's condition, of which the tokens that are needed (B, L) are to be read: (B, L, D).

        Args:
            codes: as for `Generator.condition`; the prefix and the masked tokens (B, L) too.
            guidance: with 0, 1 and others the batch has different variants of the condition, which share nothing.
        """
        if self.interval == 1:
            return self.generator.condition(codes, prefix, masked)
        kept = self._kept
        if kept is None or self._fresh(iteration, guidance):
            blocks = [KeysValues() for _ in self.generator.blocks]
            output = self.generator.condition(codes, prefix, masked, kept=blocks)
            self._kept = _Kept(_kind(guidance), blocks, output, masked.clone())
            return output
        changed = kept.masked != masked
        active = (needed | changed) & needed.any(dim=1, keepdim=True)
        if not bool(active.any()):
            return kept.output
        part = _part(active)
        output = self.generator.condition(codes, prefix, masked, kept=kept.blocks, part=part)  # (B, n, D)
        where = part.places[..., None].expand_as(output)
        kept.output.scatter_(1, where, torch.where(part.valid[..., None], output, kept.output.gather(1, where)))
        kept.masked.copy_(torch.where(active, masked, kept.masked))
        return kept.output


def _kind(guidance: float) -> int:
    return int(guidance) if guidance in (0, 1) else 2


def _part(active: Tensor) -> Part:
    """The active tokens (B, L) of each image; where others have more, inactive ones fill up, which change nothing."""
    count = int(active.sum(dim=1).max())
    places = (~active).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    return Part(places, active.gather(1, places))
