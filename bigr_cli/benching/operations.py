"""Floating-point operations of a generator's networks, counted by torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bigr_cli.core.config import GeneratorConfig
from bigr_cli.core.network import Generator, Prefix


def operations(config: GeneratorConfig, prefix: int = 1, *, training: bool = False) -> tuple[int, int]:
    """What one image costs the transformer, and one token at one timestep the transcoder; backwards too in training.

    Both are counted without computing anything, on the meta device: there every operation is a plain one that torch
    knows how to count, whatever the device at hand would use in its place. `prefix` is the number of condition tokens.
    """
    with torch.device("meta"):
        generator = Generator(config).eval()
    generator.to("meta")  # the tables of positions and noise, which are made on the CPU wherever the rest is
    tokens, bits = config.tokens, config.bits
    codes = torch.zeros(1, tokens, bits, dtype=torch.bool, device="meta")
    masked = torch.zeros(1, tokens, dtype=torch.bool, device="meta")
    front = Prefix(
        torch.zeros(1, prefix, config.dim, device="meta", requires_grad=training),
        torch.zeros(1, 1, config.dim, device="meta", requires_grad=training),
    )
    noisy = torch.zeros(1, bits, dtype=torch.bool, device="meta")
    context = torch.zeros(1, config.transcoder_width, device="meta", requires_grad=training)
    with torch.set_grad_enabled(training):
        return (
            _counted(lambda: generator.condition(codes, front, masked)),
            _counted(lambda: generator.transcoder.denoise(noisy, context)),
        )


def _counted(forward: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        made = forward()
        if made.requires_grad:
            made.sum().backward()
    return int(counter.get_total_flops())
