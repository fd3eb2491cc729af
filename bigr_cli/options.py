"""The options that mean the same for every command, each defined once.

    def inpaint(image: str, model: Model = None, seed: Seed = None, json: Json = False) -> None: ...

Each can be given by an environment variable too. Sampling options are None unless given: the model's config decides.
A value out of range ends with exit code 2 before anything heavy is loaded.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from bigr_cli import console
from bigr_cli.core import config

BlendName = Literal["poisson", "feather", "none"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16", "int8"]

SAMPLING = "Sampling"
INPUT = "Input"
MASK = "Mask"
PAINTING = "Painting"
OUTPUT = "Output"
MACHINE = "Machine"
MESSAGES = "Messages"

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


class Interval(NamedTuple):
    """A share of the iterations, 0 <= start < stop <= 1."""

    start: float
    stop: float


def parse_interval(text: str) -> Interval:
    """Read "A,B"; raises typer.BadParameter unless 0 <= A < B <= 1."""
    try:
        start, stop = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two numbers A,B such as 0.1,0.8") from None
    if not 0 <= start < stop <= 1:  # NaN fails here too
        raise typer.BadParameter(f"{text!r} is no share of the iterations: 0 <= A < B <= 1")
    return Interval(start, stop)


def _number(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[float | None], float | None]:
    """A check for finite numbers from `low` (or above it) to `high`."""
    bounds = f"a number {'above' if above else 'of at least'} {low:g}"
    if math.isfinite(high):
        bounds += f" and at most {high:g}"

    def check(value: float | None) -> float | None:
        if value is None or (math.isfinite(value) and (value > low if above else value >= low) and value <= high):
            return value
        raise typer.BadParameter(f"{value:g} is not {bounds}")

    return check


def parse_batch_size(text: str) -> int | None:
    """Read a number of at least 1, or "auto", which is None; raises typer.BadParameter for anything else."""
    word = text.strip().lower()
    if word == "auto":
        return None
    if not (word.isascii() and word.isdigit() and len(word) < 8 and int(word) >= 1):
        raise typer.BadParameter(f"{text!r} is not auto or a whole number of at least 1")
    return int(word)


def _seed(value: int | None) -> int | None:
    if value is None or 0 <= value <= config.LARGEST_SEED:
        return value
    raise typer.BadParameter(f"{value} is not a whole number from 0 to 2^63 - 1")


def _device(value: str) -> str:
    name = value.strip().lower()
    if not _DEVICE.fullmatch(name):
        raise typer.BadParameter(f"{value!r} is not auto, cpu, cuda, cuda:N or mps")
    return name


def _quiet(value: bool) -> bool:
    if value:
        console.configure(quiet=True)
    return value


def _verbose(value: bool) -> bool:
    if value:
        console.configure(verbose=True)
    return value


def _option(*names: str, panel: str, help: str, variable: str | None = None, **details: Any) -> Any:
    variable = variable or "BIGR_" + names[-1].removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, envvar=variable, rich_help_panel=panel, help=help, show_default=False, **details)


def own_option(*names: str, panel: str, help: str, show_default: bool = False, **details: Any) -> Any:
    """An option that only one command has; no environment variable stands for it."""
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=show_default, **details)


Model = Annotated[
    str | None,
    _option(
        "-m",
        "--model",
        panel="Model",
        metavar="NAME|DIR",
        help="A model by name (see bigr models list) or by folder. Without it, the default model.",
    ),
]

Output = Annotated[
    str | None,
    _option(
        "-o",
        "--output",
        panel=OUTPUT,
        metavar="FILE|DIR|-",
        help="Where to write: a file, a folder, a pattern, or - for stdout.",
    ),
]
Overwrite = Annotated[bool, _option("--overwrite", panel=OUTPUT, help="Replace files that are there already.")]
SkipExisting = Annotated[
    bool, _option("--skip-existing", panel=OUTPUT, help="Leave files that are there already, and go on.")
]
NoMetadata = Annotated[bool, _option("--no-metadata", panel=OUTPUT, help="Leave the recipe out of the pictures.")]
Json = Annotated[bool, _option("--json", panel=OUTPUT, help="Print one line of JSON per result.")]

Grid = Annotated[
    str | None,
    _option("--grid", panel=OUTPUT, metavar="FILE", help="Write a contact sheet of all pictures too."),
]

Count = Annotated[
    int, _option("-n", "--count", panel=SAMPLING, min=1, metavar="N", help="How many pictures of each label or input.")
]
Seed = Annotated[
    int | None,
    _option(
        "--seed",
        panel=SAMPLING,
        metavar="N",
        callback=_seed,
        help="The same seed gives the same picture. Without it one is drawn, said and recorded.",
    ),
]
Preset = Annotated[
    config.Preset | None,
    _option(
        "--preset",
        panel=SAMPLING,
        metavar="NAME",
        help=f"Settings that belong together, from best to fastest: {', '.join(config.PRESETS)}.",
    ),
]
Steps = Annotated[
    int | None,
    _option("--steps", panel=SAMPLING, min=1, metavar="N", help="Iterations in which the tokens are settled."),
]
Timesteps = Annotated[
    int | None,
    _option("--timesteps", panel=SAMPLING, min=1, metavar="N", help="Denoising steps of the transcoder per token."),
]
RankTimesteps = Annotated[
    int | None,
    _option(
        "--rank-timesteps",
        panel=SAMPLING,
        min=0,
        metavar="N",
        help="Rank the masked tokens by so few steps, and give all steps to those alone that are kept; 0: to all.",
    ),
]
LastTimesteps = Annotated[
    int | None,
    _option(
        "--last-timesteps",
        panel=SAMPLING,
        min=0,
        metavar="N",
        help="Denoising steps in the last iteration, fewer from one to the next; 0: the same in all.",
    ),
]
Tolerance = Annotated[
    float | None,
    _option(
        "--tolerance",
        panel=SAMPLING,
        metavar="P",
        callback=_number(0, 1),
        help="Leave a token when no bit's probability has changed by more since the last step; 0: never.",
    ),
]
Guidance = Annotated[
    float | None,
    _option(
        "--guidance",
        panel=SAMPLING,
        metavar="SCALE",
        callback=_number(0),
        help="How strongly to follow the label: 1 plainly, 0 not at all, more exaggerates.",
    ),
]
GuidanceSchedule = Annotated[
    config.GuidanceSchedule | None,
    _option(
        "--guidance-schedule",
        panel=SAMPLING,
        metavar="NAME",
        help=f"How guidance grows over the iterations: {', '.join(config.GUIDANCE_SCHEDULES)}.",
    ),
]
GuidanceInterval = Annotated[
    Interval | None,
    _option(
        "--guidance-interval",
        panel=SAMPLING,
        metavar="A,B",
        parser=parse_interval,
        help="The share of the iterations in which guidance acts, such as 0.1,0.8.",
    ),
]
Order = Annotated[
    config.Order | None,
    _option(
        "--order",
        panel=SAMPLING,
        metavar="NAME",
        help=f"Which tokens are settled first: {', '.join(config.ORDERS)}.",
    ),
]
Gumbel = Annotated[
    float | None,
    _option(
        "--gumbel",
        panel=SAMPLING,
        metavar="SCALE",
        callback=_number(0),
        help="Noise on the order in which tokens are settled; 0 is none.",
    ),
]
GumbelSchedule = Annotated[
    config.GumbelSchedule | None,
    _option(
        "--gumbel-schedule",
        panel=SAMPLING,
        metavar="NAME",
        help=f"How that noise changes over the iterations: {', '.join(config.GUMBEL_SCHEDULES)}.",
    ),
]
Temperature = Annotated[
    float | None,
    _option(
        "--temperature",
        panel=SAMPLING,
        metavar="T",
        callback=_number(0, above=True),
        help="Below 1 surer and plainer, above 1 more varied.",
    ),
]
Recipe = Annotated[
    Path | None,
    _option(
        "--recipe",
        panel=SAMPLING,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Settings from a picture made earlier, or its JSON; options given explicitly win.",
    ),
]

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURE",
        help="Pictures: files, folders, patterns such as 'in/*.png', - for stdin.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, _option("--recursive", panel=INPUT, help="Take the pictures in subfolders too.")]
Manifest = Annotated[
    Path | None,
    _option(
        "--manifest",
        panel=INPUT,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help='A job a line, as JSON: {"image": "a.png", "seed": 7}. Any option is a key; paths are relative to FILE.',
    ),
]
Watch = Annotated[
    bool, _option("--watch", panel=INPUT, help="Go on with pictures that appear in the folders, until Ctrl-C.")
]
DryRun = Annotated[bool, _option("--dry-run", panel=OUTPUT, help="Say what would be done, and do nothing.")]
Failures = Annotated[
    Path | None,
    _option("--failures", panel=OUTPUT, metavar="FILE", help="Write a line of JSON for each picture that failed."),
]

Mask = Annotated[
    Path | None,
    _option(
        "--mask",
        panel=MASK,
        metavar="FILE",
        help="A picture of the same size: white is repainted, black is kept, grey is mixed.",
    ),
]
MaskBox = Annotated[
    list[str] | None,
    _option("--mask-box", panel=MASK, metavar="X,Y,W,H", help="A box to repaint, in pixels or %; may be repeated."),
]
MaskAlpha = Annotated[bool, _option("--mask-alpha", panel=MASK, help="Repaint what is transparent.")]
InvertMask = Annotated[bool, _option("--invert-mask", panel=MASK, help="Repaint what the mask would keep.")]
MaskGrow = Annotated[
    int, _option("--mask-grow", panel=MASK, min=0, max=100_000, metavar="N", help="Widen the mask by so many pixels.")
]
MaskResize = Annotated[
    bool, _option("--mask-resize", panel=MASK, help="Scale a mask of another size to the picture's.")
]

ClassLabel = Annotated[
    str | None, _option("--class", panel=PAINTING, metavar="LABEL", help="What to paint: a label by name or number.")
]
Text = Annotated[
    str | None, _option("--text", panel=PAINTING, metavar="TEXT", help="What to paint, for models that read texts.")
]
Negative = Annotated[
    str | None,
    _option("--negative", panel=SAMPLING, metavar="LABEL|TEXT", help="What guidance leads away from, instead of none."),
]
GuessClass = Annotated[
    bool,
    _option("--guess-class", panel=PAINTING, help="Take the label under which the model finds the rest likeliest."),
]
BestOf = Annotated[
    int,
    _option(
        "--best-of",
        panel=PAINTING,
        min=1,
        max=1024,
        metavar="N",
        help="Paint N variants, and keep the one that the model finds likeliest.",
    ),
]
BlendHow = Annotated[
    BlendName,
    _option(
        "--blend",
        panel=PAINTING,
        metavar="NAME",
        help="How the paint is joined to the picture: poisson, feather or none.",
    ),
]
WindowSide = Annotated[
    int | None,
    _option(
        "--window",
        panel=PAINTING,
        min=1,
        max=100_000,
        metavar="PX",
        help="How much of the picture the model sees at once, along a side. Without it, the region decides.",
    ),
]

BatchSize = Annotated[
    int | None,
    _option(
        "--batch-size",
        panel=MACHINE,
        metavar="N|auto",
        parser=parse_batch_size,
        help="Pictures at once; it does not change them. auto, as without it: as many as pay and fit into memory.",
    ),
]
Device = Annotated[
    str,
    _option(
        "--device",
        panel=MACHINE,
        metavar="NAME",
        callback=_device,
        help="auto, cpu, cuda, cuda:N or mps. auto takes a GPU if there is one.",
    ),
]
Dtype = Annotated[
    DtypeName,
    _option(
        "--dtype",
        panel=MACHINE,
        metavar="NAME",
        help="auto, float32, bfloat16, float16 or, on many CPUs the fastest, int8. auto measures which of the "
        "first three is fast here.",
    ),
]
Threads = Annotated[
    int | None,
    _option("--threads", panel=MACHINE, min=1, metavar="N", help="CPU threads. Without it, what torch chooses."),
]
Offload = Annotated[
    bool,
    _option(
        "--offload",
        panel=MACHINE,
        help="For models larger than the device's memory: bring each layer there when it is its turn. Slower.",
    ),
]
DeviceMap = Annotated[
    Literal["auto"] | None,
    _option(
        "--device-map",
        panel=MACHINE,
        metavar="auto",
        help="auto spreads the layers over all GPUs, and over main memory and the disk if they do not suffice.",
    ),
]

Quiet = Annotated[
    bool, _option("-q", "--quiet", panel=MESSAGES, callback=_quiet, help="Only warnings and errors on stderr.")
]
Verbose = Annotated[
    bool, _option("-v", "--verbose", panel=MESSAGES, callback=_verbose, help="More about what is going on.")
]

TRAINING = "Training"

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...", help="Settings that override the config, such as run.steps=2000.", show_default=False
    ),
]
TrainingData = Annotated[
    str | None,
    _option(
        "--data",
        panel=TRAINING,
        metavar="DIR|TAR|scenes",
        help="What to train on: a folder of pictures, tar shards such as 'DIR/*.tar', or scenes.",
    ),
]
TrainingConfigFile = Annotated[
    Path | None,
    _option("--config", panel=TRAINING, metavar="FILE", exists=True, dir_okay=False, help="A YAML file of settings."),
]
TrainingResume = Annotated[
    Path | None,
    _option("--resume", panel=TRAINING, metavar="RUN", help="Go on with this run from its last checkpoint."),
]
RunFolder = Annotated[
    Path | None,
    _option(
        *("-o", "--output"),
        panel=OUTPUT,
        metavar="DIR",
        variable="BIGR_RUN",  # not BIGR_OUTPUT, which is where pictures go
        help="The run's folder; runs/NAME if not given.",
    ),
]
