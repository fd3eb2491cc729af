"""Files that a task leaves out: what it made before, its masks and sheets, and what `--watch` has done already."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli.file_names import expanded
from bigr_cli.file_tree import PassedOver
from bigr_cli.tasks._given import Given

if TYPE_CHECKING:
    from bigr_cli.imaging.inputs import Input
    from bigr_cli.imaging.output_names import Earlier
    from bigr_cli.tasks._jobs import Job, Plan


def own_outputs(jobs: Sequence["Job"], paths: Sequence[Path], earlier: "Earlier", heard: set[str]) -> set[Path]:
    """The inputs, as absolute paths, that the task itself has made of others; says how many."""
    from bigr_cli.imaging.output_names import Made, outputs_among

    made = [Made(path, job.source.name, job.seed, job.random_seed) for path, job in zip(paths, jobs, strict=True)]
    inputs = {absolute(job.source): job.source.name for job in jobs if job.source.path is not None}
    named = {absolute(job.source) for job in jobs if job.source.named}
    own = outputs_among(inputs, made, earlier, named=named)
    passed = PassedOver()
    for path in sorted(own):
        if str(path) not in earlier.made:
            passed.add(f"made by {earlier.task} of others", inputs[path], warn=False)
    passed.report(earlier.task, heard)
    return own


def absolute(source: "Input") -> Path:
    """The absolute path of an input; "stdin" for stdin."""
    return Path(os.path.abspath(source.path)) if source.path is not None else Path(source.name)


def without_masks_and_sheets(inputs: "list[Input]", params: Mapping[str, Any], heard: set[str]) -> "list[Input]":
    """The inputs but for the images that other options name."""
    named = {name: Path(os.path.abspath(expanded(str(params[name])))) for name in ("mask", "grid") if params.get(name)}
    passed, kept = PassedOver(), []
    for one in inputs:
        option = next((name for name, path in named.items() if absolute(one) == path), None)
        if option is None:
            kept.append(one)
        else:
            passed.add(f"named by --{option}", one.name, warn=False)
    passed.report("inputs", heard)
    return kept


def made_before(paths: Sequence[Path], jobs: Sequence["Job"]) -> list[bool]:
    """Whether an earlier run, for which another random seed was taken, has made each of these files."""
    from bigr_cli.imaging.output_names import Made, general_name, without_number

    names: dict[Path, set[str]] = {}
    found = []
    for path, job in zip(paths, jobs, strict=True):
        if path.parent not in names:
            names[path.parent] = {name for there in _listed(path.parent) for name in without_number(there.name)}
        found.append(job.random_seed and general_name(Made(path, job.source.name, job.seed)) in names[path.parent])
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


POLL = 1.0  # seconds between two looks into a folder; also how long a file must have been left alone


@dataclass
class Watch:
    """Files that are done, files that somebody may still be writing, and what was said of others."""

    earlier: "Earlier"
    done: set[Path] = field(default_factory=set)  # absolute paths
    heard: set[str] = field(default_factory=set)
    _changes: dict[Path, tuple[tuple[int, int], float]] = field(default_factory=dict)

    def unsettled(self, lines: Sequence[Given]) -> set[Path]:
        """Images in the watched folders, as absolute paths, that may not be whole yet.

        That is seen by the clock, or, where a file's time lies in the future, by its staying the same between looks.
        """
        from bigr_cli.imaging.inputs import find_inputs

        young = set()
        for given in lines:
            words = given.params["images"] or []
            for source in find_inputs(words, recursive=given.params["recursive"], empty=True, heard=self.heard):
                path = absolute(source)
                if source.path is not None and path not in self.done and self._is_young(path):
                    young.add(path)
        return young

    def note(self, planned: "Plan") -> None:
        """Remember what was made of what."""
        self.done |= {absolute(job.source) for job in planned.jobs if job.source.path is not None}
        for path, job in zip(planned.paths or (), planned.jobs, strict=False):
            self.earlier.made[os.path.abspath(path)] = job.source.name

    def _is_young(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        age = time.time() - status.st_mtime
        if age >= POLL:
            return False
        state, now = (status.st_size, status.st_mtime_ns), time.monotonic()
        before, since = self._changes.setdefault(path, (state, now))
        if before != state:
            self._changes[path] = (state, now)
            return True
        return age >= 0 or now - since < POLL
