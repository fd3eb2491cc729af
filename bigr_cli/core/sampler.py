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
from bigr_cli.core.schedule import denoising_timesteps, guidance_at, gumbel_at, masked_count
from bigr_cli.core.transformer import Generator

# Called after each iteration with its number (from 0), the codes (B, L, K) and what is still masked (B, L).
Observer = Callable[[int, Tensor, Tensor], None]

_BLOCK = 1 << 22  # random numbers drawn at once: bounds the memory, changes no number


class _Rows(NamedTuple):
    """The tokens of a batch that are worked on, one row each."""

    item: Tensor  # (N,) which picture
    position: Tensor  # (N,) which token of it
    seed: Tensor  # (N,) the picture's seed


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
    timesteps = denoising_timesteps(config.diffusion_timesteps, settings.timesteps)
    prefix = _prefix(generator, labels, ratios, against)
    for i in range(settings.steps):
        remaining = torch.tensor([masked_count(count, i, settings.steps) for count in unknown], device=seeds.device)
        quota = masked.sum(dim=1) - remaining  # (B,) how many tokens of each picture are settled now
        if fixed is not None:
            chosen = _first(fixed.float(), masked, quota)
            rows = _rows(chosen, seeds)
        else:
            rows = _rows(masked & (quota > 0)[:, None], seeds)
        if len(rows.item) > 0:
            guidance = guidance_at(
                settings.guidance, settings.guidance_schedule, settings.guidance_interval, i, settings.steps
            )
            conds = _conditions(generator, codes, prefix, masked, guidance, rows)
            p = _denoise(generator, conds, guidance, settings.temperature, timesteps, rows, i)
            if fixed is None:
                noise = gumbel_at(settings.gumbel, settings.gumbel_schedule, i, settings.steps)
                keys = -certainty(p, settings.order)
                if noise > 0:
                    keys = keys - noise * gumbel(rows.seed, Stream.GUMBEL, rows.position, iteration=i)
                spread = keys.new_full(masked.shape, torch.inf)
                spread[rows.item, rows.position] = keys
                chosen = _first(spread, masked, quota)
            bits = uniform(rows.seed, Stream.BITS, rows.position, config.bits, iteration=i) < p
            settled = chosen[rows.item, rows.position]
            codes[rows.item[settled], rows.position[settled]] = bits[settled]
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


def _denoise(
    generator: Generator,
    conds: Tensor,
    guidance: float,
    temperature: float,
    timesteps: list[int],
    rows: _Rows,
    iteration: int,
) -> Tensor:
    """Walk the transcoder from noise to P(bit = 1) of each row: (N, K) float32."""
    transcoder, bits = generator.transcoder, generator.config.bits
    variants, count = conds.shape[:2]
    condition = transcoder.condition_embedding(conds)  # (G, N, W)
    walked = torch.tensor(timesteps, device=conds.device)
    times = transcoder.timestep_embedding(walked - 1)  # (S, W)
    x = uniform(rows.seed, Stream.NOISE, rows.position, bits, iteration=iteration) < 0.5
    numbers: Tensor | None = None
    block = max(1, _BLOCK // max(1, count * bits))
    for step in range(len(timesteps)):
        context = (condition + times[step]).flatten(0, 1)
        logits = transcoder.denoise(x.repeat(variants, 1), context).float().unflatten(0, (variants, -1)) / temperature
        flip = (logits[0] if variants == 1 else logits[1] + guidance * (logits[0] - logits[1])).sigmoid()
        p = torch.where(x, 1 - flip, flip)
        if step + 1 == len(timesteps):
            break
        if step % block == 0:
            ahead = walked[step + 1 : step + 1 + block]
            numbers = uniform(rows.seed, Stream.TRANSCODER, rows.position, bits, iteration=iteration, timesteps=ahead)
        posterior = transcoder.posterior(x, p, walked[step : step + 1], walked[step + 1 : step + 2])
        x = numbers[step % block] < posterior  # type: ignore[index]
    return p
