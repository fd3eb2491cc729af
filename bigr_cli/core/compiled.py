"""The generator's networks, compiled for a GPU: what lies between its matrix products is joined into few kernels."""

from __future__ import annotations

import torch

from bigr_cli.core.transformer import Generator


def compile_networks(generator: Generator) -> None:
    """Have torch compile the transformer's blocks and the transcoder; that takes a while, at their first use.

    How many pictures, and how many of their tokens are masked, may change from one use to the next.
    """
    for block in generator.blocks:
        block.compile(dynamic=True)
    generator.transcoder.network = torch.compile(generator.transcoder.network, dynamic=True)  # type: ignore[method-assign]


def can_compile(device: torch.device) -> bool:
    """Whether networks can be compiled there: on GPUs for which there is Triton."""
    if device.type != "cuda":
        return False
    from torch.utils._triton import has_triton

    return bool(has_triton())
