"""`bigr train` and `bigr_cli.train`: look, plan, train, and say what comes next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bigr_cli import console
from bigr_cli.data import look as looks
from bigr_cli.errors import UsageError
from bigr_cli.files import atomic_write, writing
from bigr_cli.training.planning import Planner
from bigr_cli.training.request import Request, look_for
from bigr_cli.training.train import TOKENIZER, Training, TrainState, adjusted, prepare_folder, write_state
from bigr_cli.zoo.config import read_config, safe_name

BROKEN_FILE = "broken.txt"


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
    Training(folder, device, settings=settings).run()
    labels = read_config(folder).labels
    prompt = f'"{labels[0]}"' if labels and labels != ("picture",) else ""
    console.say(f"done: {folder} is a model folder; next: bigr generate {prompt} -n 8 -m {folder}".replace("  ", " "))
    return folder


def _list_broken(path: Path, names: Sequence[str]) -> None:
    with writing(path), atomic_write(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
