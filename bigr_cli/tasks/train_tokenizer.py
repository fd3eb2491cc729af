"""`bigr train-tokenizer`: a binary autoencoder for one's own pictures."""

from bigr_cli.options import (
    Device,
    Quiet,
    RunFolder,
    Settings,
    Threads,
    TrainingConfigFile,
    TrainingData,
    TrainingResume,
)
from bigr_cli.registry import task


@task(
    "train-tokenizer",
    help="Train a tokenizer: pictures to bits and back.",
    examples=(
        "bigr train-tokenizer --data scenes -o runs/tok run.steps=2000",
        "bigr train-tokenizer --data photos/ --config tokenizer.yaml losses.l2=1",
        "bigr train-tokenizer --resume runs/tok",
    ),
)
def train_tokenizer(
    settings: Settings = None,
    data: TrainingData = None,
    config: TrainingConfigFile = None,
    output: RunFolder = None,
    resume: TrainingResume = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """A run ends as a model folder that `bigr train-generator --tokenizer` takes. Ctrl-C saves; --resume goes on."""
    from functools import partial

    from bigr_cli.core.config import CompactConfig
    from bigr_cli.device import select_device, set_threads
    from bigr_cli.training.config import TokenizerTraining
    from bigr_cli.training.launch import launch, read_training
    from bigr_cli.training.tokenizer import TokenizerObjective

    set_threads(threads)
    chosen = list(settings or []) + ([f"data.source={data}"] if data else [])
    default = TokenizerTraining(tokenizer=CompactConfig(image_size=64, bits=24))
    training = read_training(TokenizerTraining, config=config, resume=resume, settings=chosen, default=default)
    launch(
        training,
        partial(TokenizerObjective, training),
        size=training.tokenizer.image_size,
        output=output,
        resume=resume,
        device=select_device(device),
    )
