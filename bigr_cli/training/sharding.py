"""Networks in parts: checkpointed and compiled blocks, weights sharded over processes, and their checkpoints."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils.checkpoint import checkpoint

from bigr_cli.errors import CheckpointError, RunError, UsageError
from bigr_cli.files import flush
from bigr_cli.training.checkpoint import FOLDER, last_state, prune, unfinished, writing
from bigr_cli.training.config import RunConfig
from bigr_cli.training.ema import WeightAverage
from bigr_cli.training.objective import Objective


def let_signals_in(module: nn.Module) -> None:
    """Have Python called now and then within a backward pass: only there does it look whether a signal came."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: None)


def compile_blocks(model: nn.Module) -> None:
    """Compile every residual block for itself: they share shapes, so little has to be compiled, and no step's number
    or player's turn makes it necessary again.
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
    """A tensor that may be spread over processes, whole in each; all of them must call this."""
    gather: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def offload_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A tensor that is whole in each process, spread as `pattern` is; nothing is sent."""
    if not hasattr(pattern, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    spread: Any = pattern
    return distribute_tensor(tensor, spread.device_mesh, spread.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one that may be spread."""
    target.copy_(offload_like(whole.to(target.device, target.dtype), target))


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

        if not objective.can_be_offloaded:
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


def save_sharded(run: Path, step: int, tensors: dict[str, Tensor], *, keep: int | None) -> Path:
    """Write tensors, each of which may be spread, then delete all but the newest `keep` checkpoints (None keeps all).

    All processes must call this.

    Raises:
        RunError: the disk is full or cannot be written; the checkpoints that were there stay.
    """
    target = run / FOLDER / f"step-{step:08d}"
    hidden = unfinished(target)
    first = distributed.get_rank() == 0
    with writing(run):
        if first:
            shutil.rmtree(hidden, ignore_errors=True)
            hidden.mkdir(parents=True)
        distributed.barrier()
        with _quiet():
            try:
                save(tensors, storage_writer=HuggingFaceStorageWriter(str(hidden), save_distributed=True))
            except CheckpointException as error:
                reason = next(iter(error.failures.values()))[0]
                raise RunError(f"{run}: cannot be written: {reason}", hint=last_state(run)) from error
        if first:
            for path in (*hidden.iterdir(), hidden):
                flush(path)
            shutil.rmtree(target, ignore_errors=True)
            hidden.rename(target)
            flush(target.parent)
            prune(run, keep)
        distributed.barrier()
    return target


def sharded_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the whole tensors by name. Raises CheckpointError for a folder that is no such checkpoint."""
    with _reading(checkpoint):
        known = HuggingFaceStorageReader(str(checkpoint)).read_metadata().state_dict_metadata
        return {name: tuple(getattr(entry, "size", ())) for name, entry in known.items()}


def load_sharded(checkpoint: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors, each of which may be spread. Raises CheckpointError if that cannot be."""
    alone = not distributed.is_initialized()
    with _reading(checkpoint):
        load(tensors, storage_reader=HuggingFaceStorageReader(str(checkpoint)), no_dist=alone)


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    try:
        with _quiet():
            yield
    except Exception as error:  # torch has its own for each kind, and safetensors too
        failures = getattr(error, "failures", None)
        reason = next(iter(failures.values()))[0] if failures else error
        hint = "without this folder, --resume goes on from the one before it"
        raise CheckpointError(f"{checkpoint}: not a readable checkpoint ({reason})", hint=hint) from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is one process is meant
        yield
