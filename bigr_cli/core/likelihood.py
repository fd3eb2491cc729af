"""How likely the model finds codes that are there already: for guessing labels, choosing among variants, editing."""

from __future__ import annotations

import torch
from torch import Tensor

from bigr_cli.core.heads import Rows
from bigr_cli.core.network import Generator, Labels, Prefix
from bigr_cli.errors import ConfigError

_ROWS = 256  # images that go through the transformer at once


@torch.no_grad()
def token_scores(generator: Generator, codes: Tensor, labels: Labels | Prefix, masked: Tensor, seeds: Tensor) -> Tensor:
    """The log-probability of each masked token's own bits, given the tokens that are not masked.

    It is the mean over the bits, in nats, of what the transcoder says in its first step, where it knows nothing of
    the token but its condition: between about −0.69, when it cannot say, and 0.

    Args:
        codes: (B, L, K) bool.
        labels: (B,) int64, or a tuple of such; or the condition's tokens already.
        masked: (B, L) bool, True = hidden from the model, and scored.
        seeds: (B,) int64, for the noise.

    Returns:
        (B, L) float32, 0 where nothing is masked.

    Raises:
        ConfigError: the generator's attention is causal, and so would not see the tokens behind a masked one.
    """
    if generator.config.attention == "causal":
        raise ConfigError("how likely tokens are beside others is not for a generator with attention: causal to say")
    item, position = masked.nonzero(as_tuple=True)
    scores = torch.zeros(masked.shape, device=codes.device)
    if len(item) == 0:
        return scores
    cond = generator.condition(codes, labels, masked)[item, position]
    logits = generator.transcoder.first_logits(cond, Rows(item, position, seeds[item]))
    agreed = torch.where(codes[item, position], logits, -logits)  # the logit of being right
    scores[item, position] = torch.nn.functional.logsigmoid(agreed).mean(dim=-1)
    return scores


def seen_scores(generator: Generator, codes: Tensor, labels: Labels | Prefix, unknown: Tensor, seeds: Tensor) -> Tensor:
    """The score of every known token, given half of the other known ones: (B, L) float32, 0 at unknown tokens.

    The known tokens are hidden in two turns, as the black and white fields of a chessboard.
    """
    side = generator.config.grid
    place = torch.arange(side, device=codes.device)
    black = ((place[:, None] + place) % 2 == 0).flatten()
    total = torch.zeros(unknown.shape, device=codes.device)
    for half in (black, ~black):
        total += token_scores(generator, codes, labels, half | unknown, seeds).masked_fill(unknown, 0)
    return total


def label_scores(generator: Generator, codes: Tensor, unknown: Tensor, seed: int) -> Tensor:
    """How likely the known tokens of one image are under each label: (classes,), the mean score of a token.

    Most of the image is hidden each time, so that the label has something to say: only every fourth token is seen.

    Args:
        codes: (L, K) bool.
        unknown: (L,) bool, tokens that say nothing; if all are, every label has the same score.
        seed: for the noise, which is the same for every label.
    """
    side, classes = generator.config.grid, generator.config.classes
    place = torch.arange(side, device=codes.device)
    quarter = (2 * (place[:, None] % 2) + place % 2).flatten()
    total = torch.zeros(classes, device=codes.device)
    for seen in range(4):
        masked = unknown | (quarter != seen)
        for start in range(0, classes, _ROWS):
            labels = torch.arange(start, min(classes, start + _ROWS), device=codes.device)
            count = len(labels)
            seeds = torch.full((count,), seed, device=codes.device)
            scores = token_scores(generator, codes.expand(count, -1, -1), labels, masked.expand(count, -1), seeds)
            total[labels] += scores.masked_fill(unknown, 0).sum(dim=1)
    return total / (3 * (~unknown).sum()).clamp_min(1)
