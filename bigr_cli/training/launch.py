"""What both training commands do around the loop: read the config, open or make the run's folder, train."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from bigr_cli import console, schema, yaml_text
from bigr_cli.data.sources import Source
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.files import atomic_write, clear_leftovers, is_leftover, writing
from bigr_cli.folders import folder_lock
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.training.checkpoint import (
    FOLDER,
    TRAINING_FILE,
    clear_unfinished,
    list_checkpoints,
    resume_command,
    step_of,
)
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.data import DataRecord, open_recorded
from bigr_cli.training.loop import Trainer
from bigr_cli.training.objective import Objective, start_from
from bigr_cli.training.samples import Sampler
from bigr_cli.training.stopping import Stage
from bigr_cli.zoo.config import GENERATOR_FILE, TOKENIZER_FILE, read_config
from bigr_cli.zoo.find import find_model

_ARCHITECTURE = {TokenizerTraining: "tokenizer", GeneratorTraining: "generator"}
_WEIGHTS = {TokenizerTraining: TOKENIZER_FILE, GeneratorTraining: GENERATOR_FILE}
_COMMAND_LINE = "command line"
_FREE = {"dropout"}  # of an architecture: what may change while a run goes on

Training = TypeVar("Training", TokenizerTraining, GeneratorTraining)


def read_training(
    kind: type[Training],
    *,
    config: Path | None,
    resume: Path | None,
    settings: list[str],
    default: Training,
    given: Mapping[str, object] | None = None,
) -> Training:
    """The training's config: of the run to be resumed, a file, or the default, with settings applied.

    Args:
        settings: each key=value.
        given: further ones as they are, by dotted keys; what a file leaves out may be among either.

    Raises:
        UsageError: both a run and a file are given, or the run's folder is none.
        ConfigError: unknown keys, values out of range, another architecture than the run's.
    """
    if resume is None:
        if config is not None:
            return _from_file(kind, config, settings, given or {})
        return schema.override(default, settings, _COMMAND_LINE, given=given)
    if config is not None:
        raise UsageError("--resume goes on with the run's own config, so --config has no place beside it")
    path = resume / TRAINING_FILE
    if not path.is_file():
        hint = "--resume takes the folder of a run, such as runs/tokenizer"
        raise UsageError(f"{resume}: not a training run: it has no {TRAINING_FILE}", hint=hint)
    command = "train-generator" if "generator" in yaml_text.read_mapping(path) else "train-tokenizer"
    if (command == "train-generator") != (kind is GeneratorTraining):
        raise UsageError(f"{resume}: is a run of another kind", hint=f"go on with: bigr {command} --resume {resume}")
    base = schema.load_yaml(kind, path)
    chosen = schema.override(base, settings, _COMMAND_LINE, given=given)
    _check_architecture(base, chosen)
    if base.data.validation != chosen.data.validation and chosen.data.source != "scenes":
        console.warn("data.validation: a run goes on with the images that it holds out; their number stays as it was")
    return chosen


def _from_file(kind: type[Training], path: Path, settings: list[str], given: Mapping[str, object]) -> Training:
    """A file's config with settings applied; these may bring what the file must not leave out."""
    try:
        base = schema.load_yaml(kind, path)
    except ConfigError:
        data = yaml_text.read_mapping(path)
        schema.override_mapping(kind, data, settings, _COMMAND_LINE, given=given)
        return schema.from_mapping(kind, data, source=str(path))
    return schema.override(base, settings, _COMMAND_LINE, given=given)


def _check_architecture(before: Training, after: Training) -> None:
    section = _ARCHITECTURE[type(before)]
    old: dict[str, object] = schema.to_mapping(before)[section]
    new: dict[str, object] = schema.to_mapping(after)[section]
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in _FREE and old.get(key) != new.get(key):
            changed = f"{section}.{key}: the run has {old.get(key)}, got {new.get(key)}"
            raise ConfigError(changed, hint="another architecture needs a run of its own")


def pin_tokenizer(training: GeneratorTraining, directory: Path) -> GeneratorTraining:
    """The config with the hash of the tokenizer in a model folder filled in.

    Raises:
        ConfigError: it has another one already, of a run that was begun with other weights.
    """
    found = sha256_of(directory / TOKENIZER_FILE)
    _require_same("tokenizer_sha256", training.tokenizer_sha256, found, directory)
    return replace(training, tokenizer_sha256=found)


def open_sampler(training: TokenizerTraining) -> tuple[TokenizerTraining, Sampler | None]:
    """The sampler that a training asks for, and its config with the hash of the generator filled in.

    Raises:
        ConfigError: `init` has another generator than the one that the run was begun with.
        ModelError: it has none.
        UnknownNameError: there is no such model.
        ModelFormatError: it cannot be read.
    """
    if training.samples.count == 0:
        return training, None
    folder = find_model(training.init)
    sampler = Sampler(folder, training.samples, training.run.seed)
    _require_same("generator_sha256", training.generator_sha256, sampler.digest, folder)
    return replace(training, generator_sha256=sampler.digest), sampler


