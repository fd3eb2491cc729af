"""`bigr train`: from a folder of images to a model, both stages, by a plan."""

import os
from typing import Annotated

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.options import TRAINING, Settings, argument, option
from bigr_cli.options.groups import grouped
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
        str | None, argument("[IMAGES]", "A folder, tar shards, tables, arrays, hf://… or scenes.")
    ] = None,
    settings: Settings = None,
    output: options.RunFolder = None,
    time: options.TrainingTime = None,
    steps: Annotated[
        int | None,
        option("--steps --max-train-steps", "Steps of each stage, not a time.", TRAINING, min=1, metavar="N"),
    ] = None,
    size: options.TrainingSize = "auto",
    image_size: Annotated[
        int | None,
        option("--image-size --resolution", "Pixels. Without it, by the data.", TRAINING, min=16, metavar="N"),
    ] = None,
    captions: Annotated[
        bool | None, option("--captions/--classes", "What prompts are. Without it, what the data have.", TRAINING)
    ] = None,
    start: Annotated[
        str,
        options.named_model(
            "The model whose tokenizer to begin with. Without it, the shipped one where its sizes fit.",
            TRAINING,
            name="--from",
            metavar="MODEL|none",
        ),
    ] = "",
    plan: Annotated[bool, option("--plan", "Print the plan and train nothing.", TRAINING)] = False,
    resume: options.TrainingResume = None,
    lr: options.LearningRate = None,
    seed: Annotated[int, options.seed("Of data and weights.", TRAINING, show_default=False)] = 0,
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
