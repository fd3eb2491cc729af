"""The jobs of a batch and the names of their outputs, and the list of those that failed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bigr_cli.errors import UsageError
from bigr_cli.file_names import expanded
from bigr_cli.options.groups import Sampling
from bigr_cli.tasks._earlier import absolute, made_before, own_outputs, without_masks_and_sheets
from bigr_cli.tasks._given import Chooser, Given

if TYPE_CHECKING:
    from bigr_cli.editing.request import EditRequest
    from bigr_cli.imaging.inputs import Input
    from bigr_cli.imaging.output_names import Earlier
    from bigr_cli.zoo.config import ModelConfig


PATTERN = "{stem}-{task}-{seed}.{suffix}"
_UNSAMPLED = {
    "recipe": None,
    "seed": 0,
    "count": 1,
}  # of commands that have no such options, because they sample nothing
_UNSAMPLED_PATTERN = "{stem}-{task}.png"
MOST = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to be made from another one: its request, the name of its label, and the options for its recipe."""

    source: Input
    seed: int
    random_seed: bool  # whether nobody asked for this seed
    index: int
    request: EditRequest
    label: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Jobs and the file of each; None is stdout. `skipped` are there already."""

    jobs: list[Job]
    paths: list[Path] | None
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Makes jobs of what was asked for, and checks everything before anything is made.

    Attributes:
        task: the command's name.
        kind: the task's request, which its options are read into.
        config: of the model.
        default_seed: the seed where none is given.
        earlier: what the task made before; its outputs are no inputs.
        heard: what was said of files passed over, and is not said again.
    """

    task: str
    kind: type[EditRequest]
    config: ModelConfig
    default_seed: int
    earlier: Earlier
    heard: set[str]

    def plan(self, lines: Sequence[Given], *, leave: Collection[Path] = (), skip_existing: bool = False) -> Plan:
        """The jobs of one command line, or of the lines of a manifest.

        Args:
            lines: what was asked for.
            leave: images, as absolute paths, to be left out.
            skip_existing: leave out what has its file already.

        Raises:
            UsageError: anything that cannot be; for a manifest, with the line.
        """
        from bigr_cli.imaging.files import check_targets
        from bigr_cli.imaging.output_names import Made, numbered

        jobs: list[Job] = []
        paths: list[Path] = []
        for given in lines:
            try:
                some, files = self._of_line(given, len(jobs))
            except UsageError as error:
                raise given.error(error) from error
            if files is None:
                if any(passes_saved(job.request) > 1 for job in some):
                    raise given.error(UsageError("-o - takes one image, and --save-passes writes several"))
                if len(lines) > 1:
                    raise given.error(UsageError("-o - takes one image", hint="-o DIR writes files into a folder"))
                return Plan(jobs=some, paths=None, skipped=0)
            jobs += some
            paths += files
        made = [Made(path, job.source.name, job.seed, job.random_seed) for path, job in zip(paths, jobs, strict=True)]
        paths = numbered(made, self.earlier)
        kept = [number for number, job in enumerate(jobs) if absolute(job.source) not in leave]
        jobs, paths = [jobs[number] for number in kept], [paths[number] for number in kept]
        there = made_before(paths, jobs) if skip_existing else [False] * len(paths)
        overwrite = bool(lines[0].params["overwrite"])
        wanted = check_targets(paths, overwrite=overwrite, skip_existing=skip_existing)
        earlier_passes = [
            pass_path(path, turn)
            for path, job, write in zip(paths, jobs, wanted, strict=True)
            for turn in range(1, passes_saved(job.request))
            if write
        ]
        check_targets(earlier_passes, overwrite=overwrite)
        kept = [number for number, write in enumerate(wanted) if write and not there[number]]
        return Plan(
            jobs=[replace(jobs[number], index=index) for index, number in enumerate(kept)],
            paths=[paths[number] for number in kept],
            skipped=len(jobs) - len(kept),
        )

    def _of_line(self, given: Given, before: int) -> tuple[list[Job], list[Path] | None]:
        """The jobs of one line, numbered from `before` on, and the file of each; None is stdout."""
        from bigr_cli.core.config import LARGEST_SEED
        from bigr_cli.editing.request import read_request, recorded
        from bigr_cli.prompts import NO_LABEL, name_of
        from bigr_cli.zoo.presets import sampling_settings

        kind, config, params = self.kind, self.config, {**_UNSAMPLED, **given.params}
        if not params["images"]:
            hint = f"for example: bigr {self.task} scene.png, or - to read one from stdin"
            raise UsageError("no image given", hint=hint)
        chooser = Chooser(given, params["recipe"])
        settings = sampling_settings(
            config, chooser.sampling(given.group(Sampling) if kind.samples else Sampling()), painting=True
        )
        seed = chooser.option("seed", params["seed"])
        unasked, seed, count = seed is None, self.default_seed if seed is None else seed, params["count"]
        if seed > LARGEST_SEED - (count - 1):
            raise UsageError(f"seed: {count} variants from {seed} on go beyond 2^63 - 1")
        _refuse_labels(self.task, params["images"], params, config)
        wanted, options = read_request(kind, config, params, settings), recorded(kind, params, given.explicit)
        label = NO_LABEL if wanted.label is None else name_of(config, wanted.label)
        inputs = self._inputs(given, params)
        if len(inputs) * count > MOST:
            raise UsageError(f"{len(inputs) * count:,} images are too many at once; the limit is {MOST:,}")

        def built(inputs: Sequence[Input]) -> tuple[list[Job], list[Path] | None]:
            numbered = [(source, seed + variant) for source in inputs for variant in range(count)]
            jobs = [
                Job(
                    source=source,
                    seed=own,
                    index=index,
                    random_seed=unasked,
                    request=wanted,
                    label=label,
                    options=options,
                )
                for index, (source, own) in enumerate(numbered, before)
            ]
            return jobs, self._paths(jobs, params["output"])

        jobs, paths = built(inputs)
        own = own_outputs(jobs, paths, self.earlier, self.heard) if paths else set()
        return built([one for one in inputs if absolute(one) not in own]) if own else (jobs, paths)

    def _inputs(self, given: Given, params: Mapping[str, Any]) -> list[Input]:
        """The images that a line names."""
        from bigr_cli.imaging.inputs import find_inputs

        output = params["output"]
        inputs = find_inputs(
            params["images"],
            recursive=params["recursive"],
            exclude=[Path(os.path.realpath(expanded(output)))] if output and output != "-" else [],
            empty=params["watch"],
            missing=bool(given.line),
            heard=self.heard,
        )
        return without_masks_and_sheets(inputs, params, self.heard) if len(inputs) > 1 else inputs

    def _paths(self, jobs: Sequence[Job], output: str | None) -> list[Path] | None:
        """The file of each job; None is stdout."""
        from bigr_cli.imaging.output_names import resolve

        suffixes = {source: _suffix(source) for source in dict.fromkeys(job.source for job in jobs)}
        fields: list[dict[str, str | int]] = [
            {
                **{"stem": job.source.stem, "label": job.label, "model": self.config.name, "task": self.task},
                **{"seed": job.seed, "index": job.index, "suffix": suffixes[job.source]},
            }
            for job in jobs
        ]
        default = PATTERN if self.kind.samples else _UNSAMPLED_PATTERN
        return resolve(output, fields, default=default, folders=[job.source.folder for job in jobs])


