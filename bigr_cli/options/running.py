"""Options of how the machine is used, what is said meanwhile, and of trainings."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bigr_cli import console
from bigr_cli.options.base import (
    MACHINE,
    MESSAGES,
    OUTPUT,
    TRAINING,
    checked_device,
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
        help="Pictures at once; it does not change them. auto, as without it: as many as pay and fit into memory.",
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
        help="auto, float32, bfloat16, float16 or, on many CPUs the fastest, int8. auto measures which of the "
        "first three is fast here.",
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
        panel=MACHINE,
        help="For models larger than the device's memory: bring each layer there when it is its turn. Slower.",
    ),
]
Compile = Annotated[
    bool,
    option(
        "--compile",
        panel=MACHINE,
        help="Compile the networks for the GPU: takes a quarter of a minute, then draws faster. For many pictures.",
    ),
]
DeviceMap = Annotated[
    Literal["auto"] | None,
    option(
        "--device-map",
        panel=MACHINE,
        metavar="auto",
        help="auto spreads the layers over all GPUs, and over main memory and the disk if they do not suffice.",
    ),
]

Quiet = Annotated[
    bool, option("-q", "--quiet", panel=MESSAGES, callback=_quiet, help="Only warnings and errors on stderr.")
]
Verbose = Annotated[
    bool, option("-v", "--verbose", panel=MESSAGES, callback=_verbose, help="More about what is going on.")
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
        panel=TRAINING,
        metavar="DIR|TAR|FILE|scenes",
        help="What to train on: a folder of images, tar shards such as 'DIR/*.tar', parquet, IDX or MedMNIST files, "
        "hf://datasets/OWNER/NAME, or scenes.",
    ),
]
TrainingConfigFile = Annotated[
    Path | None,
    option(
        "--config",
        panel=TRAINING,
        metavar="FILE|NAME",
        parser=training_config,
        help="A YAML file of settings, or the published ones: published-generator-l, published-tokenizer.",
    ),
]
TrainingResume = Annotated[
    Path | None,
    option("--resume", panel=TRAINING, metavar="RUN", help="Go on with this run from its last checkpoint."),
]
RunFolder = Annotated[
    Path | None,
    option(
        *("-o", "--output"),
        panel=OUTPUT,
        metavar="DIR",
        variable="BIGR_RUN",  # not BIGR_OUTPUT, which is where pictures go
        help="The run's folder; runs/NAME if not given.",
    ),
]
TrainingTime = Annotated[
    float | None,
    option(
        "--time",
        panel=TRAINING,
        metavar="30m|2h",
        parser=parse_time,
        help="How long everything may take; 2h if neither a time nor steps are given.",
    ),
]
TrainingSize = Annotated[
    Literal["auto", "nano", "tiny", "small", "base", "bigr-l", "bigr-xl", "bigr-xxl"],
    option("--size", panel=TRAINING, help="Of the model. auto goes by the data, the time and this machine."),
]
