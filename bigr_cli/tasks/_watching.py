"""What a task that watches folders remembers between two looks into them."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli.tasks._given import Given
from bigr_cli.tasks._jobs import Plan
from bigr_cli.tasks._own_files import absolute

if TYPE_CHECKING:
    from bigr_cli.imaging.output_names import Earlier

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

    def note(self, planned: Plan) -> None:
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
