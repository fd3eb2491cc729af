"""`bigr info`: how an image was made, and the command that makes it again."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bigr_cli import console, options
from bigr_cli.errors import BigrError, RunError, UsageError
from bigr_cli.options import argument
from bigr_cli.registry import task

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigr_cli.data.file_source import FileSource
    from bigr_cli.recipe import Recipe

_LONGEST = 2_000  # characters of a value that are shown


@task(
    "info",
    help="Show how an image was made, and the command that makes it again.",
    examples=(
        "bigr info cat-7.png",
        "bigr info --json 'images/*.png' > recipes.jsonl",
        "bigr generate cat -o - | tee cat.png | bigr info -",
    ),
)
def info(
    files: Annotated[
        list[str], argument("FILE...", "Images, films, recipes as JSON, folders, patterns, tar shards, or -.")
    ],
    recursive: options.Recursive = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Reads the recipe that bigr puts into every image it writes, unless --no-metadata was given."""
    shown, found = 0, _files(files, recursive=recursive)
    for name, path, read in found:
        try:
            recipe = read()
        except BigrError as error:
            if len(found) == 1:
                raise
            console.error(str(error), error.hint)
            continue
        show_recipe(name, recipe, output=_output(path), json=json, apart=shown > 0)
        shown += 1
    if shown < len(found):
        kind = RunError if shown else UsageError
        raise kind(f"{len(found) - shown} of {len(found)} files have no recipe to show")


def _files(words: list[str], *, recursive: bool) -> "list[tuple[str, Path | None, Callable[[], Recipe]]]":
    """What to show: names, the files, if they are such and not stdin, and how each recipe is read."""
    from bigr_cli.data.sources import find_data_set
    from bigr_cli.imaging.inputs import find_inputs, read_stdin
    from bigr_cli.imaging.metadata import read_metadata

    sets = {word: found for word in words if (found := find_data_set(word)) is not None}
    others = [word for word in words if word not in sets]
    shown: list[tuple[str, Path | None, Callable[[], Recipe]]] = []
    for file in find_inputs(others, recursive=recursive, missing=len(words) > 1) if others else ():
        path = file.path
        shown.append((file.name, path, lambda path=path: read_metadata(read_stdin() if path is None else path)))  # type: ignore[misc]
    for word, found in sets.items():
        if found.plain:
            hint = "recipes are in images as bigr wrote them: files, also in tar shards and parquet"
            raise UsageError(f"{word}: holds arrays of pixels, which have no recipes", hint=hint)
        source = found.open(1, False, None)
        for index in range(len(source)):
            name = source.called(index)
            shown.append((name, Path(name), partial(_stored_recipe, source, index)))
    return shown


def _stored_recipe(source: "FileSource", index: int) -> "Recipe":
    from bigr_cli.imaging.metadata import read_metadata

    with source.opened(index) as stream:
        return read_metadata(stream.read(), source.called(index))


def model_for(recipe: "Recipe", name: str) -> str | None:
    """The model of a recipe, or another one of its name, of which a warning says so; None if there is none."""
    from bigr_cli.zoo.find import model_of, named_model

    found, same = model_of(recipe)
    if same:
        return found
    console.warn(f"{name}: no model here has the weights that it was made with")
    return named_model(recipe.model)


def show_recipe(name: str, recipe: "Recipe", *, output: str | None, json: bool, apart: bool = False) -> None:
    """Print a recipe, and the command that makes such a file again; `apart` from what was printed before."""
    from bigr_cli.recipe import command, left_out

    model, again = model_for(recipe, name), None
    if model is not None or not Path(recipe.model).exists():  # or else -m would take a folder of other weights
        again = command(recipe, model=model or recipe.model, output=output)
    if again and (others := left_out(recipe)):
        console.warn(f"{name}: the command leaves out what no recipe may set: {', '.join(others)}")
    if json:
        record = {"path": name, "task": recipe.task, "model": recipe.model, "seed": recipe.seed}
        record |= dict([recipe.subject])
        console.json_line(record | {"command": again, "recipe": recipe.to_dict()})
        return
    lines = [*([""] if apart else []), name, *_lines(recipe), *(["", again] if again else [])]
    for line in lines:
        console.result(line)


def _lines(recipe: "Recipe") -> list[str]:
    digests = ", ".join(f"{name} {digest[:12]}…" for name, digest in sorted(recipe.weights.items()))
    rows = {
        "task": recipe.task,
        "model": recipe.model + (f" in {recipe.folder}" if recipe.folder else ""),
        "weights": digests,
        recipe.subject[0]: ", ".join(recipe.labels),
        "seed": str(recipe.seed),
        "pictures": f"{recipe.count} of each label" if recipe.count > 1 else "",
        **{name.replace("_", " "): _text(value) for name, value in vars(recipe.sampling).items()},
        **{name.replace("_", " "): _text(value) for name, value in recipe.options.items()},
        "made on": f"{recipe.device} in {recipe.dtype}, by bigr {recipe.version}",
    }
    width = max(map(len, rows))
    return [f"  {name:<{width}}  {value}" for name, value in rows.items() if value]


def _text(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _output(file: Path | None) -> str | None:
    """The file's name, if a command can write such a file; - for stdout."""
    from bigr_cli.imaging.files import KINDS
    from bigr_cli.imaging.montage import FILMS

    if file is None:
        return "-"
    return file.name if file.suffix.lower() in (*KINDS, *FILMS) else None
