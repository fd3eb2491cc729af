"""What goes wrong in the middle of a training, with a message and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bigr_cli.errors import ImageError, RunError
from bigr_cli.training.checkpoint import last_state


@contextmanager
def failures(run: Path) -> Iterator[None]:
    """Give what goes wrong in the middle of a training a message, and the way back."""
    try:
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
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = "a process that prepares pictures was ended from outside; is there enough memory?"
        raise RunError(reason, hint=last_state(run)) from error
