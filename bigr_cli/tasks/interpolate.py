"""`bigr interpolate`: from one label to another, or from one picture to another."""

import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bigr_cli import console, options, prompts
from bigr_cli.editing.request import read_request
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import UsageError
from bigr_cli.option_groups import Machine, Messages, Sampling, Writing, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._given import Given, given_by
from bigr_cli.tasks._recipes import Chooser
from bigr_cli.tasks._results import check_stdout

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.config import Guide
    from bigr_cli.imaging.originals import Original
    from bigr_cli.imaging.recipe import Recipe
    from bigr_cli.zoo.config import ModelConfig

TASK = "interpolate"
PATTERN = "{label}-{seed}.png"
FRAMES = "{label}-{seed}-{index:03}.png"
PANEL = "Film"

Fps = Annotated[
    float,
    options.own_option(
        "--fps", panel=PANEL, show_default=True, min=0.1, max=120, metavar="N", help="Frames a second of a film."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Way:
    """The stops, either labels or pictures, and how they are called together."""

    labels: "list[Guide]"
    pictures: "list[Original]"
    name: str


@task(
    TASK,
    help="Change one label, or one picture, into another.",
    examples=(
        "bigr interpolate cat bird",
        "bigr interpolate cat bird house --loop --frames 60 --fps 15 -o tour.mp4",
        "bigr interpolate a.png b.png --refine 100 --frames 24 -o morph.gif",
        "bigr interpolate tree mushroom --frames 30 -o frames/",
        "bigr interpolate boat rocket --strength 1 --fps 10 -o everything.webp",
        "bigr interpolate cat bird --mixed even --frames 12 -o whole.png",
    ),
)
@grouped
def interpolate(
    context: typer.Context,
    stops: Annotated[
        list[str],
        typer.Argument(
            metavar="STOP STOP...", help="Labels or texts, or files of pictures; two or more.", show_default=False
        ),
    ],
    model: options.Model = None,
    seed: options.Seed = None,
    recipe: options.Recipe = None,
    fps: Fps = 8.0,
    *,
    request: Interpolate,
    sampling: Sampling,
    writing: Writing,
    machine: Machine,
    messages: Messages,
) -> None:
    """-o decides what becomes of the frames: a strip (.png, .webp, .jpg, .tif), a film (.gif, .mp4, or .webp with --fps
    given), or single files (a folder, or a pattern with {index}).

    Between labels, what of the first one's picture does not fit the next is drawn anew: ever more of it from frame to
    frame, under mixed embeddings, with the same random numbers. Between pictures, the bits in which they differ are
    switched, the most certain first, and what would not look like a picture is drawn anew; frames have the model's
    size. --class or --text guides those, or the class that the model finds in the nearer of the two pictures.
    """
    from bigr_cli.editing.in_memory import finished
    from bigr_cli.model import load
    from bigr_cli.prompts import name_of
    from bigr_cli.settings import sampling_settings
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    given = given_by(context)
    chooser = Chooser(given, recipe)
    name = chooser.model(model)
    config = read_config(find_model(name))
    way = _way(config, stops)
    parts = Interpolate.paints_parts(given.params)
    settings = sampling_settings(config, chooser.sampling(sampling), painting=parts)
    wanted = read_request(Interpolate, config, given.params, settings)
    _check(way, given, wanted)
    if way.pictures:
        wanted = wanted.between_images(config)
    asked = chooser.option("seed", seed)
    first = secrets.randbelow(2**32) if asked is None else asked
    fields: dict[str, str | int] = {"label": way.name, "seed": first, "model": config.name, "task": TASK}
    target = _target(writing, fields, wanted.count, filmed="fps" in given.explicit)
    if not target.wanted:
        console.say("nothing to do: it is there already")
        return
    loaded = load(name, **machine.placing(chooser.option("dtype", machine.dtype)))
    console.say(loaded.drawing(first, drawn=asked is None))
    began = time.perf_counter()
    images = finished(
        loaded.network,
        [wanted.paint(loaded.network, way.labels or way.pictures, first)],
        machine.batch_size or loaded.batch_size(),
    )[0]
    shown: dict[str, Any] = {"stops": list(stops), "frames": wanted.count, "loop": wanted.loop, "fps": fps}
    if way.pictures:
        shown |= {"refine": wanted.refine, "guess-class" if wanted.guess else "no-guess-class": True}
    also = {
        "mixed": wanted.mixed,
        "strength": wanted.strength,
        "class": given.params["class_label"],
        "text": given.params["text"],
    }
    shown |= {name: value for name, value in also.items() if value is not None}
    labels = [name_of(config, label) for label in way.labels]
    made = loaded.recipe(settings, task=TASK, labels=labels, seed=first, options=shown)
    _write(target, images, fps, None if writing.no_metadata else made, overwrite=writing.overwrite)
    seconds = round(time.perf_counter() - began, 3)
    for path in target.paths if writing.json else ():
        record = {"path": path, "task": TASK, "model": loaded.name, "seed": first, **dict([made.subject])}
        console.json_line(record | {"frames": len(images), "seconds": seconds, "recipe": made.to_dict()})
    console.say(f"wrote {len(images)} frames to {target.described}")


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Where the frames go: files of their own, or together as a film or a strip. No path is stdout."""

    paths: "list[Path]"
    shape: Literal["frames", "film", "strip"]
    wanted: bool = True

    @property
    def described(self) -> str:
        if len(self.paths) > 1:
            return str(self.paths[0].parent)
        return str(self.paths[0]) if self.paths else "stdout"


def _way(config: "ModelConfig", stops: Sequence[str]) -> Way:
    """The stops, checked. A stop that is the file of a picture is a picture, everything else a label."""
    from bigr_cli.data.images import read_image
    from bigr_cli.imaging.files import KINDS
    from bigr_cli.prompts import name_of

    if len(stops) < 2:
        raise UsageError("a way needs at least two stops", hint="for example: bigr interpolate cat bird")
    files = [stop for stop in stops if Path(stop).suffix.lower() in KINDS or Path(stop).is_file()]
    if files and len(files) < len(stops):
        other = next(stop for stop in stops if stop not in files)
        raise UsageError(f"{files[0]} is a picture and {other} is a label; stops are either all labels or all pictures")
    if files:
        pictures = [read_image(Path(stop), background=config.ground) for stop in stops]
        return Way(labels=[], pictures=pictures, name="-to-".join(Path(stop).stem for stop in stops))
    labels = [prompts.guide(config, stop) for stop in stops]
    if None in labels:
        raise UsageError('"none" is no stop on a way between labels')
    return Way(labels=labels, pictures=[], name="-to-".join(name_of(config, label) for label in labels))


def _check(way: Way, given: Given, request: Interpolate) -> None:
    """Raise UsageError for an option that is for ways of the other kind."""
    if way.labels and request.label is not None:
        option = "--class" if given.params["text"] is None else "--text"
        raise UsageError(f"{option} guides the way between pictures; between labels or texts, they are the guides")
    for option, value in (("--strength", request.strength), ("--mixed", request.mixed)):
        if way.pictures and value is not None:
            raise UsageError(f"{option} is for ways between labels or texts")
    if request.mixed == "published" and len(way.labels) > 2:
        raise UsageError(f"--mixed published goes from one label to another, got {len(way.labels)}")
    for parameter, option in (("refine", "--refine"), ("guess_class", "--guess-class")):
        if way.labels and parameter in given.explicit:  # a variable of the environment may be meant for other ways
            raise UsageError(f"{option} is for ways between pictures")


def _target(writing: Writing, fields: dict[str, str | int], frames: int, *, filmed: bool) -> _Target:
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.imaging.films import FILMS
    from bigr_cli.imaging.patterns import STDOUT, fill, is_folder_name, resolve

    if writing.overwrite and writing.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    output = writing.output
    if output == STDOUT:
        check_stdout(json=writing.json)
        return _Target(paths=[], shape="strip")
    shape: Literal["frames", "film", "strip"] = "strip"
    if output is not None and ("{index" in output or is_folder_name(output)):
        shape = "frames"
        numbered = [{**fields, "index": index} for index in range(frames)]
        paths = resolve(output, numbered, default=FRAMES) or []
    elif (
        output is not None
        and Path(output).suffix.lower() in FILMS
        and (Path(output).suffix.lower() != ".webp" or filmed)
    ):
        shape, paths = "film", [Path(fill(output, fields))]
    else:
        paths = resolve(output, [{**fields, "index": 0}], default=PATTERN) or []
    wanted = check_targets(paths, overwrite=writing.overwrite, skip_existing=writing.skip_existing)
    return _Target(paths=paths, shape=shape, wanted=any(wanted))


def _write(target: _Target, images: "Sequence[Image]", fps: float, recipe: "Recipe | None", *, overwrite: bool) -> None:
    from bigr_cli.imaging.files import encode_image, write_image
    from bigr_cli.imaging.films import strip, write_film

    if not target.paths:
        sys.stdout.buffer.write(encode_image(strip(images), "PNG", recipe))
        sys.stdout.buffer.flush()
    elif target.shape == "film":
        write_film(target.paths[0], images, fps=fps, recipe=recipe, overwrite=overwrite)
    elif target.shape == "strip":
        write_image(target.paths[0], strip(images), recipe=recipe, overwrite=overwrite)
    else:
        for path, image in zip(target.paths, images, strict=True):
            write_image(path, image, recipe=recipe, overwrite=overwrite)
