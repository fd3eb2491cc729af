"""`bigr train`: from a folder of images to a model, both stages, by a plan."""

import os
from typing import Annotated

import typer

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import grouped
from bigr_cli.options import Settings
from bigr_cli.options.base import TRAINING, own_option
from bigr_cli.registry import TRAIN, task


@task(
    "train",
    panel=TRAIN,
    help="Train a model on a folder of images: look, plan, tokenizer, generator.",
    examples=(
        "bigr train photos/ -o runs/photos --time 2h",
        "bigr train photos/ --time 30m --plan",
        "bigr train scenes -o runs/scenes --steps 2000 --size tiny",
        "bigr train --resume runs/photos",
    ),
)
@grouped
def train(
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="[IMAGES]",
            help="A folder, tar shards, tables, arrays, hf://… or scenes.",
        ),
    ] = None,
    settings: Settings = None,
    output: options.RunFolder = None,
    time: options.TrainingTime = None,
    steps: Annotated[
        int | None,
        own_option(
            "--steps",
            aliases=("--max-train-steps",),
            panel=TRAINING,
            min=1,
            metavar="N",
            help="Steps of each stage, not a time.",
        ),
    ] = None,
    size: options.TrainingSize = "auto",
    image_size: Annotated[
        int | None,
        own_option(
            "--image-size",
            aliases=("--resolution",),
            panel=TRAINING,
            min=16,
            metavar="N",
            help="Pixels. Without it, by the data.",
        ),
    ] = None,
    captions: Annotated[
        bool | None,
        own_option("--captions/--classes", panel=TRAINING, help="What prompts are. Without it, what the data have."),
    ] = None,
    start: Annotated[
        str,
        own_option(
            *("-m", "--from"),
            aliases=("--model",),
            panel=TRAINING,
            metavar="MODEL|none",
            help="The model whose tokenizer to begin with. Without it, the shipped one where its sizes fit.",
        ),
    ] = "",
    plan: Annotated[bool, own_option("--plan", panel=TRAINING, help="Print the plan and train nothing.")] = False,
    resume: options.TrainingResume = None,
    lr: options.LearningRate = None,
    seed: Annotated[int, own_option("--seed", panel=TRAINING, min=0, help="Of data and weights.")] = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """It looks at the images, plans for the time that there is, says the plan, and trains a tokenizer and then a
    generator. The folder is a model folder from the first samples on. Ctrl-C and SIGTERM leave a model; --resume goes
    on from there. KEY=VALUE changes settings of both stages, such as data.flip=false, and with tokenizer: or generator:
    in front those of one.
    """
    if images is None and resume is None:
        raise UsageError("IMAGES are missing", hint="bigr train photos/ -o runs/photos; or --resume DIR")
    other = next((word for word in settings or () if "=" not in word and (os.path.exists(word) or "://" in word)), None)
    if images is not None and other is not None:
        hint = "make a folder with both in it, or with links to them: each is a class then"
        raise UsageError(f"expected one folder of images, got {images} and {other}", hint=hint)
    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.training.command import new_training, resumed_training
    from bigr_cli.training.request import Request

    set_threads(threads)
    chosen = tuple(settings or ())
    if resume is not None:
        if images is not None and "=" in images:  # the first of the settings, where no images are expected
            chosen, images = (images, *chosen), None
        chosen = tuple(options.with_rate(chosen, lr))
        given = {"IMAGES": images, "--output": output, "--time": time, "--steps": steps, "--image-size": image_size}
        given |= {"--size": size != "auto", "--captions/--classes": captions is not None, "--from": start}
        surplus = [name for name, value in given.items() if value or (value == 0 and value is not False)]
        if surplus or plan:
            names = ", ".join([*surplus, *(["--plan"] if plan else [])])
            raise UsageError(f"--resume goes on with the plan that there is, so {names} has no place beside it")
        resumed_training(resume, select_device(device), settings=chosen)
        return
    request = Request(
        images=images or "",
        name="",
        seconds=time,
        steps=steps,
        size=None if size == "auto" else size,
        side=image_size,
        condition=None if captions is None else "captions" if captions else "classes",
        start=start,
        seed=seed,
        settings=tuple(options.with_rate(chosen, lr)),
    )
    new_training(request, output, select_device(device), plan_only=plan)
