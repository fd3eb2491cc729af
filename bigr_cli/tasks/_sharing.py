"""What commands do when several processes share their pictures; see `bigr_cli.processes`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.processes import Team, team

if TYPE_CHECKING:
    from bigr_cli.api import Model


@contextmanager
def sharing() -> Iterator[Team]:
    """The processes that share the pictures, of which the first one speaks."""
    with team(hint="the same command with --skip-existing makes what is missing") as processes:
        if not processes.first:
            console.configure(quiet=True)
        yield processes


def load_alike(name: str | None, placing: dict[str, Any], processes: Team) -> "Model":
    """The model, as `bigr_cli.load` gives it, in all processes.

    Raises:
        What `bigr_cli.load` raises.
        UsageError: it is on another kind of device, or in another number format, than in the first process.
    """
    from bigr_cli.api import load

    model = processes.after_the_first(lambda: load(name, **placing))
    numbers = f"{model.device.type} in {str(model.dtype).removeprefix('torch.')}"
    expected = processes.told(numbers)
    if expected != numbers:
        message = (
            f"process {processes.rank} would make other pictures: it computes on {numbers}, the first on {expected}"
        )
        raise UsageError(message, hint="--device and --dtype make them alike")
    return model
