"""Layers in bfloat16 on a CPU whose weights lie as oneDNN multiplies them: otherwise it lays them out for each product.

The numbers that come out are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from bigr_cli.core.network import Generator
from bigr_cli.runtime.large_layers import MISSING, FixedLinear, replace_large_layers


class PackedLinear(FixedLinear):
    """x Wᵀ + bias in bfloat16, (…, C) → (…, O)."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().contiguous()
        # Not buffers: they must neither be stored nor cast.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self.offset = None if layer.bias is None else layer.bias.detach()
        self.bytes = weight.nbytes + (0 if self.offset is None else self.offset.nbytes)

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.offset, "none", [], "")
        return product


def pack(generator: Generator, weights: Mapping[str, Tensor] | None = None) -> None:
    """Replace the large layers of a generator in bfloat16; `weights` as `replace_large_layers` takes them."""
    replace_large_layers(generator, lambda layer, _: PackedLinear(layer), weights)


@cache
def works() -> bool:
    """Whether torch was built with such products, and this processor does them as it does others."""
    layer = nn.Linear(64, 48, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.linspace(-1, 1, 48 * 64).reshape(48, 64))
    x = torch.linspace(-1, 1, 3 * 64).reshape(3, 64).to(torch.bfloat16)
    try:
        layer.to(torch.bfloat16)
        return torch.equal(PackedLinear(layer)(x), layer(x))
    except MISSING:
        return False
