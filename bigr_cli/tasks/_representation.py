"""What the commands about features have in common: their options, loading the model, images that fail."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from bigr_cli import console, options
from bigr_cli.errors import BigrError, RunError
from bigr_cli.options import argument
from bigr_cli.options.groups import Machine

if TYPE_CHECKING:
    from bigr_cli.model import Model

_LISTED = 20

Images = Annotated[list[str], argument("IMAGE...", "Files, folders, patterns, tar shards, tables, arrays or scenes.")]
SceneCount = Annotated[int | None, options.count("How many scenes; 1000 if not given.", options.INPUT, most=10**9)]
ImageSeed = Annotated[
    int,
    options.seed(
        "Which images are taken, where not all are. Another seed means other scenes.", options.INPUT, most=2**31
    ),
]


def loaded(name: str | None, machine: Machine) -> "Model":
    """The model, on the device and in the format asked for, and a message about it."""
    from bigr_cli.model import load

    model = load(name, **machine.placing())
    console.say(f"{model.name} on {model.device} in {str(model.dtype).removeprefix('torch.')}")
    return model


def report(name: str, error: BigrError) -> None:
    """Say that an image is left out, and why."""
    message = str(error)
    console.error(message if name in message else f"{name}: {message}", error.hint)


def finish(failed: Sequence[tuple[str, str]], total: int) -> None:
    """Raise RunError if images failed, with a list of them."""
    if not failed:
        return
    for name, reason in failed[:_LISTED] if len(failed) > 1 else ():
        console.say(f"  failed: {name} ({reason.removeprefix(name).lstrip(': ')})")
    if len(failed) > _LISTED:
        console.say(f"  and {len(failed) - _LISTED} more")
    raise RunError(f"{len(failed)} image{'' if len(failed) == 1 else 's'} of {total} failed")
