"""What interpolations are asked for: their keyframes, and where their frames go, checked before one is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from bigr_cli import prompts, streams
from bigr_cli.editing.request import read_request
from bigr_cli.editing.requests import Interpolate
from bigr_cli.errors import UsageError
from bigr_cli.options.groups import Sampling, Writing
from bigr_cli.runtime.processes import Team
from bigr_cli.tasks._given import Chooser, Given, config_of, given_by_manifest
from bigr_cli.tasks._results import check_stdout

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.config import Prompt
    from bigr_cli.imaging.originals import Original
    from bigr_cli.recipe import Recipe
    from bigr_cli.zoo.config import ModelConfig

TASK = "interpolate"
_PROMPTS = ("prompt", "class_label", "text")
_PATTERN = "{label}-{seed}.png"
_FRAMES = "{label}-{seed}-{index:03}.png"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the frames go: files of their own, or together as a film or a strip. No path is stdout."""

    paths: "list[Path]"
    shape: Literal["frames", "film", "strip"]
    wanted: bool = True

    @property
    def described(self) -> str:
        if len(self.paths) > 1:
            return str(self.paths[0].parent)
        return str(self.paths[0]) if self.paths else "stdout"


def target_of(writing: Writing, fields: dict[str, str | int], frames: int, *, filmed: bool) -> Target:
    """The files of one interpolation, by --output; UsageError if one is there, or there can be none."""
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.imaging.montage import FILMS
    from bigr_cli.imaging.output_names import STDOUT, fill, is_folder_name, resolve

    if writing.overwrite and writing.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    output = writing.output
    if output == STDOUT:
        check_stdout(json=writing.json)
        return Target(paths=[], shape="strip")
    shape: Literal["frames", "film", "strip"] = "strip"
    if output is not None and ("{index" in output or is_folder_name(output)):
        shape = "frames"
        numbered = [{**fields, "index": index} for index in range(frames)]
        paths = resolve(output, numbered, default=_FRAMES) or []
    elif (
        output is not None
        and Path(output).suffix.lower() in FILMS
        and (Path(output).suffix.lower() != ".webp" or filmed)
    ):
        shape, paths = "film", [Path(fill(output, fields))]
    else:
        paths = resolve(output, [{**fields, "index": 0}], default=_PATTERN) or []
    wanted = check_targets(paths, overwrite=writing.overwrite, skip_existing=writing.skip_existing)
    return Target(paths=paths, shape=shape, wanted=any(wanted))


