"""`bigr classify`: the classes of images, by a probe that `bigr evaluate probe` has trained."""

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError, UsageError
from bigr_cli.options import number, option
from bigr_cli.options.groups import Machine, Messages, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._given import given_by
from bigr_cli.tasks._measuring import Images, ImageSeed, SceneCount, finish, loaded
from bigr_cli.tasks._results import report

TASK = "classify"
NONE = "none of these"

ProbeFile = Annotated[
    Path, option("--probe", "What bigr evaluate probe --save FILE wrote.", options.ARGUMENTS, metavar="FILE")
]

Threshold = Annotated[
    float,
    option(
        "--threshold",
        "None of these beyond it; 1: one in 100 training images is; 0: never.",
        options.OUTPUT,
        metavar="DISTANCE",
        callback=number(0),
    ),
]


@task(
    TASK,
    panel=UNDERSTAND,
    help="Tell the classes of images by a trained probe.",
    examples=(
        "bigr classify photos/*.png --probe probe.safetensors",
        "bigr classify scenes --count 10 --probe p.safetensors --json",
    ),
)
@grouped
def classify(
    context: typer.Context,
    images: Images,
    probe: ProbeFile,
    model: options.Model = None,
    count: SceneCount = None,
    seed: ImageSeed = 0,
    recursive: options.Recursive = False,
    threshold: Threshold = 1.0,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """A line for each image: its path, the likeliest label, how likely the classifier takes it to be among its
    labels, and how far the image is from those that the classifier was trained on.

    Farther away than --threshold it is "none of these", however likely the label: a classifier is as sure of what it
    has never seen.

    An image that cannot be read is reported and left out; the exit code is then 1.
    """
    from bigr_cli.representation.items import find_items
    from bigr_cli.representation.probe_files import FEWEST, classified, load_probe, wanted_by

    known = load_probe(probe.expanduser())
    given = given_by(context).explicit
    insisted = model if "model" in given else None
    name, config = known.about.find(str(probe), insisted)
    wanted = wanted_by(known, config, source=str(probe), model=name)
    if known.familiar is None and "threshold" in given:
        hint = f"bigr evaluate probe --save makes one that does, of {FEWEST} images or more"
        raise UsageError(f"{probe}: does not say what its training images are like", hint=hint)
    if known.familiar is None:
        console.warn(
            f"{probe}: trained on fewer than {FEWEST} images, or all the same, so none is told to be {NONE}: every "
            "image gets a label"
        )
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
    with progress_bar(len(items), "classifying") as bar:
        for each in classified(network, known, wanted, items, batch=batch, advance=bar.advance, fail=fail):
            if json:
                record = each.record(threshold)
                console.json_line({"path": each.path, "task": TASK, "model": network.name, **record})
            else:
                label = NONE if each.is_none(threshold) else each.label
                away = [] if each.distance is None else [f"{each.distance:.2f}"]
                console.result("\t".join([each.path, label, f"{each.probability:.3f}", *away]))
    finish(failed, len(items))
