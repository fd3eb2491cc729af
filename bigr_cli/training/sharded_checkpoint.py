"""The state of a training whose weights are spread: a folder, to which each process writes what it has.

torch's distributed checkpoints, as safetensors. A part says in its header where in the whole tensors it belongs, so
that any number of processes can read what they need.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from bigr_cli.errors import CheckpointError, RunError
from bigr_cli.files import flush
from bigr_cli.training.checkpoint import FOLDER, last_state, prune, unfinished, writing


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
