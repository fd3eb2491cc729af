"""What the commands about features have in common: their options, loading the model, images that fail."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError, RunError
from bigr_cli.option_groups import Machine

if TYPE_CHECKING:
    from bigr_cli.model import Model

_LISTED = 20

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="Files, folders, patterns, tar shards, tables, arrays or scenes.",
        show_default=False,
    ),
]
SceneCount = Annotated[
    int | None,
    typer.Option(
        "--count",
        min=1,
        max=10**9,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="How many scenes; 1000 if not given.",
        show_default=False,
    ),
]
ImageSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=2**31,
        metavar="N",
        rich_help_panel=options.INPUT,
        help="Which images are taken, where not all are. Another seed means other scenes.",
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
