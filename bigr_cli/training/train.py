"""Both stages in one folder, with one state: tokenizer, then generator, resumable at any moment.

DIR/train.yaml      the plan, and the seconds that each stage has taken
DIR/tokenizer/      the first stage, a run folder as `train-tokenizer` makes it
DIR/generator/      the second one
DIR/config.yaml …   the model so far: every command takes DIR as --model
DIR/report.html     curves, samples and reconstructions, and what was measured at the end
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from bigr_cli import console, schema
from bigr_cli.data.images import read_image
from bigr_cli.errors import UsageError
from bigr_cli.evaluation.report import lines
from bigr_cli.files import atomic_write, is_leftover, writing
from bigr_cli.folders import folder_lock
from bigr_cli.pages import Shown, rendered, shown
from bigr_cli.training.checkpoint import STATE_FILE, TRAINING_FILE, resume_command
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.finish import NEAREST, finish
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.launch import launch, open_sampler, pin_tokenizer, read_training
from bigr_cli.training.plan import Plan
from bigr_cli.training.reports import metrics
from bigr_cli.training.stopping import Pace, Stage
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.config import CARD_FILE, CONFIG_FILE, read_config
from bigr_cli.zoo.folder import load_tokenizer

TOKENIZER, GENERATOR = "tokenizer", "generator"
PAGE = "report.html"

_T = TypeVar("_T", TokenizerTraining, GeneratorTraining)
_CURVES = {
    "tokenizer": (("psnr", "PSNR in dB ↑", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
    "generator": (("loss", "loss ↓", "held-out images", "validation"), ("loss", "loss ↓", "training", "train")),
}
_SHEETS = (
    ("Samples", "generator", "the first classes or captions in turn, always with the same seeds"),
    ("Reconstructions", "tokenizer", "held-out images in one row, their reconstructions in the row below"),
)
_REFRESH = 60  # seconds
_PAGE_SHARE = 0.05  # of a training's time that may go into writing its page anew; curves take long to be plotted


@dataclass(frozen=True)
class TrainState:
    """What `train.yaml` holds."""

    plan: Plan
    spent: dict[str, float] = field(default_factory=dict)  # seconds, by the stage's name
    notes: tuple[str, ...] = ()  # what was measured at the end


def prepare_folder(folder: Path) -> None:
    """Raise UsageError unless the folder is new or empty."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, not a folder")
    if (folder / STATE_FILE).is_file():
        raise UsageError(f"{folder}: holds a training already", hint=f"bigr train --resume {folder} goes on with it")
    if folder.exists() and not all(is_leftover(path) for path in folder.iterdir()):
        raise UsageError(f"{folder}: exists and is not empty", hint="choose another folder with -o")


