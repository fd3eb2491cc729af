"""From images to a model, from Python: what `bigr train` does.

model = bigr_cli.train("photos/", "runs/photos", time="2h")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli.durations import seconds_of
from bigr_cli.errors import UsageError

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.training.plan import Condition
    from bigr_cli.training.sizes import SizeName


def train(
    images: str | Path,
    output: str | Path | None = None,
    *,
    time: str | float | None = None,
    steps: int | None = None,
    size: SizeName | None = None,
    image_size: int | None = None,
    prompts: Condition | None = None,
    start: str = "",
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
) -> Model:
    """Train both stages on a folder of images; returns the model, ready to use.

    Args:
        images: a folder, tar shards, tables, "scenes": what `--data` takes.
        output: the new folder of the training; None is `runs/` and the name of the images' folder.
        time: how long everything may take, as "2h" or in seconds; None, without `steps`, is two hours.
        steps: of each stage, instead of a time.
        size: such as "tiny", or a published one; None goes by the data, the time and this machine.
        image_size: in pixels; None goes by the data.
        prompts: "classes" or "captions"; None is what the data have.
        start: a model whose tokenizer to begin with, or "none"; by itself, the shipped one where its sizes fit.
        device, threads: as those of `load`.
        settings: key=value, as the command takes them.
        resume: go on with the training in `output`, if there is one.

    Raises:
        UsageError: images that are not there or too few, a folder that is not empty, too little time or memory.
        RunError: training failed; the hint names the last good state.
        KeyboardInterrupt: interrupted; the state is saved, and the model.
    """
    from bigr_cli.model import load
    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.training.checkpoint import STATE_FILE
    from bigr_cli.training.command import new_training, resumed_training
    from bigr_cli.training.request import Request

    set_threads(threads)
    chosen, folder = select_device(device), None if output is None else Path(output)
    if resume and folder is None:
        raise UsageError("resume: needs the folder of the training, as output")
    if resume and folder is not None and (folder / STATE_FILE).is_file():
        return load(resumed_training(folder, chosen, settings=settings), device=device)
    seconds = seconds_of(time) if isinstance(time, str) else time
    request = Request(
        images=str(images),
        name="",
        seconds=seconds,
        steps=steps,
        size=size,
        side=image_size,
        condition=prompts,
        start=start,
        seed=seed,
        settings=tuple(settings),
    )
    return load(new_training(request, folder, chosen), device=device)
