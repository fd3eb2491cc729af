"""Everything that a training step changes, on its way to a checkpoint and back.

A checkpoint is one file, or, where the weights are sharded, a folder to which each writes its part.
Either can be gone on from by any number of processes, sharded or not.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from bigr_cli.errors import CheckpointError, ConfigError, RunError
from bigr_cli.files import flush
from bigr_cli.runtime.tensor_file import shape_problems
from bigr_cli.training.checkpoint import (
    FOLDER,
    last_state,
    load_checkpoint,
    prune,
    save_checkpoint,
    unfinished,
    writing,
)
from bigr_cli.training.objective import Objective, WeightAverage
from bigr_cli.training.optim import Optimizers
from bigr_cli.training.sharding import fill


@dataclass(frozen=True)
class TrainingState:
    """The parts of a training whose state is saved."""

    objective: Objective
    average: WeightAverage
    optimizers: Mapping[str, Optimizers]
    accelerator: Any
    sharded: bool

    @property
    def scaler(self) -> Any:
        """A torch.amp.GradScaler, or None."""
        return self.accelerator.scaler

    def save(self, run: Path, step: int, *, keep: int | None) -> Path:
        """Write a checkpoint and keep the newest `keep`; where the weights are sharded, all processes must call this.

        Raises:
            RunError: it cannot be written.
        """
        if self.sharded:
            return save_sharded(run, step, self._tensors(), keep=keep)
        state: dict[str, Any] = {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": {name: optimizers.state_dict() for name, optimizers in self.optimizers.items()},
        }
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        return save_checkpoint(run, step, state, keep=keep)

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: it is not of a training with these settings.
        """
        if checkpoint.is_dir():
            shapes = sharded_shapes(checkpoint)
            self._check_fit(checkpoint, shapes, {part for part in map(_part, shapes) if len(part) == 2})
            self._begin_optimizers(shapes)
            load_sharded(checkpoint, self._tensors())
            return
        state = load_checkpoint(checkpoint)
        whole = self._named(state)
        saved: set[tuple[str, ...]] = {
            (name, str(number)) for name, parts in state["optimizers"].items() for number in range(len(parts))
        }
        self._check_fit(checkpoint, {name: tuple(tensor.shape) for name, tensor in whole.items()}, saved)
        if self.sharded:
            self._begin_optimizers(whole)
            for name, tensor in self._tensors().items():
                fill(tensor, whole[name])
            return
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        for name, optimizers in self.optimizers.items():
            optimizers.load_state_dict(state["optimizers"][name])
        if self.scaler is not None and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])

    def _check_fit(self, checkpoint: Path, found: Mapping[str, tuple[int, ...]], parts: set[tuple[str, ...]]) -> None:
        expected = {f"objective/{name}": tuple(value.shape) for name, value in self.objective.state_dict().items()}
        weights, saved = (
            {n.partition("/")[2]: s for n, s in shapes.items() if _part(n) == ("objective",)}
            for shapes in (expected, found)
        )
        problems = shape_problems(checkpoint, weights, saved)
        kinds = {(name, str(n)) for name, each in self.optimizers.items() for n in range(len(each.parts))}
        if not problems and kinds != parts:
            problems = [f"{checkpoint}: was saved with other optimisers (optimizer.name)"]
        if problems:
            hint = "a run keeps the model, the classes and the optimiser it began with"
            raise ConfigError("; ".join(problems), hint=hint)

    def _begin_optimizers(self, wanted: Iterable[str]) -> None:
        """Zeros for what optimisers are to remember and have not begun to."""
        names = set(wanted)
        for prefix, optimizer, weight in self._moved():
            for key in ("step", "exp_avg", "exp_avg_sq", "momentum"):
                if prefix + key in names:
                    optimizer.state[weight][key] = torch.zeros(()) if key == "step" else torch.zeros_like(weight)

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors of the state by name, as they are now."""
        found = {f"objective/{name}": value for name, value in self.objective.state_dict().items()}
        found |= {f"average/{name}": value for name, value in self.average.state_dict().items()}
        for prefix, optimizer, weight in self._moved():
            found |= {prefix + key: value for key, value in optimizer.state[weight].items()}
        return found

    def _moved(self) -> Iterator[tuple[str, torch.optim.Optimizer, nn.Parameter]]:
        """Each weight with what moves it, and the beginning of its names there."""
        for owner, optimizers in self.optimizers.items():
            for number, names in enumerate(optimizers.names()):
                optimizer, _ = optimizers.parts[number]
                weights = (weight for group in optimizer.param_groups for weight in group["params"])
                for name, weight in zip(names, weights, strict=True):
                    yield f"{owner}/{number}/{name}/", optimizer, weight

    def _named(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """The tensors of a checkpoint that is one file, by the names that `_tensors` gives them."""
        found = {f"{part}/{name}": value for part in ("objective", "average") for name, value in state[part].items()}
        for owner, parts in state["optimizers"].items():
            known = self.optimizers[owner].names() if owner in self.optimizers else []
            for number, part in enumerate(parts):
                names = known[number] if number < len(known) else []
                for index, values in part["state"].items():
                    name = names[index] if index < len(names) else str(index)
                    found |= {f"{owner}/{number}/{name}/{key}": value for key, value in values.items()}
        return found


def _part(name: str) -> tuple[str, ...]:
    """What a tensor belongs to, by its name: ("objective",), ("average",), or a module and its optimiser's number."""
    first, *rest = name.split("/")
    return (first,) if len(rest) < 2 else (first, rest[0])


def save_sharded(run: Path, step: int, tensors: dict[str, Tensor], *, keep: int | None) -> Path:
    """Write tensors, each of which may be sharded, then delete all but the newest `keep` checkpoints (None keeps all).

    All processes must call this.

    Raises:
        RunError: the disk is full or cannot be written; the checkpoints that were there stay.
    """
    target = run / FOLDER / f"step-{step:08d}"
    temporary = unfinished(target)
    first = distributed.get_rank() == 0
    with writing(run):
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        distributed.barrier()
        with _quiet():
            try:
                save(tensors, storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True))
            except CheckpointException as error:
                reason = next(iter(error.failures.values()))[0]
                raise RunError(f"{run}: cannot be written: {reason}", hint=last_state(run)) from error
        if first:
            for path in (*temporary.iterdir(), temporary):
                flush(path)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
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
    """Fill tensors, each of which may be sharded. Raises CheckpointError if that cannot be."""
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