def _refuse_labels(task: str, words: Sequence[str], params: Mapping[str, Any], config: ModelConfig) -> None:
    """Raise UsageError for a label or a text among the images: what to paint is an option."""
    if any(params.get(name) is not None for name in ("prompt", "class_label", "text")) or "prompt" not in params:
        return
    for word in words:
        named = word == "-" or word[:1].isdigit() or PurePath(word).suffix or os.path.lexists(expanded(word))
        if not named and _says_what(word, config):
            hint = f"--prompt says what to paint: bigr {task} IMAGE --prompt {shlex.quote(word)}"
            raise UsageError(f"{word}: there is no such file", hint=hint)


def _says_what(word: str, config: ModelConfig) -> bool:
    """Whether a word that is no file may be meant as a label or a text."""
    from bigr_cli.errors import UnknownNameError
    from bigr_cli.prompts import label_index, reads_text

    if reads_text(config) or " " in word:
        return not any(mark in word for mark in "/*?[")
    try:
        label_index(config, word)
    except UnknownNameError:
        return False
    return True


def pass_path(path: Path, turn: int) -> Path:
    """Where the image after an earlier pass is written, beside the last one's file; `turn` counts from 1."""
    return path.with_name(f"{path.stem}-pass{turn}{path.suffix}")


def passes_saved(request: EditRequest) -> int:
    """Of how many passes a request's images are written."""
    from bigr_cli.editing.requests import Enrich

    return request.passes if isinstance(request, Enrich) and request.save_passes else 1


def _suffix(source: Input) -> str:
    """PNG, or TIFF for what was TIFF or has a mode that PNG does not hold, as JPEG files may."""
    from bigr_cli.data.images import read_header
    from bigr_cli.errors import BigrError
    from bigr_cli.imaging.files import default_suffix

    kind = source.path.suffix.lower() if source.path is not None else ""
    if kind in (".tif", ".tiff"):
        return "tif"
    if source.path is not None and kind in (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"):
        with suppress(BigrError):  # what is wrong with it is said when it is read
            return default_suffix(read_header(source.path).mode).removeprefix(".")
    return "png"
