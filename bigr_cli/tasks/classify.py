"""`bigr classify`: the classes of pictures, by a probe that `bigr evaluate probe` has trained."""

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError, ModelFormatError
from bigr_cli.option_groups import Machine, Messages, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._given import given_by
from bigr_cli.tasks._representation import Pictures, PictureSeed, SceneCount, finish, loaded, report

TASK = "classify"

ProbeFile = Annotated[
    Path,
    typer.Option(
        "--probe", metavar="FILE", rich_help_panel=options.INPUT, help="What bigr evaluate probe --save FILE wrote."
    ),
]


@task(
    TASK,
    help="Tell the classes of pictures by a trained probe.",
    examples=(
        "bigr classify photos/*.png --probe probe.safetensors",
        "bigr classify scenes --count 10 --probe p.safetensors --json",
    ),
)
@grouped
def classify(
    context: typer.Context,
    images: Pictures,
    probe: ProbeFile,
    model: options.Model = None,
    count: SceneCount = None,
    seed: PictureSeed = 0,
    recursive: options.Recursive = False,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """A line for each picture: its path, the likeliest label, and how likely the classifier takes it to be.

    A picture that cannot be read is reported and left out; the exit code is then 1.
    """
    from bigr_cli.representation.items import find_items, read_batches
    from bigr_cli.representation.probe_files import load_probe

    known = load_probe(probe.expanduser())
    insisted = model if "model" in given_by(context).explicit else None
    name, config = known.about.find(str(probe), insisted)
    wanted = known.about.wanted(config)
    if wanted.shape != known.weight.shape[1:]:
        raise ModelFormatError(f"{probe}: does not read features of the shape that {name} gives")
    items = find_items(images, config.image_size, count=count, seed=seed, recursive=recursive)
    network = loaded(name, machine)
    from bigr_cli.representation.embedding import batch_size, embed_pixels, pixels_of
    from bigr_cli.runtime.batches import Batches

    failed: list[tuple[str, str]] = []
    batches = Batches(batch_size(network, wanted, machine.batch_size))
    with console.progress(len(items), "classifying") as bar:
        for rows in read_batches(items, config.image_size, batches.size, config.ground):
            for item, read in rows:
                if isinstance(read, BigrError):
                    if len(items) == 1:
                        raise read
                    report(item.name, read)
                    failed.append((item.name, str(read)))
            there = pixels_of(rows)
            chances = known.probabilities(embed_pixels(network, [pixels for _, pixels in there], wanted, batches))
            for (item, _), row in zip(there, chances, strict=True):
                label, share = known.labels[int(row.argmax())], float(row.max())
                if json:
                    record = {"path": item.name, "task": TASK, "model": network.name}
                    console.json_line({**record, "label": label, "probability": round(share, 6)})
                else:
                    console.result(f"{item.name}\t{label}\t{share:.3f}")
            bar.advance(len(rows))
    finish(failed, len(items))
