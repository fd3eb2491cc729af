"""`bigr embed`: images as feature vectors."""

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bigr_cli import console, options
from bigr_cli.options import option
from bigr_cli.options.groups import Machine, Messages, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._given import config_of
from bigr_cli.tasks._measuring import Images, ImageSeed, SceneCount, finish, loaded
from bigr_cli.tasks._results import FailureList, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bigr_cli.model import Model
    from bigr_cli.representation.embedding import Embedded
    from bigr_cli.representation.features import Wanted

TASK = "embed"
FEATURES = "Features"

Layer = Annotated[
    str | None,
    option(
        "--layer",
        "The block whose output is taken, 0 is the first; 4,6: several. Without it, the middle one.",
        FEATURES,
        metavar="N|N,M|all",
    ),
]
Pool = Annotated[
    Literal["mean", "tokens", "codes", "grid2", "grid3", "grid4"] | None,
    option(
        "--pool",
        "mean over the tokens, or over cells of a grid: grid2 to grid4. Or all tokens, or codes. "
        "The last are the tokenizer's bits, bit-packed. "
        "Without it, what the model's config says, or mean.",
        FEATURES,
        metavar="NAME",
    ),
]
Label = Annotated[str, option("--label", "The class under which images are seen.", FEATURES, metavar="LABEL")]
Output = Annotated[Path, options.output("FILE", "Where to write: .npz, .npy, .safetensors, .jsonl or .parquet.")]


@task(
    TASK,
    panel=UNDERSTAND,
    help="Turn images into feature vectors.",
    examples=(
        "bigr embed photos/ -o photos.npz",
        "bigr embed data/ --recursive --layer all -o data.safetensors",
        "bigr embed 'photos/**/*.jpg' --pool codes -o codes.npz",
        "bigr embed photos/ --pool grid2 --layer 4,6 -o photos.npz",
        "bigr embed scenes --count 5000 -o scenes.parquet",
    ),
)
@grouped
def embed(
    images: Images,
    output: Output,
    model: options.Model = None,
    count: SceneCount = None,
    seed: ImageSeed = 0,
    recursive: options.Recursive = False,
    layer: Layer = None,
    pool: Pool = None,
    label: Label = "none",
    overwrite: options.Overwrite = False,
    failures: options.Failures = None,
    json: options.Json = False,
    *,
    machine: Machine,
    messages: Messages,
) -> None:
    """Of an image of any size the middle square is taken, scaled to the model's size.

    Each has its path beside its features, and the name of its class folder, the top one below the folder given.

    A run that was stopped goes on where it was, if the same command is given again.

    Under torchrun or accelerate launch, the processes share the work, and the file is the same.

    An image that cannot be read is reported and left out; the exit code is then 1.
    """
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.representation.embedding import batch_size
    from bigr_cli.representation.features import wanted_features
    from bigr_cli.representation.index_files import check_kind
    from bigr_cli.representation.items import find_items
    from bigr_cli.representation.parts import embed_to_file
    from bigr_cli.runtime.processes import team

    began = time.perf_counter()
    output = output.expanduser()
    check_kind(output)
    check_targets([output], overwrite=overwrite)
    listed = FailureList(failures, overwrite=overwrite)
    config = config_of(model)
    wanted = wanted_features(config, layer=layer, pool=pool, label=label)
    items = find_items(images, config.image_size, count=count, seed=seed, recursive=recursive)
    with team() as processes:
        if not processes.first:
            console.configure(quiet=True)
        network = processes.after_the_first(lambda: loaded(model, machine))
        batch = processes.broadcast(batch_size(network, wanted, machine.batch_size))  # what is free differs among them
        made = embed_to_file(
            network,
            items,
            wanted,
            output,
            batch=batch,
            overwrite=overwrite,
            processes=processes,
            progress=_progress,
            fail=report if len(items) > 1 else lambda name, error: None,  # the only one's is the command's own error
            done=lambda made: listed.write(made.failed),
        )
    if made is not None:
        _tell(output, made, network, wanted, time.perf_counter() - began, json=json)
        finish(made.failed, len(items))


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[int], None]]":
    try:
        with progress_bar(total, "embedding") as bar:
            yield bar.advance
    except KeyboardInterrupt:
        console.say("interrupted; the same command goes on from the last part of the images that was done")
        raise


def _tell(output: Path, made: "Embedded", network: "Model", wanted: "Wanted", seconds: float, *, json: bool) -> None:
    shape = (len(made.paths), *wanted.shape)
    if not json:
        console.say(f"wrote {output}: {' × '.join(map(str, shape))} {wanted.dtype}")
        return
    about = {"model": network.name, "layer": wanted.layer, "pool": wanted.pool, "label": wanted.label_name}
    failed = [{"source": name, "error": reason} for name, reason in made.failed]
    numbers = {"count": shape[0], "shape": shape, "dtype": str(wanted.dtype), "failed": failed}
    console.json_line({"path": output, "task": TASK, **about, **numbers, "seconds": round(seconds, 3)})
