"""Codes that give pictures back better than those that the encoder finds in one pass.

An encoder is right on the average of what it was trained on. For one picture the bits can be moved further, downhill
along the decoder's error, as is done in image compression (Yang, Bamler and Mandt 2020, "Improving inference for neural
image compression").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softsign

from bigr_cli.core.tokenizer import Tokenizer

_RATE, _BETAS = 0.25, (0.7, 0.99)
_MOST = 2.0  # the median logit's magnitude at the start: with more, the few steps that are taken would flip no bit
_LEAST = 1e-6  # of the squared error, whose logarithm is lowered


def refined(tokenizer: Tokenizer, images: Tensor, logits: Tensor, steps: int) -> Tensor:
    """Codes of pictures, looked for in so many steps from the encoder's.

    Adam moves the bits' logits, the decoder gets bits, and the gradient passes straight through the rounding between
    them. Large logits are scaled down before, so that the bits of which the encoder was least sure are the first to
    change. Of all codes on the way those with the least squared error are kept, so more steps never make it larger.
    Each picture is by itself. A step takes about twice as long as decoding.

    Args:
        tokenizer: is not changed.
        images: (B, 3, H, W) in [0, 1].
        logits: (B, L, K), the encoder's `Tokenizer.bit_logits` of them.
        steps: 0 gives the encoder's own codes.

    Returns:
        (B, L, K) bool codes.
    """
    if steps == 0:
        return logits > 0
    with torch.inference_mode(False), torch.enable_grad():
        given = images.detach().clone()
        logits = _scaled(logits.detach().float()).requires_grad_()
        best = logits.detach() > 0
        optimizer = torch.optim.Adam([logits], lr=_RATE, betas=_BETAS)
        least = torch.full((len(given),), torch.inf, device=given.device)
        for step in range(steps + 1):
            bits = logits.detach() > 0
            soft = softsign(logits) / 2
            error = _error(tokenizer.decode(bits + soft - soft.detach()), given)
            better = error.detach() < least
            best, least = torch.where(better[:, None, None], bits, best), torch.where(better, error.detach(), least)
            if step == steps:
                break
            (logits.grad,) = torch.autograd.grad((error + _LEAST).log().sum(), logits)
            optimizer.step()
    return best


def _scaled(logits: Tensor) -> Tensor:
    """(B, L, K) logits, those of each picture divided so that the median of their magnitudes is `_MOST` at most."""
    median = logits.abs().flatten(1).median(dim=1).values
    return logits * (_MOST / median.clamp_min(_MOST))[:, None, None]


def _error(made: Tensor, given: Tensor) -> Tensor:
    """The mean squared error of each picture, as it is saved: (B,)."""
    return (made.float().clamp(0, 1) - given.float()).square().mean(dim=(1, 2, 3))
