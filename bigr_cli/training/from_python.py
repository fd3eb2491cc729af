"""From images to a model, from Python: what `bigr train` does.

```python
model = bigr_cli.train("photos/", "runs/photos", time="2h")
```
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.plain_text import seconds_of

if TYPE_CHECKING:
    from bigr_cli.model import Model
    from bigr_cli.training.size_names import AskedSize


def train(
    images: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    time: str | float | None = None,
    steps: int | None = None,
    size: AskedSize = "auto",
    image_size: int | None = None,
    captions: bool | None = None,
    from_model: str | PathLike[str] = "",
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    quiet: bool = False,
) -> Model:
    """Train both stages on a folder of images; returns the model, ready to use.

    Args:
        images: a folder, tar shards, tables, "scenes": what `--data` takes.
        output: the new folder of the training; None is `runs/` and the name of the images' folder.
        time: how long everything may take, as "2h" or in seconds; None, without `steps`, is two hours.
        steps: of each stage, instead of a time.
        size: such as "tiny", or a published one; "auto" goes by the data, the time and this machine.
        image_size: in pixels; None goes by the data.
        captions: True for captions as prompts, False for classes; None is what the data have.
        from_model: a model whose tokenizer to begin with, or "none"; by itself, the shipped one where its sizes fit.
        device: as that of `load`.
        threads: as that of `load`.
        settings: key=value, as the command takes them.
        resume: go on with the training in `output`, if there is one.
        quiet: say nothing on stderr but warnings and errors.

    Raises:
        UsageError: images that are not there or too few, a folder that is not empty, too little time or memory.
        RunError: training failed; the hint names the last good state.
        KeyboardInterrupt, SystemExit: interrupted, or ended by SIGTERM; the state is saved, and the model.
    """
    from bigr_cli import console
    from bigr_cli.model import load
    from bigr_cli.runtime.device import select_device, set_threads
    from bigr_cli.training.checkpoint import STATE_FILE
    from bigr_cli.training.commands import new_training, resumed_training
    from bigr_cli.training.request import Request
    from bigr_cli.training.sizes import SIZES

    if size != "auto" and size not in SIZES:
        raise UnknownNameError("size", size, SIZES)
    if steps is not None and steps < 1:
        raise UsageError(f"steps: expected at least 1, got {steps}")
    set_threads(threads)
    chosen, folder = select_device(device), None if output is None else Path(output).expanduser()
    if resume and folder is None:
        raise UsageError("resume: needs the folder of the training, as output")
    if resume and folder is not None and (folder / STATE_FILE).is_file():
        with console.quieter(quiet):
            return load(resumed_training(folder, chosen, settings=settings), device=device)
    seconds = seconds_of(time) if isinstance(time, str) else time
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"time: expected seconds above 0, got {time}")
    request = Request(
        images=fspath(images),
        seconds=seconds,
        steps=steps,
        size=size,
        image_size=image_size,
        captions=captions,
        start=fspath(from_model),
        seed=seed,
        settings=tuple(settings),
    )
    with console.quieter(quiet):
        return load(new_training(request, folder, chosen), device=device)
