"""`bigr search`: the images of an index that are most like one image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError
from bigr_cli.options import argument, option
from bigr_cli.options.groups import Machine, Messages, grouped
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._given import given_by
from bigr_cli.tasks._measuring import loaded
from bigr_cli.tasks._sheets import sheet_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

TASK = "search"


@task(
    TASK,
    panel=UNDERSTAND,
    help="Find the images of an index that are most like an image.",
    examples=(
        "bigr search cat.png --index photos.npz",
        "bigr search cat.png --index codes.safetensors -n 20 --grid like-it.png",
        "bigr search scenes:0:7 --index scenes.npz --json",
    ),
)
@grouped
def search(
    context: typer.Context,
    query: Annotated[str, argument("IMAGE", "A file, scenes:SEED:NUMBER, or a name in the index.")],
    index: Annotated[
        Path, option("--index", "What bigr embed wrote: .npz or .safetensors.", options.ARGUMENTS, metavar="FILE")
    ],
    count: Annotated[int, options.count("How many images to show.", options.OUTPUT)] = 10,
    model: options.Model = None,
    grid: options.Grid = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """Features, less their mean, are compared by their cosine, 1 for the same direction; codes by the bits that differ.

    The image is seen by the model that made the index, at the same layer.
    """
    from bigr_cli.file_names import expanded
    from bigr_cli.representation.index_files import check_features, ranked, read_index
    from bigr_cli.representation.items import item_named, read_item

    sheet = sheet_path(grid, overwrite=overwrite)
    found = read_index(expanded(str(index)))
    insisted = model if "model" in given_by(context).explicit else None
    name, config = found.about.find(str(index), insisted)
    wanted = found.about.wanted(config)
    check_features(found, wanted, source=str(index), model=name)
    pixels = read_item(item_named(query), config.image_size, config.ground)
    network = loaded(name, machine)
    from bigr_cli.representation.embedding import embed_pixels
    from bigr_cli.runtime.memory import Batches

    features = embed_pixels(network, [pixels], wanted, Batches(1))[0]
    rows = [each.record() for each in ranked(found, features, count, source=str(index))]
    for row in rows if json else ():
        console.json_line({"task": TASK, "model": network.name, "query": query, **row})
    if not json:
        columns = list(rows[0]) if rows else []
        console.table(columns, [[_shown(value) for value in row.values()] for row in rows])
    if sheet is not None:
        _write_sheet(sheet, query, rows, overwrite=overwrite)


def _write_sheet(path: Path, query: str, rows: "Sequence[dict[str, Any]]", *, overwrite: bool) -> None:
    """The image that was asked for, and those found, each with its score below it."""
    from PIL.Image import new

    from bigr_cli.imaging.files import write_image
    from bigr_cli.imaging.montage import grid

    images: list[Image] = []
    captions = []
    for name, caption in [(query, "query"), *((row["path"], _caption(row)) for row in rows)]:
        try:
            images.append(_image(name))
        except BigrError as error:
            console.warn(f"left blank on the sheet: {error}")
            images.append(new("RGB", (_SIDE, _SIDE), "white"))
        captions.append(caption)
    write_image(path, grid(images, labels=captions), overwrite=overwrite)
    console.say(f"wrote {path}")


_SIDE = 128  # of an image on the sheet


def _image(name: str) -> "Image":
    from PIL.Image import fromarray

    from bigr_cli.representation.items import item_named, read_item

    return fromarray(read_item(item_named(name), _SIDE).levels)


def _caption(row: "dict[str, Any]") -> str:
    return f"{row['distance']} bits" if "distance" in row else f"{row['similarity']:.3f}"


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
