"""`bigr log`: what was made here, and making it again."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import argument, option
from bigr_cli.options.groups import grouped
from bigr_cli.registry import task

if TYPE_CHECKING:
    from bigr_cli.recipe import Recipe
    from bigr_cli.tasks._image_log import Entry

LIST, SHOW, AGAIN = "list", "show", "again"

Words = Annotated[
    list[str] | None,
    argument(
        "[show|again] [NUMBER]",
        "show prints the recipe of an image, again makes it again. Without them, the last images are listed.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Whether there is a log."""

    off: Annotated[bool, option("--off", "Note nothing from now on; BIGR_LOG=off: in one command.", "Log")] = False
    on: Annotated[bool, option("--on", "Note images again.", "Log")] = False
    clear: Annotated[bool, option("--clear", "Delete all that is noted.", "Log")] = False


@task(
    "log",
    help="List what was made here, show how, and make it again.",
    examples=(
        "bigr log",
        "bigr log again 12 -o again.png",
        "bigr log show 12",
        "bigr log -n 100 --search boat --json",
        "bigr log --off",
    ),
)
@grouped
def log(
    context: typer.Context,
    words: Words = None,
    output: options.Output = None,
    count: Annotated[int, options.count("How many to list.", "Log", most=10**9)] = 20,
    search: Annotated[
        str | None, option("--search", "Only those with this in prompt, task, model or path.", "Log", metavar="WORD")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    keeping: Keeping,
) -> None:
    """Of each image: its number, time, task, model, prompt, seed, seconds and path. All stays on this machine.

    An image that is made again has its old name, in the current folder, unless -o says otherwise.
    """
    action, number = _action(words or [], keeping)
    if keeping.off or keeping.on or keeping.clear:
        _keep(keeping)
    elif action == LIST:
        _list(count, search, json=json)
    elif action == SHOW:
        _show(number, json=json)
    else:
        raise typer.Exit(_again(context, number, output, overwrite=overwrite, json=json, quiet=quiet))


def _action(words: list[str], keeping: Keeping) -> tuple[str, int]:
    """What is to be done, with which image. Raises UsageError if that cannot be told."""
    if sum((keeping.off, keeping.on, keeping.clear, bool(words))) > 1 + (keeping.off and keeping.clear and not words):
        raise UsageError("--off, --on, --clear, show and again are each for themselves")
    if not words:
        return LIST, 0
    action, *rest = words if not words[0].isdecimal() else [SHOW, *words]
    if action not in (SHOW, AGAIN) or len(rest) != 1 or not (rest[0].isascii() and rest[0].isdigit()):
        raise UsageError(f"expected show or again and a number, got {' '.join(words)}", hint="bigr log lists numbers")
    return action, min(int(rest[0]), 2**63 - 1)


def _keep(keeping: Keeping) -> None:
    from bigr_cli.tasks import _image_log

    if keeping.clear:
        console.say(f"forgot {_image_log.clear():,} images; the images themselves are where they were")
    if keeping.on or keeping.off:
        _image_log.turn(on=keeping.on)
        console.say(f"the log is {'on' if keeping.on else 'off'}")
        if keeping.on and (still := _image_log.why_off()):
            console.warn(f"{still} turns it off all the same")


def _list(count: int, search: str | None, *, json: bool) -> None:
    from bigr_cli.tasks._image_log import entries, why_off

    found = entries(count, search)
    if json:
        for one in found:
            console.json_line(one.to_dict())
    elif found:
        columns = ("number", "made", "task", "model", "prompt", "seed", "seconds", "path")
        console.table(columns, [_cells(one) for one in found])
    else:
        console.say("nothing was made here yet" if search is None else f"nothing has {search!r}")
    if off := why_off():
        console.say(f"the log is off: {off}")


def _cells(one: "Entry") -> list[str]:
    when, path = one.when[:16], one.path or "stdout"
    gone = "" if one.path is None or os.path.exists(one.path) else " (gone)"
    return [str(one.number), when, one.task, one.model, one.prompt, str(one.seed), f"{one.seconds:.1f}", path + gone]


def _recipe(one: "Entry") -> "Recipe":
    from bigr_cli.recipe import parse_recipe

    return parse_recipe(one.recipe, source=f"image {one.number} of the log")


def _show(number: int, *, json: bool) -> None:
    from bigr_cli.tasks._image_log import entry
    from bigr_cli.tasks.info import show_recipe

    one = entry(number)
    show_recipe(one.path or "stdout", _recipe(one), output=_name(one) or "-", json=json)


def _name(one: "Entry") -> str | None:
    """What a file of the image is called; a folder of frames ends with a slash."""
    if one.path is None:
        return None
    return os.path.basename(one.path.rstrip(os.sep)) + (os.sep if one.path.endswith(os.sep) else "")


def _again(context: typer.Context, number: int, output: str | None, *, overwrite: bool, json: bool, quiet: bool) -> int:
    """Run the command of an image's recipe where it ran then, and return its exit code."""
    from bigr_cli.recipe import arguments
    from bigr_cli.tasks._image_log import entry

    one = entry(number)
    recipe, here = _recipe(one), Path.cwd()
    target = output or _name(one) or "-"
    if target != "-":
        target = str(here / target) + (os.sep if target.endswith(os.sep) else "")
    try:
        if Path(one.folder).is_dir():
            os.chdir(one.folder)  # the files that it names are named from there
        words = arguments(recipe, model=_model(recipe, number, target), output=target)
        if words is None:
            raise UsageError(f"image {number}: nothing makes it again: {recipe.task} is no task that a recipe is for")
        flags = {"--overwrite": overwrite, "--json": json, "--quiet": quiet}
        code: int = context.obj([*words[:1], *(flag for flag, given in flags.items() if given), *words[1:]])
        return code
    finally:
        os.chdir(here)


def _model(recipe: "Recipe", number: int, target: str) -> str:
    """The model that makes the image again, or another one of its name, of which a warning says so.

    Raises:
        UsageError: there is neither; says so where the folder that it names has other weights by now.
    """
    from bigr_cli.recipe import command
    from bigr_cli.zoo.config import CONFIG_FILE
    from bigr_cli.zoo.find import model_of, named_model

    found, same = model_of(recipe)
    if same:
        return found
    other = named_model(recipe.model)
    if other is not None:
        console.warn(f"image {number}: no model here has the weights that it was made with")
        return other
    folder = recipe.folder
    if folder and (Path(folder).expanduser() / CONFIG_FILE).is_file():
        now = command(recipe, model=folder, output=target)
        hint = f"with the weights that are there now: {now}" if now else None
        raise UsageError(f"image {number} was made by an earlier state of {folder}, which is not kept", hint=hint)
    gone = f" ({folder} is not there any more)" if folder else ""
    hint = "bigr models list shows the models that are here"
    raise UsageError(f"image {number}: the model {recipe.model!r} that made it is not here{gone}", hint=hint)
