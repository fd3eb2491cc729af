"""The linear layers that take most of a generator's time, and others in their place that are quicker on some device."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from torch import Tensor, nn

from bigr_cli.core.layers import SwiGLU, TranscoderBlock
from bigr_cli.core.network import Attention, Generator

MISSING = (RuntimeError, AttributeError)  # what a product ends with that this build of torch has not
_BETWEEN_TRIMS = 8  # layers


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
