"""What a training costs here: real steps with loading, a validation and samples, timed before it begins."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bigr_cli.core.architectures import TokenizerConfig
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.loading import Batch, all_batches, as_floats
from bigr_cli.data.sources import Source, WrappedSource
from bigr_cli.errors import RunError
from bigr_cli.runtime.memory import out_of_memory
from bigr_cli.runtime.meter import PeakMemory, wait
from bigr_cli.training.config import DataConfig, RunConfig
from bigr_cli.training.loop import Trainer
from bigr_cli.training.objective import Objective
from bigr_cli.training.stopping import Interrupts

_HELD_OUT = 32


@dataclass(frozen=True)
class Cost:
    """Seconds of a step with its loading, and of a look: validation, `samples`, and the model's files.

    `bytes` is the most memory that the process had meanwhile, on a CPU with all that it had before.
    """

    step: float
    look: float
    bytes: int
    samples: float = 0.0


def measure(
    build: Callable[[Source], Objective],
    training: Source,
    held_out: Source,
    data: DataConfig,
    run: RunConfig,
    *,
    device: torch.device,
    seconds: float,
    batches: Iterator[Batch] | None = None,
) -> Cost:
    """Train for about so many seconds, two steps at least, and throw away what was trained.

    `batches` stand for those that the objective makes of the data.

    Raises:
        RunError: there is too little memory for a step.
        What the data raise.
    """
    few = _First(held_out, min(_HELD_OUT, len(held_out)))
    with tempfile.TemporaryDirectory(prefix="bigr-measure-") as folder, torch.random.fork_rng():
        try:
            with PeakMemory(device) as peak:
                trainer = Trainer(build(few), training, data, replace(run, compile=False), Path(folder), device=device)
                step = _steps(trainer, seconds, batches)
                validation, samples = _looks(trainer, Path(folder), len(few))
                trainer.accelerator.end_training()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            hint = "a smaller --size, or a smaller run.batch, needs less"
            raise RunError("there is too little memory for a step of this training", hint=hint) from error
    return Cost(step, validation * len(held_out) + samples, peak.bytes, samples)


def _steps(trainer: Trainer, seconds: float, batches: Iterator[Batch] | None) -> float:
    """Seconds of a step, as the mean without the first one, in which much is set up."""
    never = Interrupts()
    with nullcontext(batches) if batches is not None else closing(trainer.batches()) as batches:
        trainer.one_step(batches, never)
        wait(trainer.device)
        begin = time.perf_counter()
        count = 0
        while count < 1 or time.perf_counter() - begin < seconds:
            trainer.one_step(batches, never)
            wait(trainer.device)
            count += 1
        return (time.perf_counter() - begin) / count


def _looks(trainer: Trainer, folder: Path, images: int) -> tuple[float, float]:
    """Seconds of the validation of an image, and of samples and the model's files."""
    objective, module = trainer.objective, trainer.average.module
    with torch.inference_mode():
        begin = time.perf_counter()
        measures = objective.validate(module)
        middle = time.perf_counter()
        objective.preview(module)
        objective.write(module, folder, 0, measures)
        return (middle - begin) / images, time.perf_counter() - middle


class _First(WrappedSource[Source]):
    """The first images of a source."""

    def __init__(self, source: Source, count: int) -> None:
        super().__init__(source)
        self._count, self.image = count, source.image

    def __len__(self) -> int:
        return self._count


def seconds_of_codes(tokenizer: Tokenizer, source: Source) -> float:
    """Seconds in which an image is read and encoded."""
    count = min(_HELD_OUT, len(source))
    begin = time.perf_counter()
    with torch.inference_mode():
        for batch in all_batches(source, count, count=count):
            images = as_floats(batch.images.to(tokenizer.embed.device))
            tokenizer.sample(images, torch.arange(len(images), device=images.device))
    wait(tokenizer.embed.device)
    return (time.perf_counter() - begin) / count


def random_codes(tokenizer: TokenizerConfig, source: Source, batch: int) -> Iterator[Batch]:
    """Batches as cached codes make them, of random bits."""
    none = torch.empty(0, dtype=torch.uint8)
    codes = torch.rand(batch, tokenizer.grid**2, tokenizer.bits) < 0.5
    rows = [index % len(source) for index in range(batch)]
    labels, captions = torch.tensor([source.label(row) for row in rows]), [source.caption(row) for row in rows]
    while True:
        yield Batch(none, labels, none, captions, codes)
