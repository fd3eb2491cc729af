"""Options of how the machine is used, what is said meanwhile, and of trainings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from bigr_cli import console
from bigr_cli.options.base import (
    ARGUMENTS,
    MACHINE,
    RARE,
    TRAINING,
    checked_device,
    number,
    option,
    parse_batch_size,
    parse_time,
    training_config,
)

DtypeName = Literal["auto", "float32", "bfloat16", "float16", "int8"]


def _quiet(value: bool) -> bool:
    if value:
        console.configure(quiet=True)
    return value


def _verbose(value: bool) -> bool:
    if value:
        console.configure(verbose=True)
    return value


BatchSize = Annotated[
    int | None,
    option(
        "--batch-size",
        panel=MACHINE,
        metavar="N|auto",
        parser=parse_batch_size,
        help="Images at once, which does not change them. Without it, or with auto: as many as pay and fit.",
    ),
]
Device = Annotated[
    str,
    option(
        "--device",
        panel=MACHINE,
        metavar="NAME",
        callback=checked_device,
        help="auto, cpu, cuda, cuda:N or mps. auto takes a GPU if there is one.",
    ),
]
Dtype = Annotated[
    DtypeName,
    option(
        "--dtype",
        panel=MACHINE,
        metavar="NAME",
        help="auto, float32, bfloat16, float16 or int8. The last is the fastest on many CPUs; auto measures which of "
        "the first three is fast here.",
    ),
]
Threads = Annotated[
    int | None,
    option("--threads", panel=MACHINE, min=1, metavar="N", help="CPU threads. Without it, what torch chooses."),
]
Offload = Annotated[
    bool,
    option(
        "--offload",
        panel=RARE,
        help="For models larger than the device's memory. Each layer is brought there when it is its turn; slower.",
    ),
]
Compile = Annotated[
    bool,
    option(
        "--compile",
        panel=RARE,
        help="Compile the networks for the GPU, for many images. It takes a quarter of a minute, then samples faster.",
    ),
]
DeviceMap = Annotated[
    Literal["auto"] | None,
    option(
        "--device-map",
        panel=RARE,
        metavar="auto",
        help="auto places the layers on all GPUs. If they do not suffice, in main memory and on the disk too.",
    ),
]

Quiet = Annotated[
    bool, option("-q", "--quiet", panel=MACHINE, callback=_quiet, help="Only warnings and errors on stderr.")
]
Verbose = Annotated[
    bool, option("-v", "--verbose", panel=MACHINE, callback=_verbose, help="More about what is going on.")
]

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...", help="Settings that override the config, such as run.steps=2000.", show_default=False
    ),
]
TrainingData = Annotated[
    str | None,
    option(
        "--data",
        panel=ARGUMENTS,
        metavar="DIR|TAR|FILE|scenes",
        aliases=("--dataset", "--train-data-dir"),
        help="What to train on: a folder of images, tar shards, or scenes. Shards are 'DIR/*.tar'; parquet, IDX and "
        "MedMNIST files and hf://datasets/OWNER/NAME are read too.",
    ),
]
TrainingConfigFile = Annotated[
    Path | None,
    option(
        "--config",
        panel=TRAINING,
        metavar="FILE|NAME",
        parser=training_config,
        help="A YAML file of settings, or the published ones. These are published-generator-l and published-tokenizer.",
    ),
]
TrainingResume = Annotated[
    Path | None,
    option(
        "--resume",
        aliases=("--resume-from-checkpoint",),
        panel=TRAINING,
        metavar="RUN",
        help="Go on with this run from its last checkpoint.",
    ),
]
RunFolder = Annotated[
    Path | None,
    option(
        *("-o", "--output"),
        aliases=("--output-dir",),
        panel=ARGUMENTS,
        metavar="DIR",
        variable="BIGR_RUN",  # not BIGR_OUTPUT, which is where images go
        help="The run's folder. runs/NAME if not given.",
    ),
]
TrainingTime = Annotated[
    float | None,
    option(
        "--time",
        panel=TRAINING,
        metavar="30m|2h",
        parser=parse_time,
        help="How long everything may take. 2h if neither a time nor steps are given.",
    ),
]
TrainingSize = Annotated[
    Literal["auto", "nano", "tiny", "small", "base", "bigr-l", "bigr-xl", "bigr-xxl"],
    option(
        "--size",
        panel=TRAINING,
        metavar="NAME",
        help="Size: nano, tiny, small, base, bigr-l, bigr-xl or bigr-xxl. Without it, or with auto, by the "
        "data, the time and this machine.",
    ),
]
LearningRate = Annotated[
    float | None,
    option(
        "--lr",
        aliases=("--learning-rate",),
        panel=TRAINING,
        metavar="RATE",
        callback=number(0, above=True),
        help="Learning rate, as the setting optimizer.rate.",
    ),
]


def with_rate(settings: Sequence[str] | None, rate: float | None) -> list[str]:
    """KEY=VALUE settings, before them the one that --lr stands for."""
    return [*([] if rate is None else [f"optimizer.rate={rate:.12f}"]), *(settings or ())]
