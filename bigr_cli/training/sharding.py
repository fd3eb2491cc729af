"""A network on its devices: accelerate, checkpointed and compiled blocks, and weights sharded over processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bigr_cli.errors import DeviceError, UsageError
from bigr_cli.training.config import RunConfig
from bigr_cli.training.objective import Objective, WeightAverage

_PATIENCE = timedelta(hours=6)  # the others wait while the first process validates


def let_signals_in(module: nn.Module) -> None:
    """Have Python called now and then within a backward pass: only there does it look whether a signal came."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: None)


def compile_blocks(model: nn.Module) -> None:
    """Compile every residual block for itself: they share shapes, so little has to be compiled, and no step's number
    or phase makes it necessary again.
    """
    for name, module in model.named_modules():
        if is_block(name, module):
            module.compile()


def checkpoint_blocks(model: nn.Module) -> None:
    """Let every residual block keep its inputs alone, and compute the rest again when gradients are wanted."""
    for name, module in model.named_modules():
        if is_block(name, module):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded, whole in each process; all of them must call this."""
    gather: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def shard_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A tensor that is whole in each process, sharded as `pattern` is; nothing is sent."""
    if not hasattr(pattern, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = pattern
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one that may be sharded."""
    target.copy_(shard_like(whole.to(target.device, target.dtype), target))


def is_block(name: str, module: nn.Module) -> bool:
    """Whether a module, by its name in another one, is one of the residual blocks that a network consists of."""
    return name.rpartition(".")[0].endswith("blocks") and any(True for _ in module.children())


class Sharding:
    """How the weights are sharded, as accelerate's config file says, or else as the run does (`run.shard`)."""

    def __init__(self, *, reshard: bool, checkpointing: bool) -> None:
        self.reshard, self.checkpointing = reshard, checkpointing

    @classmethod
    def wanted(cls, run: RunConfig, processes: int) -> Sharding | None:
        """None where weights are to be whole in every process.

        Raises:
            UsageError: accelerate's config asks for what does not work here.
        """
        asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if processes == 1 or not (asked or run.shard):
            return None
        if not asked:
            return cls(reshard=True, checkpointing=False)
        from accelerate import FullyShardedDataParallelPlugin

        plugin = FullyShardedDataParallelPlugin()  # reads what `accelerate launch` has set
        if plugin.fsdp_version != 2:
            raise UsageError(f"accelerate's config: fsdp_version: expected 2, got {plugin.fsdp_version}")
        if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
            raise UsageError("accelerate's config: fsdp_offload_params is not supported; expected false")
        return cls(reshard=bool(plugin.reshard_after_forward), checkpointing=bool(plugin.activation_checkpointing))

    def apply(self, objective: Objective, average: WeightAverage, device: torch.device) -> ShardedAverage:
        """Shard the objective's weights over all processes, in place; gives their average, sharded likewise.

        Raises:
            UsageError: this objective's weights cannot be sharded.
        """
        from torch.distributed import get_world_size
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if not objective.can_be_sharded:
            raise UsageError("run.shard: spreads the generator's weights; a tokenizer's are whole in every process")
        mesh = init_device_mesh(device.type, (get_world_size(),))
        for name, part in list(objective.named_modules()):
            if is_block(name, part):
                fully_shard(part, mesh=mesh, reshard_after_forward=self.reshard)
        fully_shard(objective, mesh=mesh)
        return ShardedAverage(objective.model, average.decay, whole=average.module.cpu())


class ShardedAverage(WeightAverage):
    """The moving average of sharded weights, sharded likewise."""

    def __init__(self, module: nn.Module, decay: float, *, whole: nn.Module) -> None:
        """`whole` is a copy of the module from before it was sharded, to be filled when the average is looked at."""
        self.decay, self._whole = decay, whole.eval().requires_grad_(False)
        self._weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    def _copy_buffers(self, module: nn.Module) -> None:
        """They are constants in what can be sharded."""

    def averages(self) -> list[Tensor]:
        return list(self._weights.values())

    @contextmanager
    def gathered(self, *, needed: bool) -> Iterator[nn.Module]:
        with torch.no_grad():
            for name, weight in self._whole.named_parameters():
                whole = whole_tensor(self._weights[name])
                if needed:
                    weight.copy_(whole)
        device = next(iter(self._weights.values())).device
        try:
            yield self._whole.to(device) if needed else self._whole
        finally:
            self._whole.cpu()

    def state_dict(self) -> dict[str, Tensor]:
        return self._weights

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            fill(weight, state[name])


def accelerator_for(device: torch.device, precision: str) -> Any:
    """An `accelerate.Accelerator`. Raises DeviceError if the device cannot train in that precision."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # The device and precision of an earlier training in this process would be kept otherwise.
    AcceleratorState._reset_state(reset_partial_state=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if precision == "float16" and device.type == "cpu":  # accelerate would train in float32 without a word
        raise DeviceError("run.precision: a CPU cannot train in float16", hint="bfloat16 or float32 will do")
    short = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision]
    try:
        patience = InitProcessGroupKwargs(timeout=_PATIENCE)
        return Accelerator(cpu=device.type == "cpu", mixed_precision=short, kwargs_handlers=[patience])
    except ValueError as error:
        raise DeviceError(f"run.precision: {device.type} cannot train in {precision}: {error}") from error
