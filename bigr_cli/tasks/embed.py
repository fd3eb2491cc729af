"""`bigr embed`: pictures as feature vectors."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bigr_cli import console, options
from bigr_cli.errors import BigrError, ImageError, RunError
from bigr_cli.option_groups import Machine, Messages, grouped
from bigr_cli.registry import task
from bigr_cli.tasks._representation import Pictures, PictureSeed, SceneCount, finish, loaded, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bigr_cli.api import Model
    from bigr_cli.evaluation.embedding import Embedded
    from bigr_cli.evaluation.features import Wanted
    from bigr_cli.evaluation.shards import Shards

TASK = "embed"
FEATURES = "Features"

Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        metavar="N|all",
        rich_help_panel=FEATURES,
        help="The block whose output is taken, 0 is the first. Without it, the middle one.",
        show_default=False,
    ),
]
Pool = Annotated[
    Literal["mean", "tokens", "codes"],
    typer.Option(
        "--pool",
        metavar="NAME",
        rich_help_panel=FEATURES,
        help="mean over the tokens, all tokens, or codes: the tokenizer's bits, packed.",
    ),
]
Label = Annotated[
    str,
    typer.Option("--label", metavar="LABEL", rich_help_panel=FEATURES, help="The class under which pictures are seen."),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        rich_help_panel=options.OUTPUT,
        help="Where to write: .npz, .npy, .safetensors, .jsonl or .parquet.",
    ),
]


@task(
    TASK,
    help="Turn pictures into feature vectors.",
    examples=(
        "bigr embed photos/ -o photos.npz",
        "bigr embed data/ --recursive --layer all -o data.safetensors",
        "bigr embed 'photos/**/*.jpg' --pool codes -o codes.npz",
        "bigr embed scenes --count 5000 -o scenes.parquet",
    ),
)
@grouped
def embed(
    images: Pictures,
    output: Output,
    model: options.Model = None,
    count: SceneCount = None,
    seed: PictureSeed = 0,
    recursive: options.Recursive = False,
    layer: Layer = None,
    pool: Pool = "mean",
    label: Label = "none",
    overwrite: options.Overwrite = False,
    failures: options.Failures = None,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """Of a picture of any size the middle square is taken, scaled to the model's size.

    Each has its path beside its features, and the name of its class folder, the top one below the folder given.

    A run that was stopped goes on where it was, if the same command is given again.

    A picture that cannot be read is reported and left out; the exit code is then 1.
    """
    from bigr_cli.evaluation.embedding import batch_size, embed_items, identity
    from bigr_cli.evaluation.features import wanted_features
    from bigr_cli.evaluation.index_files import check_kind
    from bigr_cli.evaluation.items import find_items
    from bigr_cli.evaluation.shards import Shards
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.zoo.config import read_config
    from bigr_cli.zoo.find import find_model

    began = time.perf_counter()
    output = output.expanduser()
    check_kind(output)
    check_targets([output], overwrite=overwrite)
    config = read_config(find_model(model))
    wanted = wanted_features(config, layer=layer, pool=pool, label=label)
    items = find_items(images, config.image_size, count=count, seed=seed, recursive=recursive)
    network = loaded(model, machine)
    batch = batch_size(network, wanted, machine.batch_size)
    shards = Shards(output, identity(network, items, wanted, batch))
    alone: list[BigrError] = []

    def fail(name: str, error: BigrError) -> None:
        if len(items) == 1:
            alone.append(error)
        else:
            report(name, error)

    with console.progress(len(items), "embedding") as bar:

        def begun(done: int) -> None:
            bar.advance(done)
            if done:
                console.say(f"going on: {done} of {len(items)} pictures were done before")

        made = embed_items(network, items, wanted, shards, batch=batch, begun=begun, advance=bar.advance, fail=fail)
    if failures is not None:
        _write_failures(failures, made.failed)
    if not made.paths:
        shards.remove()
        if len(items) == 1:
            raise alone[0] if alone else ImageError(made.failed[0][1])
        raise RunError(f"none of {len(items)} pictures could be read; {output} was not written")
    shape = _write(output, made, shards, network, wanted, overwrite=overwrite)
    if json:
        about = {"model": network.name, "layer": wanted.layer, "pool": pool, "label": wanted.label_name}
        failed = [{"source": name, "error": reason} for name, reason in made.failed]
        numbers = {"count": shape[0], "shape": shape, "dtype": str(wanted.dtype), "failed": failed}
        seconds = round(time.perf_counter() - began, 3)
        console.json_line({"path": output, "task": TASK, **about, **numbers, "seconds": seconds})
    else:
        console.say(f"wrote {output}: {' × '.join(map(str, shape))} {wanted.dtype}")
    finish(made.failed, len(items))


def _write(
    output: Path, made: "Embedded", shards: "Shards", network: "Model", wanted: "Wanted", *, overwrite: bool
) -> tuple[int, ...]:
    """Write what the shards hold, and remove them; gives the features' shape."""
    from bigr_cli.evaluation.about import about
    from bigr_cli.evaluation.index_files import Table, write_table

    known = about(wanted, network.config, network.name, network.folder)
    table = Table(made.paths, made.labels, wanted.shape, wanted.dtype, known)
    write_table(output, table, shards.blocks(made.shards), overwrite=overwrite)
    shards.remove()
    return (len(made.paths), *wanted.shape)


def _write_failures(path: Path, failed: "Sequence[tuple[str, str]]") -> None:
    import json

    from bigr_cli.imaging.files import write_bytes

    lines = [json.dumps({"source": name, "error": reason}) + "\n" for name, reason in failed]
    write_bytes(path, "".join(lines).encode(), overwrite=True)
