"""What commands do when several processes share their images; see `bigr_cli.runtime.processes`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigr_cli import console
from bigr_cli.errors import RunError, UsageError
from bigr_cli.folders import FolderLock
from bigr_cli.runtime.processes import Team, team

if TYPE_CHECKING:
    from bigr_cli.model import Model


@contextmanager
def sharing() -> Iterator[Team]:
    """The processes that share the images, of which the first one speaks."""
    with team(hint="the same command with --skip-existing makes what is missing") as processes:
        if not processes.first:
            console.configure(quiet=True)
        yield processes


class Turn:
    """The right to write into an output folder, where --skip-existing asks what is there: one process at a time has it.

    So two runs of the same command share no image: the second one waits, and then finds what the first one has made.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` None is for runs that need no turn."""
        self._lock = None if folder is None else FolderLock(folder)

    def take(self) -> None:
        """Wait until no other process has it."""
        if self._lock is not None:
            with suppress(RunError):  # what is wrong with the folder is told when something is to be written there
                self._lock.take(wait=True)

    def leave(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.leave()


@contextmanager
def turn(processes: Team, output: str | None, *, skip_existing: bool) -> Iterator[Turn]:
    """The turn of a command that writes to --output, let go when the block ends; the first process has it for all."""
    from bigr_cli.imaging.output_names import fixed_folder

    given = Turn(fixed_folder(output) if skip_existing and processes.first else None)
    try:
        yield given
    finally:
        given.leave()


def load_on_every_rank(name: str | None, placing: dict[str, Any], processes: Team) -> "Model":
    """The model, as `bigr_cli.load` gives it, in all processes.

    Raises:
        What `bigr_cli.load` raises.
        UsageError: it is on another kind of device, or in another number format, than in the first process.
    """
    from bigr_cli.model import load

    model = processes.after_the_first(lambda: load(name, **placing))
    numbers = f"{model.device.type} in {str(model.dtype).removeprefix('torch.')}"
    expected = processes.broadcast(numbers)
    if expected != numbers:
        message = f"process {processes.rank} would make other images: it computes on {numbers}, the first on {expected}"
        raise UsageError(message, hint="--device and --dtype make them alike")
    return model
