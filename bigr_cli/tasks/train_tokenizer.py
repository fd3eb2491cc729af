"""`bigr train-tokenizer`: a binary autoencoder for one's own images."""

from typing import Annotated

from bigr_cli import options
from bigr_cli.options import TRAINING, Settings
from bigr_cli.options.groups import Run, grouped
from bigr_cli.registry import TRAIN, task


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
    from functools import partial

    from bigr_cli.core.config import CompactConfig
    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.training.alone import check_dial, needs_plan, planned_tokenizer
    from bigr_cli.training.config import TokenizerTraining
    from bigr_cli.training.launch import launch, read_training
    from bigr_cli.training.tokenizer import TokenizerObjective

    set_threads(run.threads)
    chosen = run.settings(settings, start, explain="train-tokenizer --data photos/ -o runs/tokenizer")
    device = select_device(run.device)
    size = None if run.size == "auto" else run.size
    check_dial(run.config, run.resume, run.time, size)
    options = {"data.source": run.data, "init": start}
    read = partial(
        read_training,
        TokenizerTraining,
        config=run.config,
        resume=run.resume,
        settings=chosen,
        given={key: value for key, value in options.items() if value is not None},
    )
    training = read(default=TokenizerTraining(tokenizer=CompactConfig(image_size=64, bits=24)))
    if run.config is None and run.resume is None and needs_plan(TokenizerTraining, chosen):
        training = read(default=planned_tokenizer(training.data.source, chosen, device, seconds=run.time, size=size))
    launch(
        training,
        partial(TokenizerObjective, training),
        size=training.tokenizer.image_size,
        output=run.output,
        resume=run.resume,
        device=device,
    )
