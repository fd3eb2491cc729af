"""Fully sharded data parallel (FSDP2): each of several processes keeps a part of every weight, gradient and average.

The blocks are the units: the weights of one are brought together when its turn comes, and dropped after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bigr_cli.errors import UsageError
from bigr_cli.training.config import RunConfig
from bigr_cli.training.dtensors import fill, whole_tensor
from bigr_cli.training.ema import WeightAverage
from bigr_cli.training.objective import Objective


def is_block(name: str, module: nn.Module) -> bool:
    """Whether a module, by its name in another one, is one of the residual blocks that a network consists of."""
    return name.rpartition(".")[0].endswith("blocks") and any(True for _ in module.children())


class Sharding:
    """How the weights are spread, as accelerate's config file says, or else as the run does (`run.shard`)."""

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
        """Spread the objective's weights over all processes, in place; gives their average, spread likewise.

        Raises:
            UsageError: this objective's weights cannot be spread.
        """
        from torch.distributed import get_world_size
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if not objective.can_be_spread:
            raise UsageError("run.shard: spreads the generator's weights; a tokenizer's are whole in every process")
        mesh = init_device_mesh(device.type, (get_world_size(),))
        for name, part in list(objective.named_modules()):
            if is_block(name, part):
                fully_shard(part, mesh=mesh, reshard_after_forward=self.reshard)
        fully_shard(objective, mesh=mesh)
        return ShardedAverage(objective.model, average.decay, whole=average.module.cpu())


class ShardedAverage(WeightAverage):
    """The moving average of weights that are spread, spread likewise."""

    def __init__(self, module: nn.Module, decay: float, *, whole: nn.Module) -> None:
        """`whole` is a copy of the module from before it was spread, to be filled when the average is looked at."""
        self.decay, self._whole = decay, whole.eval().requires_grad_(False)
        self._weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    def _copy_buffers(self, module: nn.Module) -> None:
        """They are constants in what can be spread."""

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
