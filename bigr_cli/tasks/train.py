"""`bigr train`, from a folder of images to a model by a plan, and its two stages by themselves."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.options import ARGUMENTS, TRAINING, Settings, argument, option
from bigr_cli.options.groups import Run, grouped
from bigr_cli.registry import TRAIN, task

if TYPE_CHECKING:
    from bigr_cli.training.launch import Training


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
    from bigr_cli.training.commands import new_training, resumed_training
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
        seconds=time,
        steps=steps,
        size=size,
        image_size=image_size,
        captions=captions,
        start=start,
        seed=seed,
        settings=tuple(options.with_rate(chosen, lr)),
    )
    new_training(request, output, select_device(device), plan_only=plan)


class _Stage:
    """One stage trained by itself: its options, checked, and where it runs."""

    def __init__(self, run: Run, settings: Settings, model: str | None, *, explain: str) -> None:
        from bigr_cli.runtime.device import select_device, set_threads
        from bigr_cli.training.commands import check_dial

        set_threads(run.threads)
        self._run, self._settings = run, run.settings(settings, model, explain=explain)
        self._device = select_device(run.device)
        check_dial(run.config, run.resume, run.time, run.size)

    def read(self, default: "Training", given: Mapping[str, Any], plan: "Callable[..., Training]") -> "Training":
        """The training's config, of which `plan` makes the default where the sizes are left open."""
        from bigr_cli.training.commands import needs_plan
        from bigr_cli.training.launch import read_training

        run, kind = self._run, type(default)
        given = {key: value for key, value in {"data.source": run.data, **given}.items() if value is not None}
        read = partial(read_training, kind, config=run.config, resume=run.resume, settings=self._settings, given=given)
        training = read(default=default)
        if run.config is None and run.resume is None and needs_plan(kind, self._settings):
            dial = {"settings": self._settings, "device": self._device, "seconds": run.time, "size": run.size}
            training = read(default=plan(training, **dial))
        return training

    def launch(self, training: "Training", objective: "Callable[..., Any]", size: int) -> None:
        """Train until it is done."""
        from bigr_cli.training.launch import launch

        run = self._run
        launch(training, objective, size=size, output=run.output, resume=run.resume, device=self._device)


@task(
    "train-generator",
    panel=TRAIN,
    help="Train a generator on the codes of a tokenizer.",
    examples=(
        "bigr train-generator --tokenizer runs/tok --data scenes -o runs/gen run.steps=2000",
        "bigr train-generator --tokenizer scenes-64 --data photos/ generator.dim=256 generator.heads=8",
        "bigr train-generator --tokenizer scenes-64 --data scenes generator.text.encoder=bytes",
        "bigr train-generator --resume runs/gen",
    ),
)
@grouped
def train_generator(
    settings: Settings = None,
    tokenizer: Annotated[
        str | None, options.named_model("The model whose tokenizer makes the codes.", ARGUMENTS, name="--tokenizer")
    ] = None,
    *,
    run: Run,
) -> None:
    """A run ends as a model folder that every command's --model takes. Ctrl-C saves; --resume goes on."""
    from bigr_cli.training.commands import planned_generator
    from bigr_cli.training.config import GeneratorTraining
    from bigr_cli.training.generator import GeneratorObjective
    from bigr_cli.training.launch import pin_tokenizer
    from bigr_cli.zoo.find import find_model
    from bigr_cli.zoo.folder import load_tokenizer

    explain = "train-generator --tokenizer scenes-64 --data photos/ -o runs/generator"
    stage = _Stage(run, settings, tokenizer, explain=explain)
    training = stage.read(
        GeneratorTraining(tokenizer="scenes-64"),
        {"tokenizer": tokenizer},
        lambda training, **dial: planned_generator(training.data.source, tokenizer=training.tokenizer, **dial),
    )
    directory = find_model(training.tokenizer)
    module, base = load_tokenizer(directory)
    training = pin_tokenizer(training, directory)
    stage.launch(training, partial(GeneratorObjective, training, module, base), base.tokenizer.image_size)


@task(
    "train-tokenizer",
    panel=TRAIN,
    help="Train a tokenizer: images to bits and back.",
    examples=(
        "bigr train-tokenizer --data scenes -o runs/tok run.steps=2000",
        "bigr train-tokenizer --data photos/ --config tokenizer.yaml losses.l2=1",
        "bigr train-tokenizer --resume runs/tok",
    ),
)
@grouped
def train_tokenizer(
    settings: Settings = None,
    start: Annotated[
        str | None, options.named_model("The model whose tokenizer gives the first weights.", TRAINING, name="--from")
    ] = None,
    *,
    run: Run,
) -> None:
    """A run ends as a model folder that `bigr train-generator --tokenizer` takes. Ctrl-C saves; --resume goes on."""
    from bigr_cli.core.architectures import CompactConfig
    from bigr_cli.training.commands import planned_tokenizer
    from bigr_cli.training.config import TokenizerTraining
    from bigr_cli.training.launch import open_sampler
    from bigr_cli.training.tokenizer import TokenizerObjective

    stage = _Stage(run, settings, start, explain="train-tokenizer --data photos/ -o runs/tokenizer")
    training = stage.read(
        TokenizerTraining(tokenizer=CompactConfig(image_size=64, bits=24)),
        {"init": start},
        lambda training, **dial: planned_tokenizer(training.data.source, **dial),
    )
    training, sampler = open_sampler(training)
    stage.launch(training, partial(TokenizerObjective, training, sampler=sampler), training.tokenizer.image_size)
