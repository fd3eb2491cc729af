"""The generator's networks, compiled for a GPU: what lies between its matrix products is joined into few kernels."""

from __future__ import annotations

import torch

from bigr_cli.core.network import Generator
from bigr_cli.errors import DeviceError


def compile_networks(generator: Generator) -> None:
    """Have torch compile the transformer's blocks and the transcoder; that takes a while, at their first use.

    How many images, and how many of their tokens are masked, may change from one use to the next.
    """
    for block in generator.blocks:
        block.compile(dynamic=True)
    generator.transcoder.network = torch.compile(generator.transcoder.network, dynamic=True)  # type: ignore[method-assign]


def check_compiler(device: torch.device) -> None:
    """Raise DeviceError unless networks can be compiled there: on CUDA GPUs, by Triton."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if has_triton():
            return
    raise DeviceError(f"--compile: {device} cannot compile networks", hint="it takes a CUDA GPU, and Triton")
