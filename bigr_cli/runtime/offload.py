"""Generators larger than the memory of a device: which of their blocks are kept where, by accelerate's hooks.

Nearly all weights are in the transformer's blocks, which are used one after the other. So blocks alone are kept
elsewhere, and brought to the device when it is their turn; all the rest is on the device. accelerate is imported in
functions only: that takes longer than all the rest of a start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.core.network import Block, Generator
from bigr_cli.errors import DeviceError
from bigr_cli.runtime.tensor_file import Renamed, StoredTensors

Offload = Literal["offload", "auto"]
# Where a block is kept: on a device; "memory": in main memory; "disk": in the model's file. From the last two it is
# brought to the device, and forgotten, each time it is used.
Place = torch.device | Literal["memory", "disk"]

_FOR_NUMBERS = 0.9  # of a GPU's free memory is for weights, the rest for what is computed


def fill_offloaded(generator: Generator, path: Path, device: torch.device, dtype: torch.dtype, how: Offload) -> None:
    """Give a generator that was laid out on the meta device its weights.

    Args:
        generator: of the sizes of the file.
        path: the .safetensors file, which must stay for as long as the generator is used.
        device: what computes, and where everything is put but the blocks.
        dtype: number format of the weights.
        how: "offload" keeps all blocks in main memory, or in the file if the device is the CPU; "auto" fills the
            device's memory first, then that of other GPUs, the main memory, and leaves the rest in the file.

    Raises:
        ModelFormatError: the file cannot be read.
        DeviceError: not even what must be on the device has room there.
    """
    stored = StoredTensors(path, dtype)
    places = plan(generator, device, dtype, how)
    blocks = generator.blocks
    generator.blocks = nn.ModuleList()
    generator.load_state_dict({name: stored[name].to(device) for name in generator.state_dict()}, assign=True)
    generator.to(device)  # the tables, which are in no file
    generator.blocks = blocks
    for number, (block, place) in enumerate(zip(blocks, places, strict=True)):
        names = {name: f"blocks.{number}.{name}" for name in block.state_dict()}
        _place(block, Renamed(stored, names), place, device, dtype)
    counts = Counter(str(place) for place in places)
    console.detail(f"blocks: {', '.join(f'{count} on {place}' for place, count in counts.items())}")


def plan(
    generator: Generator,
    device: torch.device,
    dtype: torch.dtype,
    how: Offload,
    memory: Mapping[str | int, int] | None = None,
) -> list[Place]:
    """Where each block is kept; `memory` has free bytes by accelerate's names of devices, None asks for them."""
    if how == "offload":
        return ["disk" if device.type == "cpu" else "memory" for _ in generator.blocks]
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory, get_max_memory

    free = dict(get_max_memory() if memory is None else memory)
    # accelerate fills GPUs by their numbers, and leaves room for what is brought on the first: the device is made that.
    first: str | int = (device.index or 0) if device.type == "cuda" else device.type
    others = [name for name in free if isinstance(name, int) and name != first and device.type == "cuda"]
    names = [first, *others] if device.type == "cuda" else []
    rooms: dict[str | int, int] = {number: int(_FOR_NUMBERS * free[name]) for number, name in enumerate(names)}
    if device.type == "mps":
        rooms["mps"] = int(_FOR_NUMBERS * free["mps"])
    if "cpu" in free:
        rooms["cpu"] = free["cpu"]
    main = 0 if names else first
    rest = (tensor.numel() for name, tensor in generator.state_dict().items() if not name.startswith("blocks."))
    rooms[main] -= sum(rest) * dtype.itemsize
    if rooms[main] <= 0:
        raise DeviceError(f"{device}: has no room even for what is not offloaded")
    split: dict[str, Any] = {"no_split_module_classes": [Block.__name__], "dtype": dtype}
    if others:
        rooms = get_balanced_memory(generator.blocks, rooms, **split)
    found = infer_auto_device_map(generator.blocks, rooms, **split)
    chosen = [found[str(number)] if str(number) in found else found[""] for number in range(len(generator.blocks))]
    return [_as_place(name, main, device, names) for name in chosen]


def _as_place(name: Any, main: Any, device: torch.device, gpus: Sequence[Any]) -> Place:
    """What a name of accelerate's means."""
    if name == main:
        return device
    if isinstance(name, int):
        return torch.device("cuda", gpus[name])
    return "disk" if name == "disk" else "memory"


def _place(
    block: nn.Module, weights: Mapping[str, Tensor], place: Place, device: torch.device, dtype: torch.dtype
) -> None:
    """Put a block's weights where they are kept, and have what it computes come back to the device."""
    if isinstance(place, torch.device):
        block.load_state_dict({name: tensor.to(place) for name, tensor in weights.items()}, assign=True)
        if place != device:
            _hook(block, place, None)
        return
    block.to(dtype)  # on the meta device: it says what the weights become that are brought
    _hook(block, device, dict(weights) if place == "memory" else weights)


def _hook(
    block: nn.Module, device: torch.device, weights: Mapping[str, Tensor] | None, *, offload: bool = False
) -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    hook = AlignDevicesHook(
        execution_device=device,
        offload=offload or weights is not None,
        io_same_device=True,
        weights_map=weights,
        place_submodules=True,
    )
    add_hook_to_module(block, hook)


def offload_like(generator: Generator, other: Generator) -> Generator:
    """Put a generator that is in main memory where another one of the same sizes is; what is elsewhere stays there."""
    hooks = [getattr(block, "_hf_hook", None) for block in other.blocks]
    blocks = generator.blocks
    generator.blocks = nn.ModuleList()
    generator.to(other.positions.device)
    generator.blocks = blocks
    for block, hook in zip(blocks, hooks, strict=True):
        if hook is None:
            block.to(other.positions.device)
        else:
            _hook(block, hook.execution_device, None, offload=hook.offload)
    return generator
