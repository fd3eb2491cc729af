"""What goes wrong in the middle of a training, with a message and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bigr_cli.data.loading import workers_watched
from bigr_cli.errors import ImageError, RunError
from bigr_cli.training.checkpoint import last_state


@contextmanager
def failures(run: Path) -> Iterator[None]:
    """Give what goes wrong in the middle of a training a message, and the way back."""
    try:
        with workers_watched():
            yield
    except RunError as error:
        error.hint = error.hint or last_state(run)
        raise
    except ImageError as error:
        error.hint = f"data.check=pictures leaves out what cannot be read; {last_state(run)}"
        raise
    except torch.OutOfMemoryError as error:
        hint = f"a smaller run.batch, or a larger run.accumulate, needs less; {last_state(run)}"
        raise RunError("the device has too little memory for this training", hint=hint) from error
