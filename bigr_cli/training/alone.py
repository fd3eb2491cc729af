"""What `train-tokenizer` and `train-generator` train if nothing says how large: one stage, by the same planner."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from bigr_cli import console, schema
from bigr_cli.data import look as looks
from bigr_cli.errors import UsageError
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.plan import Plan
from bigr_cli.training.planning import Planner, Stages
from bigr_cli.training.request import Request, look_for
from bigr_cli.training.sizes import SizeName

_STEPS = re.compile(r"\s*run\.steps\s*=\s*(\d{1,9})\s*")
_TEXT = "generator.text"


def needs_plan(kind: type[TokenizerTraining] | type[GeneratorTraining], settings: Sequence[str]) -> bool:
    """Whether settings leave the sizes open."""
    section = "tokenizer" if kind is TokenizerTraining else "generator"
    keys = [setting.partition("=")[0].strip() for setting in settings]
    return not any(key.partition(".")[0] == section and not key.startswith(_TEXT) for key in keys)


def check_dial(config: Path | None, resume: Path | None, seconds: float | None, size: str | None) -> None:
    """Raise UsageError if a time or a size is given beside a config or a run that has its own."""
    given = [name for name, value in (("--time", seconds), ("--size", size)) if value is not None]
    beside = "--config" if config is not None else "--resume" if resume is not None else ""
    if given and beside:
        raise UsageError(f"{beside} says how large and how long already, so {given[0]} has no place beside it")


def planned_tokenizer(
    data: str, settings: Sequence[str], device: torch.device, *, seconds: float | None, size: SizeName | None
) -> TokenizerTraining:
    """The settings of a tokenizer's training, `settings` among them; says what was found and planned.

    Raises:
        UsageError: images that are not there or too few, too little time or memory.
    """

    def adjust(stages: Stages) -> Stages:
        return schema.override(stages[0], list(settings), "command line"), stages[1]

    request = _request(data, settings, seconds, size)
    return _planned(request, device, adjust, "", "tokenizer").tokenizer


def planned_generator(
    data: str,
    settings: Sequence[str],
    device: torch.device,
    *,
    tokenizer: str,
    seconds: float | None,
    size: SizeName | None,
) -> GeneratorTraining:
    """The settings of a generator's training on the codes of a model's tokenizer; else as `planned_tokenizer`."""

    def adjust(stages: Stages) -> Stages:
        return stages[0], schema.override(stages[1], list(settings), "command line")

    request = _request(data, settings, seconds, size)
    return _planned(request, device, adjust, tokenizer, "generator").generator


def _request(data: str, settings: Sequence[str], seconds: float | None, size: SizeName | None) -> Request:
    steps = next((int(found[1]) for found in map(_STEPS.fullmatch, settings) if found), None)
    if steps is not None and seconds is not None:
        raise UsageError("--time and run.steps exclude each other: one follows from the other")
    texts = any(setting.strip().startswith(_TEXT) for setting in settings)
    return Request(
        images=data,
        name="model",
        seconds=seconds,
        steps=steps,
        size=size,
        condition="captions" if texts else None,
        start="none",
    )


def _planned(
    request: Request,
    device: torch.device,
    adjust: Callable[[Stages], Stages],
    folder: str,
    only: Literal["tokenizer", "generator"],
) -> Plan:
    look = look_for(request)
    for line in looks.lines(look):
        console.say(f"data: {line}")
    plan = Planner(request, look, device, adjust=adjust, folder=folder, only=only).plan()
    for line in plan.lines(only):
        console.say(f"plan: {line}")
    return plan
