"""`bigr classify`: the classes of pictures, by a probe that `bigr evaluate probe` has trained."""

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError
from bigr_cli.option_groups import Machine, Messages, grouped
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._given import given_by
from bigr_cli.tasks._representation import Pictures, PictureSeed, SceneCount, finish, loaded, report

TASK = "classify"

ProbeFile = Annotated[
    Path,
    typer.Option(
        "--probe", metavar="FILE", rich_help_panel=options.ARGUMENTS, help="What bigr evaluate probe --save FILE wrote."
    ),
]


@task(
    TASK,
    panel=UNDERSTAND,
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
    from bigr_cli.representation.items import find_items
    from bigr_cli.representation.probe_files import classified, load_probe, wanted_by

    known = load_probe(probe.expanduser())
    insisted = model if "model" in given_by(context).explicit else None
    name, config = known.about.find(str(probe), insisted)
    wanted = wanted_by(known, config, source=str(probe), model=name)
    items = find_items(images, config.image_size, count=count, seed=seed, recursive=recursive)
    network = loaded(name, machine)
    from bigr_cli.representation.embedding import batch_size

    failed: list[tuple[str, str]] = []

    def fail(path: str, error: BigrError) -> None:
        if len(items) == 1:
            raise error
        report(path, error)
        failed.append((path, str(error)))

    batch = batch_size(network, wanted, machine.batch_size)
    with console.progress(len(items), "classifying") as bar:
        for each in classified(network, known, wanted, items, batch=batch, advance=bar.advance, fail=fail):
            if json:
                console.json_line({"path": each.path, "task": TASK, "model": network.name, **each.record()})
            else:
                console.result(f"{each.path}\t{each.label}\t{each.probability:.3f}")
    finish(failed, len(items))
