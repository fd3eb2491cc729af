"""Self-alignment: an early block learns to say what a late one says of the same images with fewer tokens masked.

No other network is needed (SRA, arXiv 2505.02831; Self-Flow, arXiv 2603.06507). The late states come without gradients,
from the average of the weights or from the weights themselves; a small projector, which no model keeps, stands between.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.core.network import Condition, Generator


class Projector(nn.Sequential):
    """Two layers from the early block's states (B, L, D) to the late one's."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))


def less_masked(masked: Tensor, revealed: float) -> Tensor:
    """(B, L) bool with about the share `revealed` of the masked tokens shown."""
    return masked & (torch.rand(masked.shape, device=masked.device) >= revealed)


@torch.no_grad()
def late_states(teacher: Generator, codes: Tensor, labels: Condition, masked: Tensor, layer: int) -> Tensor:
    """The states (B, L, D) after a teacher's block, without gradients."""
    return teacher.hidden(codes, labels, layer, mask=masked)


def alignment_loss(predicted: Tensor, states: Tensor) -> Tensor:
    """1 less the mean cosine between predicted and actual states, both (B, L, D): a scalar from 0 to 2."""
    return 1 - F.cosine_similarity(predicted.float(), states.float(), dim=-1).mean()
