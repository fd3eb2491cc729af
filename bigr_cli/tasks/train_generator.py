"""`bigr train-generator`: the transformer and transcoder on a tokenizer's codes."""

from typing import Annotated

from bigr_cli import options
from bigr_cli.options import ARGUMENTS, Settings
from bigr_cli.options.groups import Run, grouped
from bigr_cli.registry import TRAIN, task


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
    from functools import partial

    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.training.alone import check_dial, needs_plan, planned_generator
    from bigr_cli.training.config import GeneratorTraining
    from bigr_cli.training.generator import GeneratorObjective
    from bigr_cli.training.launch import launch, pin_tokenizer, read_training
    from bigr_cli.zoo.find import find_model
    from bigr_cli.zoo.folder import load_tokenizer

    set_threads(run.threads)
    chosen = run.settings(
        settings, tokenizer, explain="train-generator --tokenizer scenes-64 --data photos/ -o runs/generator"
    )
    device = select_device(run.device)
    size = None if run.size == "auto" else run.size
    check_dial(run.config, run.resume, run.time, size)
    options = {"data.source": run.data, "tokenizer": tokenizer}
    read = partial(
        read_training,
        GeneratorTraining,
        config=run.config,
        resume=run.resume,
        settings=chosen,
        given={key: value for key, value in options.items() if value is not None},
    )
    training = read(default=GeneratorTraining(tokenizer="scenes-64"))
    if run.config is None and run.resume is None and needs_plan(GeneratorTraining, chosen):
        source, model = training.data.source, training.tokenizer
        training = read(default=planned_generator(source, chosen, device, tokenizer=model, seconds=run.time, size=size))
    directory = find_model(training.tokenizer)
    module, base = load_tokenizer(directory)
    training = pin_tokenizer(training, directory)
    launch(
        training,
        partial(GeneratorObjective, training, module, base),
        size=base.tokenizer.image_size,
        output=run.output,
        resume=run.resume,
        device=device,
    )
