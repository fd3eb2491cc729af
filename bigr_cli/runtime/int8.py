"""Layers in int8, for processors that multiply it faster than anything else.

Weights have a scale for each output channel; activations are measured as they come, a scale for each row. Their sums
of products are whole numbers and therefore exact, so that here too an image does not depend on its batch. The products
are oneDNN's, which torch brings; a processor without it, or whose sums overflow, cannot compute in int8: see `works`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bigr_cli.core.layers import SwiGLU
from bigr_cli.core.network import Generator
from bigr_cli.runtime.large_layers import MISSING, FixedLinear, replace_large_layers

_TINY = 1e-30  # in place of the scale of a row or channel of zeros


class EightBits(NamedTuple):
    """Rows in unsigned 8 bits: x = scale · (codes − zero)."""

    codes: Tensor  # (…, C) uint8
    scale: Tensor  # (…, 1)


class Quantise(nn.Module):
    """Rows of floats to 8 bits, each row by its own largest value."""

    zero = 128

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = torch.full((width,), self.zero + 0.5)  # not a buffer: it must neither be stored nor cast

    def forward(self, x: Tensor) -> EightBits:
        scale = self.scale(x)
        # Cut off, not rounded, hence the half; by way of int32, because torch has no fast way from float32 to uint8.
        codes = torch.addcmul(self.shift, x, scale.reciprocal()).to(torch.int32).to(torch.uint8)
        return EightBits(codes, scale)

    def scale(self, x: Tensor) -> Tensor:
        largest = torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))
        return largest.div_(127).clamp_min_(_TINY)


class QuantiseSiLU(Quantise):
    """The same for what comes out of a SiLU: it is nowhere below −0.2785, and far above that only."""

    zero = 32

    def scale(self, x: Tensor) -> Tensor:
        return x.amax(-1, keepdim=True).div_(255 - self.zero).clamp_min_(0.2785 / self.zero)


class Int8Linear(FixedLinear):
    """x Wᵀ + bias; takes floats (…, C), or rows that such a `quantise` as its own made already."""

    def __init__(self, layer: nn.Linear, kind: type[Quantise] = Quantise) -> None:
        super().__init__()
        weight = layer.weight.detach().float()  # (O, C)
        scale = weight.abs().amax(dim=1).div_(127).clamp_min_(_TINY)
        codes = (weight / scale[:, None]).round_().to(torch.int8)
        self.quantise = kind(weight.shape[1])
        # Not buffers: they must neither be stored nor cast.
        self.packed, self.scale = torch.ops.onednn.qlinear_prepack(codes, None), scale
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.offset = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().float()
        self.bytes = codes.nbytes + scale.nbytes + self.offset.nbytes

    def forward(self, x: Tensor | EightBits) -> Tensor:
        rows = x if isinstance(x, EightBits) else self.quantise(x)
        # The kernel knows one scale for all rows, so it gets 1; and no bias, which is to be added after scaling.
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(rows.codes, 1.0, self.quantise.zero),
            *(self.packed, self.scale, self.zeros),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
        return torch.addcmul(self.offset, product, rows.scale, out=product)


def to_int8(generator: Generator, weights: Mapping[str, Tensor] | None = None) -> None:
    """Replace the large layers of a generator in float32; `weights` as `replace_large_layers` takes them."""
    for module in generator.modules():
        if isinstance(module, SwiGLU):
            module.register_module("shared", Quantise(module.w1.in_features))
    transcoder = generator.transcoder
    transcoder.register_module("shared", QuantiseSiLU(transcoder.final_ada.in_features))
    replace_large_layers(
        generator, lambda layer, after_silu: Int8Linear(layer, QuantiseSiLU if after_silu else Quantise), weights
    )


def is_int8(generator: Generator) -> bool:
    """Whether its large layers were replaced."""
    return isinstance(generator.transcoder.final_ada, Int8Linear)


def works() -> bool:
    """Whether this processor multiplies int8 without overflow (those before VNNI add in 16 bits)."""
    layer = nn.Linear(64, 16, bias=False)
    nn.init.ones_(layer.weight)
    try:
        found = Int8Linear(layer, QuantiseSiLU)(torch.full((16, 64), 223.0))  # the largest codes there are
        return bool((found / 223 - 64).abs().max() < 0.01)
    except MISSING:
        return False
