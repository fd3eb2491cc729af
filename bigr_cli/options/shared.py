"""The options that mean the same for every command, each once, with the environment variable that can give it too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from bigr_cli import console
from bigr_cli.core import config
from bigr_cli.options.declare import (
    ARGUMENTS,
    MACHINE,
    MODEL,
    OUTPUT,
    PAINTING,
    RARE,
    TRAINING,
    argument,
    checked_device,
    count,
    named_model,
    number,
    option,
    output,
    parse_batch_size,
    parse_time,
    seed,
    training_config,
)
from bigr_cli.training.size_names import AskedSize

DtypeName = Literal["auto", "float32", "bfloat16", "float16", "int8"]

_shared = partial(option, variable=True)
_file = partial(_shared, metavar="FILE", exists=True, dir_okay=False, readable=True)


def _quiet(value: bool) -> bool:
    if value:
        console.configure(quiet=True)
    return value


def _verbose(value: bool) -> bool:
    if value:
        console.configure(verbose=True)
    return value


# The model, the prompt, and what is made of it.
Model = Annotated[str | None, named_model("A model by name (see bigr models list) or by folder.", variable=True)]
Count = Annotated[int, count("How many images of each prompt or input.", MODEL, variable=True)]
Seed = Annotated[
    int | None,
    seed("The same seed gives the same image. Without it one is drawn, said and recorded.", MODEL, variable=True),
]
Preset = Annotated[
    config.Preset | None,
    _shared(
        "--preset",
        f"From best to fastest: {', '.join(config.PRESETS)}. These are settings that belong together. "
        f"Published models also have those of the {', '.join(config.SOURCES)}.",
        MODEL,
        metavar="NAME",
    ),
]
Recipe = Annotated[
    Path | None,
    _file(
        "--recipe",
        "Settings of an image made earlier; options given here win. FILE is that image, or its recipe as JSON.",
        MODEL,
    ),
]
Negative = Annotated[
    str | None,
    _shared(
        "--negative --negative-prompt",
        "Negative prompt: what guidance leads away from.",
        PAINTING,
        metavar="LABEL|TEXT",
    ),
]

# Images in, and what is written.
Images = Annotated[
    list[str] | None, argument("IMAGE", "Images: files, folders, patterns such as 'in/*.png', - for stdin.")
]
Output = Annotated[
    str | None, output("FILE|DIR|-", "Where to write: a file, a folder, a pattern, or - for stdout.", variable=True)
]
Overwrite = Annotated[bool, _shared("--overwrite", "Replace files that are there already.", OUTPUT)]
SkipExisting = Annotated[bool, _shared("--skip-existing", "Leave files that are there already, and go on.", OUTPUT)]
NoMetadata = Annotated[bool, _shared("--no-metadata", "Leave the recipe out of the images.", OUTPUT)]
Json = Annotated[bool, _shared("--json", "Print one line of JSON per result.", OUTPUT)]
Grid = Annotated[str | None, _shared("--grid", "Write a contact sheet of all images too.", OUTPUT, metavar="FILE")]
Recursive = Annotated[bool, _shared("--recursive", "Take the images in subfolders too.", OUTPUT)]
Manifest = Annotated[
    Path | None,
    _file(
        "--manifest",
        'A job a line, as JSON: {"image": "a.png", "seed": 7}. Any option is a key. Paths are relative to FILE.',
        OUTPUT,
    ),
]
Watch = Annotated[bool, _shared("--watch", "Go on with images that appear in the folders, until Ctrl-C.", OUTPUT)]
DryRun = Annotated[bool, _shared("--dry-run", "Say what would be done, and do nothing.", OUTPUT)]
Failures = Annotated[
    Path | None,
    _shared(
        "--failures",
        "Write a line of JSON for each image that failed. With --skip-existing, add it.",
        OUTPUT,
        metavar="FILE",
    ),
]

# What to compute on, and how much is said.
BatchSize = Annotated[
    int | None,
    _shared(
        "--batch-size",
        "Images at once, which does not change them. Without it, or with auto: as many as pay and fit.",
        MACHINE,
        metavar="N|auto",
        parser=parse_batch_size,
    ),
]
Device = Annotated[
    str,
    _shared(
        "--device",
        "auto, cpu, cuda, cuda:N or mps. auto takes a GPU if there is one.",
        MACHINE,
        metavar="NAME",
        callback=checked_device,
    ),
]
Dtype = Annotated[
    DtypeName,
    _shared(
        "--dtype",
        "auto, float32, bfloat16, float16 or int8. The last is the fastest on many CPUs; auto measures which of the "
        "first three is fast here.",
        MACHINE,
        metavar="NAME",
    ),
]
Threads = Annotated[
    int | None, _shared("--threads", "CPU threads. Without it, what torch chooses.", MACHINE, min=1, metavar="N")
]
Offload = Annotated[
    bool,
    _shared(
        "--offload",
        "For models larger than the device's memory. Each layer is brought there when it is its turn; slower.",
        RARE,
    ),
]
Compile = Annotated[
    bool,
    _shared(
        "--compile",
        "Compile the networks for the GPU, for many images. It takes a quarter of a minute, then samples faster.",
        RARE,
    ),
]
DeviceMap = Annotated[
    Literal["auto"] | None,
    _shared(
        "--device-map",
        "auto places the layers on all GPUs. If they do not suffice, in main memory and on the disk too.",
        RARE,
        metavar="auto",
    ),
]
Quiet = Annotated[bool, _shared("-q --quiet", "Only warnings and errors on stderr.", MACHINE, callback=_quiet)]
Verbose = Annotated[bool, _shared("-v --verbose", "More about what is going on.", MACHINE, callback=_verbose)]

# Trainings.
Settings = Annotated[
    list[str] | None, argument("KEY=VALUE...", "Settings that override the config, such as run.steps=2000.")
]
TrainingData = Annotated[
    str | None,
    _shared(
        "--data --dataset --train-data-dir",
        "What to train on: a folder of images, tar shards, or scenes. Shards are 'DIR/*.tar'; parquet, IDX and "
        "MedMNIST files and hf://datasets/OWNER/NAME are read too.",
        ARGUMENTS,
        metavar="DIR|TAR|FILE|scenes",
    ),
]
TrainingConfigFile = Annotated[
    Path | None,
    _shared(
        "--config",
        "A YAML file of settings, or the published ones. These are published-generator-l and published-tokenizer.",
        TRAINING,
        metavar="FILE|NAME",
        parser=training_config,
    ),
]
TrainingResume = Annotated[
    Path | None,
    _shared(
        "--resume --resume-from-checkpoint", "Go on with this run from its last checkpoint.", TRAINING, metavar="RUN"
    ),
]
RunFolder = Annotated[
    Path | None,  # its variable is not BIGR_OUTPUT, which is where images go
    output("DIR", "The run's folder. runs/NAME if not given.", also="--output-dir", variable="BIGR_RUN"),
]
TrainingTime = Annotated[
    float | None,
    _shared(
        "--time",
        "How long everything may take. 2h if neither a time nor steps are given.",
        TRAINING,
        metavar="30m|2h",
        parser=parse_time,
    ),
]
TrainingSize = Annotated[
    AskedSize,
    _shared(
        "--size",
        "Size: nano, tiny, small, base, bigr-l, bigr-xl or bigr-xxl. Without it, or with auto, by the data, the time "
        "and this machine.",
        TRAINING,
        metavar="NAME",
    ),
]
LearningRate = Annotated[
    float | None,
    _shared(
        "--lr --learning-rate",
        "Learning rate, as the setting optimizer.learning_rate.",
        TRAINING,
        metavar="RATE",
        callback=number(0, above=True),
    ),
]


def with_rate(settings: Sequence[str] | None, rate: float | None) -> list[str]:
    """KEY=VALUE settings, before them the one that --lr stands for."""
    return [*([] if rate is None else [f"optimizer.learning_rate={rate:.12f}"]), *(settings or ())]
