"""The whole state of a training as one safetensors file, written whole or not at all.

Tensors keep their place in the nested state as a path; everything else is JSON in the file's header.
"""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bigr_cli import yaml_text
from bigr_cli.errors import CheckpointError, RunError
from bigr_cli.files import atomic_write

FOLDER = "checkpoints"
TRAINING_FILE = "training.yaml"  # in the folder of a run: its config
STATE_FILE = "train.yaml"  # in the folder of a training of several stages, each in a folder below it
_NAME = re.compile(r"step-(\d{8,})(\.safetensors)?")  # a folder where the weights were sharded
_UNFINISHED = re.compile(r"\.step-\d{8,}\.part")
_TENSOR = "__tensor__"


def save_checkpoint(run: Path, step: int, state: dict[str, Any], *, keep: int | None) -> Path:
    """Write the state after `step` steps, then delete all but the newest `keep` checkpoints (None keeps all).

    Raises:
        RunError: the disk is full or cannot be written; the checkpoints that were there stay.
    """
    folder = run / FOLDER
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _split(state, "", tensors)
    target = folder / f"step-{step:08d}.safetensors"
    with writing(run):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            # One entry only: several would come in a new order each time, and equal states make equal files.
            save_file(tensors, temporary, metadata={"state": json.dumps(skeleton)})
    prune(run, keep)
    return target


def unfinished(folder: Path) -> Path:
    """Where a checkpoint that is a folder is written, until it is whole."""
    return folder.with_name(f".{folder.name}.part")


def clear_unfinished(run: Path) -> None:
    """Remove the checkpoints that a process which was killed had begun as folders."""
    for path in (run / FOLDER).glob(".step-*.part"):
        if _UNFINISHED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def prune(run: Path, keep: int | None) -> None:
    """Delete all but the newest `keep` checkpoints; None keeps all."""
    for old in list_checkpoints(run)[:-keep] if keep is not None else ():
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Turn what goes wrong while writing into a run's folder into a RunError that names the last good state."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error)
        reason = "the disk is full" if full else str(error)
        raise RunError(f"{run}: cannot be written: {reason}", hint=last_state(run)) from error


def last_state(run: Path) -> str:
    """A sentence that says from where a run can go on."""
    found = list_checkpoints(run)
    if not found:
        return "no state was saved yet"
    return f"the last good state is {found[-1]}; {resume_command(run)} goes on from it"


def resumed_as(run: Path) -> Path:
    """The folder that --resume takes: the run's, or that of the whole training whose stage it is."""
    return run.parent if (run.parent / STATE_FILE).is_file() else run


def resume_command(run: Path) -> str:
    """The command that goes on with a run, or with the training whose stage it is; from Python, the option alone."""
    folder = resumed_as(run)
    option = f"--resume {shlex.quote(str(folder))}"
    if (folder / STATE_FILE).is_file():
        return f"bigr train {option}"
    if not (folder / TRAINING_FILE).is_file():
        return option
    kind = "generator" if "generator" in yaml_text.read_mapping(folder / TRAINING_FILE) else "tokenizer"
    return f"bigr train-{kind} {option}"


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    folder = run / FOLDER
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The number of steps done, from a checkpoint's name. Raises CheckpointError for another name."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise CheckpointError(f"{checkpoint}: not the name of a checkpoint")
    return int(match.group(1))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that was saved. Raises CheckpointError for a file that is not such a state."""
    try:
        with safe_open(path, framework="pt") as opened:
            skeleton = json.loads((opened.metadata() or {})["state"])
            # Copied, since optimisers work on what they load, and here that would be the file mapped into memory.
            tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        state = _join(skeleton, tensors)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        hint = "without this file, --resume goes on from the one before it"
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})", hint=hint) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not the state of a training")
    return state


def _split(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Put the tensors of a nested state into `tensors`; return the rest, with a mark where each was."""
    if isinstance(value, torch.Tensor):
        # A copy of its own in main memory: the format takes no tensors that share some.
        tensors[path] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {_TENSOR: path}
    if isinstance(value, dict):
        # Optimisers number their weights: the key's type must survive JSON.
        return {f"{type(key).__name__}:{key}": _split(item, f"{path}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        joined: dict[str | int, Any] = {}
        for key, item in value.items():
            kind, _, name = key.partition(":")
            joined[int(name) if kind == "int" else name] = _join(item, tensors)
        return joined
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    return value
