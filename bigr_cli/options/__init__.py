"""The options that mean the same for every command, each defined once.

    def inpaint(image: str, model: Model = None, seed: Seed = None, json: Json = False) -> None: ...

Each can be given by an environment variable too. Sampling options are None unless given: the model's config decides.
A value out of range ends with exit code 2 before anything heavy is loaded.

Options that set a field of `SamplingConfig` or of an editing request follow from that field; here they are found by
their names too, such as `Steps`, `GuidanceSchedule` and `MaskBox`.
"""

from typing import Any

from bigr_cli.options.base import (
    ARGUMENTS,
    INPUT,
    MACHINE,
    MASK,
    MODEL,
    OUTPUT,
    PAINTING,
    RARE,
    SAMPLING,
    TRAINING,
    Interval,
    own_option,
    parse_batch_size,
    parse_interval,
)
from bigr_cli.options.drawing import (
    Count,
    DryRun,
    Failures,
    Grid,
    Images,
    Json,
    Manifest,
    Model,
    Negative,
    NoMetadata,
    Output,
    Overwrite,
    Preset,
    Recipe,
    Recursive,
    Seed,
    SkipExisting,
    Watch,
)
from bigr_cli.options.running import (
    BatchSize,
    Compile,
    Device,
    DeviceMap,
    Dtype,
    DtypeName,
    LearningRate,
    Offload,
    Quiet,
    RunFolder,
    Settings,
    Threads,
    TrainingConfigFile,
    TrainingData,
    TrainingResume,
    TrainingSize,
    TrainingTime,
    Verbose,
    with_rate,
)

__all__ = [
    "ARGUMENTS",
    "INPUT",
    "MACHINE",
    "MASK",
    "MODEL",
    "OUTPUT",
    "PAINTING",
    "RARE",
    "SAMPLING",
    "TRAINING",
    "BatchSize",
    "Compile",
    "Count",
    "Device",
    "DeviceMap",
    "DryRun",
    "Dtype",
    "DtypeName",
    "Failures",
    "Grid",
    "Images",
    "Interval",
    "Json",
    "LearningRate",
    "Manifest",
    "Model",
    "Negative",
    "NoMetadata",
    "Offload",
    "Output",
    "Overwrite",
    "Preset",
    "Quiet",
    "Recipe",
    "Recursive",
    "RunFolder",
    "Seed",
    "Settings",
    "SkipExisting",
    "Threads",
    "TrainingConfigFile",
    "TrainingData",
    "TrainingResume",
    "TrainingSize",
    "TrainingTime",
    "Verbose",
    "Watch",
    "own_option",
    "parse_batch_size",
    "parse_interval",
    "with_rate",
]


def __getattr__(name: str) -> Any:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Interpolate, Outpaint
    from bigr_cli.options.base import command_parameters

    for kind in (SamplingConfig, Inpaint, Outpaint, Edit, Enrich, Interpolate):
        for parameter in command_parameters(kind, given=kind is SamplingConfig):
            if name == parameter.name.title().replace("_", ""):
                return parameter.annotation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
