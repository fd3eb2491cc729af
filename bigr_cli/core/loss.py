"""The training loss of the generator (reference section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def flip_loss(flip_logits: Tensor, flipped: Tensor) -> Tensor:
    """Weighted binary cross-entropy of the predicted flips, one value a bit: (N, K) float32.

    A token with few flips would teach mostly "nothing flips"; the weight balances flipped against kept bits by the
    token's own share f of flips: (1 − f) · target + f · (1 − target) + 1/K.
    """
    target = flipped.float()
    share = target.mean(dim=-1, keepdim=True)
    weight = (1 - share) * target + share * (1 - target) + 1 / target.shape[-1]
    return weight * F.binary_cross_entropy_with_logits(flip_logits.float(), target, reduction="none")


def masked_mean(per_bit: Tensor, mask: Tensor) -> Tensor:
    """Mean over the bits of masked tokens: (N, K) and (N,) bool → scalar."""
    weight = mask.to(per_bit.dtype)
    return (per_bit.mean(dim=-1) * weight).sum() / weight.sum().clamp_min(torch.finfo(per_bit.dtype).tiny)