@dataclass(frozen=True, kw_only=True)
class Keyframes:
    """What a path goes through, either labels or files of images, and how they are called together."""

    labels: "list[Prompt]"
    files: list[Path]
    name: str

    def read(self, background: Any) -> "Sequence[Prompt] | Sequence[Original]":
        """The labels, or the images on a background; ImageError if one cannot be read."""
        from bigr_cli.data.images import read_image

        return self.labels or [read_image(file, background=background) for file in self.files]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One interpolation."""

    keyframes: Keyframes
    request: Interpolate
    seed: int
    random_seed: bool
    target: Target
    fps: float
    options: dict[str, Any]  # for the recipe


def plan(context: typer.Context, base: Given, model: str | None, default_seed: int, processes: Team) -> list[Job]:
    """All interpolations that the command line, or its manifest, asks for, checked before one is made."""
    manifest = base.params["manifest"]
    if processes.count > 1 and str(manifest) == "-":
        raise UsageError("--manifest - is for one process")
    config, jobs = config_of(model), list[Job]()
    for given in given_by_manifest(context, manifest) if manifest else [base]:
        try:
            jobs += _jobs_of(given, config, default_seed)
        except UsageError as error:
            raise given.error(error) from error
    paths = [path for job in jobs for path in job.target.paths]
    twice = next((path for index, path in enumerate(paths) if path in paths[:index]), None)
    if twice is not None or (len(jobs) > 1 and not paths):
        hint = "-o 'DIR/{label}-{seed}.gif' gives each a name"
        raise UsageError(f"{twice or '-o -'}: is one file for {len(jobs)} interpolations", hint=hint)
    return jobs


def _jobs_of(given: Given, config: "ModelConfig", default_seed: int) -> Iterator[Job]:
    from bigr_cli.core.config import LARGEST_SEED
    from bigr_cli.zoo.presets import sampling_settings

    params, writing = given.params, given.group(Writing)
    chooser = Chooser(given, params["recipe"])
    keyframes = _keyframes(config, params["stops"] or ())
    parts = Interpolate.paints_parts(params)
    settings = sampling_settings(config, chooser.sampling(given.group(Sampling)), painting=parts)
    request = read_request(Interpolate, config, params, settings)
    _check(keyframes, given, request)
    if keyframes.files:
        request = request.between_images(config)
    asked, count = chooser.option("seed", params["seed"]), params["count"]
    first = default_seed if asked is None else asked
    if first > LARGEST_SEED - (count - 1):
        raise UsageError(f"seed: {count} variants from {first} on go beyond 2^63 - 1")
    kept = request.recorded(params["stops"], params["fps"], params, images=bool(keyframes.files))
    for seed in range(first, first + count):
        fields: dict[str, str | int] = {"label": keyframes.name, "seed": seed, "model": config.name, "task": TASK}
        target = target_of(writing, fields, request.count, filmed="fps" in given.explicit)
        yield Job(
            keyframes=keyframes,
            request=request,
            seed=seed,
            random_seed=asked is None,
            target=target,
            fps=params["fps"],
            options=kept,
        )


def _keyframes(config: "ModelConfig", stops: Sequence[str]) -> Keyframes:
    """The stops, checked. A stop that is the file of an image is an image, everything else a label."""
    from bigr_cli.data.images import read_header
    from bigr_cli.imaging.files import KINDS
    from bigr_cli.imaging.inputs import refuse_data_set

    if len(stops) < 2:
        raise UsageError("a way needs at least two stops", hint="for example: bigr interpolate cat bird")
    for stop in stops:
        if "://" in stop or Path(stop).is_file():
            refuse_data_set(stop)
    files = [stop for stop in stops if Path(stop).suffix.lower() in KINDS or Path(stop).is_file()]
    if files and len(files) < len(stops):
        other = next(stop for stop in stops if stop not in files)
        raise UsageError(f"{files[0]} is an image and {other} is a label; stops are either all labels or all images")
    if files:
        for file in files:
            read_header(Path(file))  # what is no image is told before the model is loaded
        paths = [Path(stop) for stop in stops]
        return Keyframes(labels=[], files=paths, name="-to-".join(path.stem for path in paths))
    labels = [prompts.read_prompt(config, stop) for stop in stops]
    if None in labels:
        raise UsageError('"none" is no stop on a way between labels')
    return Keyframes(labels=labels, files=[], name="-to-".join(prompts.name_of(config, label) for label in labels))


def _check(keyframes: Keyframes, given: Given, request: Interpolate) -> None:
    """Raise UsageError for an option that is for ways of the other kind."""
    if keyframes.labels and request.label is not None:
        option = next(f"--{name.removesuffix('_label')}" for name in _PROMPTS if given.params[name] is not None)
        raise UsageError(f"{option} guides the way between images; between labels or texts, they are the prompts")
    for option, value in (("--strength", request.strength), ("--mixed", request.mixed)):
        if keyframes.files and value is not None:
            raise UsageError(f"{option} is for ways between labels or texts")
    if request.mixed == "published" and len(keyframes.labels) > 2:
        raise UsageError(f"--mixed published goes from one label to another, got {len(keyframes.labels)}")
    for parameter, option in (("refine", "--refine"), ("guess_class", "--guess-class")):
        if (
            keyframes.labels and parameter in given.explicit
        ):  # a variable of the environment may be meant for other ways
            raise UsageError(f"{option} is for ways between images")


def write_frames(
    target: Target, images: "Sequence[Image]", fps: float, recipe: "Recipe | None", *, overwrite: bool
) -> None:
    """Write the frames as the target has them."""
    from bigr_cli.imaging.files import encode_image, write_image
    from bigr_cli.imaging.montage import strip, write_film

    if not target.paths:
        streams.write_stdout(encode_image(strip(images), "PNG", recipe))
    elif target.shape == "film":
        write_film(target.paths[0], images, fps=fps, recipe=recipe, overwrite=overwrite)
    elif target.shape == "strip":
        write_image(target.paths[0], strip(images), recipe=recipe, overwrite=overwrite)
    else:
        for path, image in zip(target.paths, images, strict=True):
            write_image(path, image, recipe=recipe, overwrite=overwrite)
