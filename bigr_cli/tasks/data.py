"""`bigr data ...`: the built-in data set as files."""

import time
from pathlib import Path
from typing import Annotated

from bigr_cli import console, options
from bigr_cli.options import Json, Overwrite, Quiet, option
from bigr_cli.progress import progress_bar
from bigr_cli.registry import TRAIN, group, task

group("data", help="Write the built-in data set as files.")


@task(
    "data scenes",
    panel=TRAIN,
    help="Write scenes, the built-in images of 16 kinds of objects, with captions.",
    examples=(
        "bigr data scenes -n 10000 -o scenes/",
        "bigr data scenes -n 500 --size 256 --seed 1 -o large/",
    ),
)
def scenes(
    output: Annotated[Path, options.output("DIR", "The folder to write into.")],
    count: Annotated[int, options.count("How many images.")] = 1000,
    size: Annotated[int, option("--size", "Width and height, 16 to 1024.", metavar="PIXELS")] = 64,
    seed: Annotated[int, options.seed("Another seed is another data set.")] = 0,
    workers: Annotated[
        int | None, option("--workers", "Processes that render. Without it, one a core.", min=1, metavar="N")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Image 12 becomes DIR/LABEL/000012.png, and DIR/captions.jsonl has a line about each image.

    An image follows from the seed and its number alone; --data scenes of the training commands renders the same ones.
    """
    from bigr_cli.data.scenes import write_scenes

    start = time.perf_counter()
    with progress_bar(count, "rendering scenes") as bar:
        captions = write_scenes(
            output, count=count, size=size, seed=seed, workers=workers, progress=bar.advance, overwrite=overwrite
        )
    seconds = round(time.perf_counter() - start, 3)
    if json:
        numbers = {"count": count, "size": size, "seed": seed, "seconds": seconds}
        console.json_line({"path": output, "task": "data scenes", "captions": captions, **numbers})
    else:
        console.say(f"wrote {count} scenes of {size} × {size} pixels to {output} in {seconds:.1f} s")
