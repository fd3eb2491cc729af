"""What the training commands do before and after they train: look at the images, plan, say what comes next.

`bigr train` and `bigr_cli.train` train both stages; `train-tokenizer` and `train-generator` one, by the same planner,
if nothing says how large.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from bigr_cli import console, schema
from bigr_cli.data import look as looks
from bigr_cli.errors import UsageError
from bigr_cli.files import atomic_write, writing
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.plan import Plan
from bigr_cli.training.planning import Planner, Stages
from bigr_cli.training.request import Request, look_for
from bigr_cli.training.size_names import AskedSize
from bigr_cli.training.train import GENERATOR, TOKENIZER, Training, TrainState, prepare_folder, write_state
from bigr_cli.zoo.config import read_config, safe_name

_STEPS = re.compile(r"\s*run\.steps\s*=\s*(\d{1,9})\s*")
_TEXT = "generator.text"
_COMMAND_LINE = "command line"
BROKEN_FILE = "broken.txt"
_FIRST_ONLY = {"tokenizer", "losses", "freeze_encoder"}
_SECOND_ONLY = {
    "generator",
    "sampling",
    "painting",
    "masking",
    "alignment",
    "name",
    "data.cache_codes",
    "data.cache_texts",
}


def needs_plan(kind: type[TokenizerTraining] | type[GeneratorTraining], settings: Sequence[str]) -> bool:
    """Whether settings leave the sizes open."""
    section = "tokenizer" if kind is TokenizerTraining else "generator"
    keys = [setting.partition("=")[0].strip() for setting in settings]
    return not any(key.partition(".")[0] == section and not key.startswith(_TEXT) for key in keys)


def check_dial(config: Path | None, resume: Path | None, seconds: float | None, size: AskedSize) -> None:
    """Raise UsageError if a time or a size is given beside a config or a run that has its own."""
    given = [name for name, there in (("--time", seconds is not None), ("--size", size != "auto")) if there]
    beside = "--config" if config is not None else "--resume" if resume is not None else ""
    if given and beside:
        raise UsageError(f"{beside} says how large and how long already, so {given[0]} has no place beside it")


def planned_tokenizer(
    data: str, settings: Sequence[str], device: torch.device, *, seconds: float | None, size: AskedSize
) -> TokenizerTraining:
    """The settings of a tokenizer's training, `settings` among them; says what was found and planned.

    Raises:
        UsageError: images that are not there or too few, too little time or memory.
    """
    return _planned("tokenizer", data, settings, device, seconds=seconds, size=size).tokenizer


def planned_generator(
    data: str,
    settings: Sequence[str],
    device: torch.device,
    *,
    tokenizer: str,
    seconds: float | None,
    size: AskedSize,
) -> GeneratorTraining:
    """The settings of a generator's training on the codes of a model's tokenizer; else as `planned_tokenizer`."""
    return _planned("generator", data, settings, device, folder=tokenizer, seconds=seconds, size=size).generator


def _planned(
    only: Literal["tokenizer", "generator"],
    data: str,
    settings: Sequence[str],
    device: torch.device,
    *,
    folder: str = "",
    seconds: float | None,
    size: AskedSize,
) -> Plan:
    steps = next((int(found[1]) for found in map(_STEPS.fullmatch, settings) if found), None)
    if steps is not None and seconds is not None:
        raise UsageError("--time and run.steps exclude each other: one follows from the other")
    texts = any(setting.strip().startswith(_TEXT) for setting in settings)
    request = Request(
        images=data,
        name="model",
        seconds=seconds,
        steps=steps,
        size=size,
        captions=True if texts else None,
        start="none",
    )

    def adjust(stages: Stages) -> Stages:
        first, second = stages
        if only == "tokenizer":
            return schema.override(first, settings, _COMMAND_LINE), second
        return first, _with_settings(second, settings)

    look = look_for(request)
    for line in looks.lines(look):
        console.say(f"data: {line}")
    plan = Planner(request, look, device, adjust=adjust, folder=folder, only=only).plan()
    for line in plan.lines(only):
        console.say(f"plan: {line}")
    return plan


def new_training(request: Request, folder: Path | None, device: torch.device, *, plan_only: bool = False) -> Path:
    """Look at the images, plan, and train in a new folder, which is returned.

    Args:
        folder: None is `runs/` and the name of the images' folder.
        plan_only: print the plan on stdout and train nothing.

    Raises:
        UsageError: the folder is not empty; images that are not there or too few; too little time or memory.
        What training raises.
    """
    _refuse_several_processes()
    if request.seconds is not None and request.steps is not None:
        raise UsageError("--time and --steps exclude each other: one follows from the other")
    folder = Path("runs") / safe_name(os.path.basename(os.path.realpath(request.images))) if folder is None else folder
    if not plan_only:
        prepare_folder(folder)
    request = replace(request, name=request.name or safe_name(os.path.basename(os.path.realpath(folder))))
    adjust = partial(adjusted, request.settings)
    say = console.result if plan_only else console.say
    look = look_for(request)
    for line in looks.lines(look):
        say(f"data: {line}")
    if look.broken:
        where = "" if plan_only else f", listed in {folder / BROKEN_FILE}"
        say(f"data: {len(look.broken):,} broken: left out{where}")
    plan = Planner(request, look, device, adjust=adjust, folder=str(folder / TOKENIZER)).plan()
    for line in plan.lines():
        say(f"plan: {line}")
    if plan_only:
        return folder
    write_state(folder, TrainState(plan))
    if look.broken:
        _list_broken(folder / BROKEN_FILE, look.broken)
    return _train(folder, device)


def resumed_training(folder: Path, device: torch.device, *, settings: Sequence[str] = ()) -> Path:
    """Go on with a training from where it is, with settings changed. Raises what `Training` raises."""
    _refuse_several_processes()
    return _train(folder, device, settings=settings)


def _refuse_several_processes() -> None:
    """Raise UsageError under torchrun: each process would plan for itself, and write the same folder."""
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        hint = "bigr train-tokenizer and train-generator share the work: see docs/scale.md"
        raise UsageError("bigr train is for one process; several would each plan for themselves", hint=hint)


def _train(folder: Path, device: torch.device, *, settings: Sequence[str] = ()) -> Path:
    Training(folder, device, _split(settings)).run()
    labels = read_config(folder).labels
    prompt = f'"{labels[0]}"' if labels and labels != ("picture",) else ""
    console.say(f"done: {folder} is a model folder; next: bigr generate {prompt} -n 8 -m {folder}".replace("  ", " "))
    return folder


def _list_broken(path: Path, names: Sequence[str]) -> None:
    with writing(path), atomic_write(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")


def adjusted(settings: Sequence[str], stages: Stages) -> Stages:
    """Both stages with key=value settings: those of one stage, those of both, and those that name theirs.

    Raises:
        ConfigError: an unknown key, or a value that cannot be.
    """
    chosen, (tokenizer, generator) = _split(settings), stages
    first, second = chosen[TOKENIZER], chosen[GENERATOR]
    return (
        schema.override(tokenizer, first, _COMMAND_LINE) if first else tokenizer,
        _with_settings(generator, second) if second else generator,
    )


def _with_settings(generator: GeneratorTraining, settings: Sequence[str]) -> GeneratorTraining:
    """A planned stage, where `sampling.…` is also for painting, unless that is set apart."""
    if generator.painting is not None:
        keys = [setting.strip() for setting in settings]
        painting = [key.replace("sampling", "painting", 1) for key in keys if key.startswith("sampling.")]
        settings = [*settings, *painting, *(key for key in keys if key.startswith("painting."))]
    return schema.override(generator, settings, _COMMAND_LINE)


def _split(settings: Sequence[str]) -> dict[str, list[str]]:
    """The settings of the tokenizer's stage and of the generator's."""
    found: dict[str, list[str]] = {TOKENIZER: [], GENERATOR: []}
    for setting in settings:
        stage, colon, rest = setting.partition(":")
        if colon and stage in found:
            found[stage].append(rest)
            continue
        key = setting.partition("=")[0].strip()
        owner = key if key in _SECOND_ONLY else key.partition(".")[0]
        if owner not in _SECOND_ONLY:
            found[TOKENIZER].append(setting)
        if owner not in _FIRST_ONLY:
            found[GENERATOR].append(setting)
    return found
