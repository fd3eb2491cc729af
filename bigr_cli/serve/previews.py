"""What is being sampled, as it looks after an iteration."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bigr_cli.serve.jobs import Preview

if TYPE_CHECKING:
    from bigr_cli.editing.batched_sampling import Iteration
    from bigr_cli.model import Model


def preview(model: Model, seen: Iteration, row: int) -> Preview:
    """The image of one row of a batch, as a PNG file; bits of masked tokens count as undecided."""
    (image,) = model.decode(seen.codes[row : row + 1], seen.masked[row : row + 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Preview(buffer.getvalue(), seen.requests[row].box)