def write_state(folder: Path, state: TrainState) -> None:
    """Write train.yaml. Raises RunError if that is not possible."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / STATE_FILE) as temporary:
            temporary.write_text(schema.dump_yaml(state), encoding="utf-8")


def read_state(folder: Path) -> TrainState:
    """What train.yaml says. Raises UsageError for a folder without one, ConfigError for a damaged one."""
    path = folder / STATE_FILE
    if not path.is_file():
        hint = "--resume takes the folder of a bigr train, such as runs/photos"
        if (folder / TRAINING_FILE).is_file():
            hint = f"it is a run of one stage: {resume_command(folder)}"
        raise UsageError(f"{folder}: is no training to go on with: it has no {STATE_FILE}", hint=hint)
    return schema.load_yaml(TrainState, path)


class Training:
    """Goes through both stages of a plan in a folder, from wherever they are."""

    def __init__(self, folder: Path, device: torch.device, settings: Mapping[str, Sequence[str]]) -> None:
        """`settings`, by stage, change what these were begun with. Raises what `read_state` raises."""
        self.folder, self.device, self.state = folder, device, read_state(folder)
        self.settings = {stage: list(some) for stage, some in settings.items()}
        self._page_due = 0.0

    def run(self) -> None:
        """Train what is left of both stages.

        Raises:
            UsageError: another process trains in the folder.
            KeyboardInterrupt, SystemExit: interrupted, or ended by SIGTERM; the state is saved, and the model.
            What `launch` raises.
        """
        with folder_lock(self.folder) as lock:
            lock.take()
            self._tokenizer()
            self._generator()
            self._finish()

    def _finish(self) -> None:
        """Once, when both stages are done: measure, and say what was found."""
        if not self.state.notes:
            generator = schema.load_yaml(GeneratorTraining, self.folder / GENERATOR / TRAINING_FILE)
            stages = (self.folder / TOKENIZER, self.folder / GENERATOR)
            results = finish(self.folder, *stages, generator, self.device)
            self.state = replace(self.state, notes=tuple(result.line() for result in results))
            write_state(self.folder, self.state)
        for note in self.state.notes:
            console.say(f"result: {note}")
        self._page()

    def _page(self) -> None:
        begun, plan = time.monotonic(), self.state.plan
        write_page(self.folder, plan.generator.name, plan.lines(), self.state.notes)
        ended = time.monotonic()
        self._page_due = ended + (ended - begun) / _PAGE_SHARE

    def _written(self, name: str) -> None:
        """A stage has written its model."""
        publish(self.folder / name, self.folder)
        if time.monotonic() >= self._page_due:
            self._page()

    def _tokenizer(self) -> None:
        training, resume = self._stage(TokenizerTraining, TOKENIZER, self.state.plan.tokenizer)
        training, sampler = open_sampler(training)
        launch(
            training,
            partial(TokenizerObjective, training, sampler=sampler),
            size=training.tokenizer.image_size,
            output=self.folder / TOKENIZER,
            resume=resume,
            device=self.device,
            stage=self._as_stage(TOKENIZER, self.state.plan.tokenizer_seconds),
        )

    def _generator(self) -> None:
        source = self.folder / TOKENIZER
        training, resume = self._stage(GeneratorTraining, GENERATOR, self.state.plan.generator)
        module, base = load_tokenizer(source)
        training = pin_tokenizer(replace(training, tokenizer=str(source)), source)
        launch(
            training,
            partial(GeneratorObjective, training, module, base),
            size=base.tokenizer.image_size,
            output=self.folder / GENERATOR,
            resume=resume,
            device=self.device,
            stage=self._as_stage(GENERATOR, self._left()),
        )

    def _stage(self, kind: type[_T], name: str, planned: _T) -> tuple[_T, Path | None]:
        """The stage's settings, and its folder if it has begun."""
        folder, settings = self.folder / name, self.settings[name]
        if not (folder / TRAINING_FILE).is_file():
            return schema.override(planned, settings, "command line") if settings else planned, None
        return read_training(kind, config=None, resume=folder, settings=settings, default=planned), folder

    def _left(self) -> float | None:
        """Seconds for the second stage: its own, and what the first one left over or took too much."""
        plan = self.state.plan
        if plan.generator_seconds is None or plan.tokenizer_seconds is None:
            return None
        return plan.generator_seconds + plan.tokenizer_seconds - self.state.spent.get(TOKENIZER, plan.tokenizer_seconds)

    def _as_stage(self, name: str, seconds: float | None) -> Stage:
        pace = None
        if seconds is not None and not any("run.steps" in setting for setting in self.settings[name]):
            spent = self.state.spent.get(name, 0.0)
            pace = Pace(seconds, spent=spent, checkpointed=partial(self._checkpointed, name))
        return Stage(name, self.folder, pace, partial(self._written, name))

    def _checkpointed(self, name: str, spent: float, steps: int | None) -> None:
        """After a checkpoint: note the time, and the number of steps if it is another one."""
        if steps is not None:
            path = self.folder / name / TRAINING_FILE
            kind: type[TokenizerTraining | GeneratorTraining] = (
                TokenizerTraining if name == TOKENIZER else GeneratorTraining
            )
            training = schema.load_yaml(kind, path)
            with atomic_write(path) as temporary:
                text = schema.dump_yaml(replace(training, run=replace(training.run, steps=steps)))
                temporary.write_text(text, encoding="utf-8")
        self.state = replace(self.state, spent={**self.state.spent, name: round(spent, 1)})
        write_state(self.folder, self.state)


def publish(stage: Path, folder: Path) -> None:
    """Copy a stage's model to the folder of the whole training, its config last."""
    config = read_config(stage)
    for name in (*config.weight_files, CARD_FILE, CONFIG_FILE):
        with atomic_write(folder / name) as temporary:
            shutil.copyfile(stage / name, temporary)


def write_page(folder: Path, name: str, plan: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Write the page anew from what the stages' folders hold.

    Args:
        plan: in lines.
        notes: what was found at the end.

    Raises:
        RunError: it cannot be written.
    """
    sheets = []
    for title, stage, caption in _SHEETS:
        newest = max((folder / stage / "samples").glob("step-*.png"), default=None)
        if newest is not None:
            step = int(newest.stem.removeprefix("step-"))
            sheets.append((title, _shown(newest, f"{caption}; after {step:,} steps")))
    if (folder / NEAREST).is_file():
        caption = "samples in one row, the nearest training image of each in the row below"
        sheets.append(("Nearest training images", _shown(folder / NEAREST, caption)))
    found = {stage: [_curve(folder / stage, *curve) for curve in _CURVES[stage]] for stage in _CURVES}
    curves = [
        (stage.capitalize(), plotted) for stage, several in found.items() if (plotted := list(filter(None, several)))
    ]
    page = rendered(
        "training.html",
        title=name,
        plan="\n".join(plan),
        notes=notes,
        sheets=sheets,
        curves=curves,
        refresh=_REFRESH,
    )
    with writing(folder / PAGE), atomic_write(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(path: Path, caption: str) -> Shown:
    return shown(caption, read_image(path).image)


def _curve(run: Path, key: str, label: str, what: str, kind: str) -> tuple[str, str] | None:
    """The caption and the SVG of a value over the steps; None without two of them."""
    points = [
        (record["step"], record[key]) for record in metrics(run, kind) if isinstance(record.get(key), int | float)
    ]
    if len(points) < 2:
        return None
    steps, values = zip(*points, strict=True)
    return f"{label}, {what}", lines({what: (steps, values)}, x="step", y=label, marker="" if len(points) > 50 else "o")
