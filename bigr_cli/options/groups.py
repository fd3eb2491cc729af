"""Options that always come together, as one parameter of a task.

    @task("inpaint", help="Repaint the masked part")
    @grouped
    def inpaint(image: str, *, sampling: Sampling, machine: Machine) -> None: ...

takes --steps, --guidance and so on, and finds them as `sampling.steps`, `sampling.guidance`.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

from bigr_cli import options
from bigr_cli import setting as settings
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.options.declare import command_parameters, named_model

# A model where a command has it as an argument, and -m means the same.
SameModel = Annotated[str | None, named_model("The model, where a command has it as an argument.", hidden=True)]
SameModels = Annotated[list[str] | None, named_model("Models, as the arguments are.", hidden=True)]


def one_model(argument: str | None, option: str | None) -> str | None:
    """The model, given as an argument or as -m; UsageError if both are."""
    if argument is not None and option is not None:
        raise UsageError(f"two models are given: {argument} and -m {option}")
    return argument if option is None else option


class Sampling(SimpleNamespace):
    """How tokens are sampled: `preset`, and each setting of `SamplingConfig`; None leaves it to the model's config."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**({parameter.name: None for parameter in self.parameters()} | given))

    @property
    def given(self) -> dict[str, Any]:
        """Those that are given, by their names."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @staticmethod
    def parameters() -> list[inspect.Parameter]:
        """Its options."""
        preset = inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=options.Preset)
        return [preset, *command_parameters(SamplingConfig, given=True)]


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Where images go, and what is said about them."""

    output: options.Output = None
    overwrite: options.Overwrite = False
    skip_existing: options.SkipExisting = False
    no_metadata: options.NoMetadata = False
    json: options.Json = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Which images are worked on besides those named, and what is said of those that fail."""

    recursive: options.Recursive = False
    manifest: options.Manifest = None
    watch: options.Watch = False
    dry_run: options.DryRun = False
    failures: options.Failures = None
    grid: options.Grid = None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What to compute on."""

    batch_size: options.BatchSize = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    threads: options.Threads = None
    offload: options.Offload = False
    device_map: options.DeviceMap = None
    compile: options.Compile = False

    def placing(self, dtype: str | None = None) -> dict[str, Any]:
        """How a model is to be loaded, as arguments of `bigr_cli.load`; `dtype` goes before what was given."""
        names = ("device", "dtype", "threads", "offload", "device_map", "compile")
        given = {name: getattr(self, name) for name in names}
        return given if dtype is None else {**given, "dtype": dtype}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training: what on, where, and how it goes on."""

    data: options.TrainingData = None
    config: options.TrainingConfigFile = None
    output: options.RunFolder = None
    time: options.TrainingTime = None
    size: options.TrainingSize = "auto"
    resume: options.TrainingResume = None
    lr: options.LearningRate = None
    device: options.Device = "auto"
    threads: options.Threads = None
    quiet: options.Quiet = False

    def settings(self, given: Sequence[str] | None, model: str | None, *, explain: str) -> list[str]:
        """The settings that are given, and those that options stand for.

        Raises:
            UsageError: nothing is given, not even a `model`; the hint has the command that `explain` is.
        """
        if not given and not any((self.data, self.config, self.resume, model)):
            raise UsageError(
                f"nothing says what to train on: --data has images, {self._needs(explain)}",
                hint=f"for example: bigr {explain}; or, as the easy way, bigr train photos/ -o runs/photos, which "
                "plans and trains both stages",
            )
        return options.with_rate(given, self.lr)

    @staticmethod
    def _needs(explain: str) -> str:
        return "--config settings, or --resume a run" + (
            "; --tokenizer names the model that makes the codes" if "--tokenizer" in explain else ""
        )


@dataclass(frozen=True, kw_only=True)
class Messages:
    """How much is said on stderr. The options take effect by themselves."""

    quiet: options.Quiet = False
    verbose: options.Verbose = False


def grouped(function: Callable[..., None], without: Collection[str] = ()) -> Callable[..., None]:
    """The function with the options of its groups as parameters of their own, for Typer to read.

    A group is a dataclass of options, `Sampling`, or a dataclass that describes its settings (see `bigr_cli.setting`),
    of which the function gets the values that were given, by the options' names. Parameters that are called as one of
    `without`, which have defaults, are left out.

    Raises:
        TypeError: two parameters would have the same name.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        if parameter.name in without:
            continue
        if is_group(kind):
            groups[parameter.name] = kind
            parameters += group_parameters(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))
    names = [parameter.name for parameter in parameters]
    if len(set(names)) < len(names):
        raise TypeError(f"{function.__name__}: has an option twice: {', '.join(sorted(names))}")

    @wraps(function)
    def command(**values: Any) -> None:
        for name, kind in groups.items():
            chosen = {parameter.name: values.pop(parameter.name) for parameter in group_parameters(kind)}
            values[name] = SimpleNamespace(**chosen) if settings.parameters(kind) else kind(**chosen)
        function(**values)

    del command.__dict__["__wrapped__"]  # or the signature that counts would be that of `function`
    for kind in groups.values():
        if settings.parameters(kind):
            vars(command)["request"] = kind  # by which `bigr serve` and recipes know it
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def is_group(kind: Any) -> bool:
    """Whether a type stands for several options."""
    return isinstance(kind, type) and (is_dataclass(kind) or kind is Sampling)


def group_parameters(kind: Any) -> list[inspect.Parameter]:
    """The options of a group."""
    if kind is Sampling:
        return Sampling.parameters()
    if settings.parameters(kind):
        return command_parameters(kind)
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]