def _require_same(key: str, known: str, found: str, directory: Path) -> None:
    """Raise ConfigError if a run was begun with weights of another hash; an empty one is of a run that begins."""
    if known not in ("", found):
        part = key.removesuffix("_sha256")
        message = f"{key}: expected {known[:12]}…, {directory} has {found[:12]}…"
        raise ConfigError(message, hint=f"a run keeps its {part}; for a new run leave the key out")


def launch(
    training: TokenizerTraining | GeneratorTraining,
    build: Callable[[Source], Objective],
    *,
    size: int,
    output: Path | None,
    resume: Path | None,
    device: torch.device,
    stage: Stage | None = None,
) -> Path:
    """Train, in a new run folder or on from the last checkpoint of one; returns the folder, by then a model folder.

    Args:
        build: makes the objective, given the held-out images.
        size: of the images, in pixels.
        output: the new run's folder; None is `runs/NAME`.
        resume: the folder of the run to go on with, instead.
        stage: what the run is a part of, if it is.

    Raises:
        UsageError: a folder that is not empty, or not there; data that are too few or not there.
        What `start_from` raises for the model to start from.
        What `Trainer` raises.
    """
    folder = _run_folder(training.name, output, resume)
    with folder_lock(folder) as lock:
        if folder.is_dir() and int(os.environ.get("RANK", "0") or 0) == 0:  # one process holds it for all
            lock.take()
        if resume is None:
            _check_empty(folder)
        checkpoint = next(reversed(list_checkpoints(folder)), None) if resume is not None else None
        if checkpoint is not None and (done := step_of(checkpoint)) >= training.run.steps:
            if stage is None:
                console.say(f"{folder}: finished, after {done} steps; with a larger run.steps it would go on")
            return folder
        trainer, record = _trainer(training, build, folder, checkpoint, size=size, device=device, stage=stage)
        if trainer.is_main:
            lock.take()
            _prepare(folder, training, record, new=resume is None)
        else:
            console.configure(quiet=True)
        if resume is not None:
            console.say(f"going on after step {trainer.step} of {training.run.steps}")
        millions = sum(p.numel() for p in trainer.objective.model.parameters()) / 1e6
        console.say(f"training {millions:.1f} M parameters on {training.data.source}, {trainer.device}, in {folder}")
        try:
            trainer.train()
        finally:
            trainer.accelerator.end_training()  # leaves the group of processes
        if stage is None:
            console.say(f"done: {folder} is a model folder")
        return folder


def _trainer(
    training: TokenizerTraining | GeneratorTraining,
    build: Callable[[Source], Objective],
    folder: Path,
    checkpoint: Path | None,
    *,
    size: int,
    device: torch.device,
    stage: Stage | None,
) -> tuple[Trainer, DataRecord | None]:
    """The trainer, at its checkpoint if there is one, and the record of its data."""
    source, held_out, record = open_recorded(
        training.data,
        size,
        captions=_takes_texts(training),
        classes=isinstance(training, GeneratorTraining),
        run=folder if checkpoint is not None else None,
    )
    objective = build(held_out)
    if training.init and checkpoint is None:
        start_from(training.init, _WEIGHTS[type(training)], objective.model)
    trainer = Trainer(objective, source, training.data, training.run, folder, device=device, stage=stage)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    trainer.accelerator.wait_for_everyone()  # all have looked at the folder before one writes to it
    return trainer, record


def _takes_texts(training: TokenizerTraining | GeneratorTraining) -> bool:
    """Whether a training needs captions: a generator's own, or one's whose codes a decoder learns to show."""
    if isinstance(training, GeneratorTraining):
        return training.generator.text is not None
    sampler = read_config(find_model(training.init)).generator if training.samples.count else None
    return sampler is not None and sampler.condition == "text"


def _run_folder(name: str, output: Path | None, resume: Path | None) -> Path:
    if resume is not None:
        if output not in (None, resume):
            raise UsageError("--resume goes on in the run's own folder, so -o has no place beside it")
        return resume
    folder = output or Path("runs") / name
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, not a folder")
    return folder


def _check_empty(folder: Path) -> None:
    if folder.exists() and not all(is_leftover(path) for path in folder.iterdir()):
        hint = f"go on with {resume_command(folder)}, or choose another folder with -o"
        raise UsageError(f"{folder}: exists and is not empty", hint=hint)


def _prepare(
    folder: Path, training: TokenizerTraining | GeneratorTraining, record: DataRecord | None, *, new: bool
) -> None:
    """Write the config and the record of the data into the run's folder, and remove what a killed process left."""
    if new:
        _check_empty(folder)  # another run may have begun and ended there in the meantime
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / FOLDER, folder / "samples"):
            clear_leftovers(place)
        clear_unfinished(folder)
        with atomic_write(folder / TRAINING_FILE) as temporary:
            temporary.write_text(schema.dump_yaml(training), encoding="utf-8")
        if record is not None:
            record.write(folder)
