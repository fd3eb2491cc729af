"""Quick layers in the place of those that take most of a generator's time: int8, prepacked, or compiled.

int8: weights have a scale for each output channel; activations are measured as they come, a scale for each row. Their
sums of products are whole numbers and therefore exact, so that here too an image does not depend on its batch. The
products are oneDNN's, which torch brings; a processor without it, or whose sums overflow, cannot compute in int8.

Prepacked: bfloat16 on a CPU, with weights that lie as oneDNN multiplies them, where it otherwise lays them out for each
product. The numbers that come out are the same.

Compiled: for a GPU, where what lies between the generator's matrix products is joined into few kernels.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bigr_cli.core.layers import SwiGLU, TranscoderBlock
from bigr_cli.core.network import Attention, Generator
from bigr_cli.errors import DeviceError

MISSING = (RuntimeError, AttributeError)  # what a product ends with that this build of torch has not
_BETWEEN_TRIMS = 8  # layers
_TINY = 1e-30  # in place of the scale of a row or channel of zeros


class FixedLinear(nn.Module):
    """x Wᵀ + bias, for computing alone: its weights, in a form of their own, are in no state dict and never cast."""

    bytes: int  # what the weights take


class LargeLayer(NamedTuple):
    """A linear layer by its place: `parent` is called `path` in the generator, and has it as `name`."""

    parent: nn.Module
    path: str
    name: str
    after_silu: bool  # whether its input comes out of a SiLU


def large_layers(generator: Generator) -> Iterator[LargeLayer]:
    """Those of transformer and transcoder."""
    for path, module in generator.named_modules():
        if isinstance(module, Attention):
            yield from (LargeLayer(module, path, name, False) for name in ("wqkv", "wo"))
        elif isinstance(module, SwiGLU):
            yield from (LargeLayer(module, path, name, False) for name in ("w1", "w3", "w2"))
        elif isinstance(module, TranscoderBlock):
            yield LargeLayer(module.mlp, f"{path}.mlp", "0", False)
            yield LargeLayer(module.mlp, f"{path}.mlp", "2", True)
            yield LargeLayer(module, path, "ada", True)
    yield LargeLayer(generator.transcoder, "transcoder", "final_ada", True)


def replace_large_layers(
    generator: Generator, make: Callable[[nn.Linear, bool], FixedLinear], weights: Mapping[str, Tensor] | None = None
) -> None:
    """Put something else in the place of each large layer, one by one, so that few are there twice.

    Args:
        generator: is changed.
        make: gets the layer, and whether its input comes out of a SiLU.
        weights: the generator's state, if it was laid out on the meta device; large layers' are asked for one by one.
    """
    for number, (parent, path, name, after_silu) in enumerate(list(large_layers(generator))):
        layer = getattr(parent, name)
        if weights is not None:
            own = {key: weights[f"{path}.{name}.{key}"] for key in layer.state_dict()}
            layer.load_state_dict(own, assign=True)
        parent.register_module(name, make(layer, after_silu))
        if number % _BETWEEN_TRIMS == 0:
            _give_memory_back()
    if weights is not None:
        generator.load_state_dict({name: weights[name] for name in generator.state_dict()}, assign=True)


def _give_memory_back() -> None:
    """Let the C library return what it holds of freed memory: between weights of one form and the other there is much,
    in pieces that are too small for the next.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries than GNU's
            ctypes.CDLL(None).malloc_trim(0)


def weight_bytes(module: nn.Module) -> int:
    """What the weights of a module take, in whatever form they are."""
    fixed = sum(layer.bytes for layer in module.modules() if isinstance(layer, FixedLinear))
    return fixed + sum(weight.numel() * weight.element_size() for weight in module.parameters())


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


def int8_works() -> bool:
    """Whether this processor multiplies int8 without overflow (those before VNNI add in 16 bits)."""
    layer = nn.Linear(64, 16, bias=False)
    nn.init.ones_(layer.weight)
    try:
        found = Int8Linear(layer, QuantiseSiLU)(torch.full((16, 64), 223.0))  # the largest codes there are
        return bool((found / 223 - 64).abs().max() < 0.01)
    except MISSING:
        return False


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
def prepacked_works() -> bool:
    """Whether torch was built with such products, and this processor does them as it does others."""
    layer = nn.Linear(64, 48, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.linspace(-1, 1, 48 * 64).reshape(48, 64))
    x = torch.linspace(-1, 1, 3 * 64).reshape(3, 64).to(torch.bfloat16)
    try:
        layer.to(torch.bfloat16)
        return torch.equal(PackedLinear(layer)(x), layer(x))
    except MISSING:
        return False


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
