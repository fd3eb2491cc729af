"""How fast this machine is with a model: seconds of sampling, by part and by batch size, and of training steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.network import Generator
from bigr_cli.editing.generate import Job, plan
from bigr_cli.errors import RunError
from bigr_cli.imaging.files import write_image
from bigr_cli.model import Model
from bigr_cli.prompts import class_count, reads_text
from bigr_cli.runtime.memory import Batches, out_of_memory
from bigr_cli.runtime.meter import TRANSCODER, TRANSFORMER, Meter, PeakMemory, operations, wait
from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.generator_loss import masked_loss
from bigr_cli.training.loss_config import MaskingConfig
from bigr_cli.training.objective import WeightAverage
from bigr_cli.training.optim import Optimizers

_ENOUGH = 1.0  # seconds after which a measurement is not repeated
_MOST = 5  # repetitions


@dataclass(frozen=True)
class SamplingSpeed:
    """What `batch` images at once took.

    `iteration` is seconds by part of one of the sampler's iterations, all images together: the transformer, the
    transcoder, and the rest, which is random numbers and choosing tokens. `decode` and `write` are seconds an image.
    `operations` are those of the networks while sampling, and `memory` bytes at the peak.
    """

    batch: int
    iterations: int
    iteration: Mapping[str, float]
    decode: float
    write: float
    operations: int
    memory: int

    @property
    def sampling(self) -> float:
        """Seconds that the sampler took."""
        return self.iterations * sum(self.iteration.values())

    @property
    def seconds(self) -> float:
        """All that a batch takes, from the labels to the files."""
        return self.sampling + self.batch * (self.decode + self.write)

    @property
    def gflops(self) -> float:
        """10⁹ operations a second, in the sampler."""
        return self.operations / self.sampling / 1e9


def sampling_speeds(
    model: Model, settings: SamplingConfig, sizes: Sequence[int] | None, budget: float
) -> Iterator[SamplingSpeed]:
    """One for each of the batch sizes; without any, for 1, 4, 16, … up to the model's own size for as long as `budget`
    seconds are likely to suffice.

    Batches that do not fit into memory are halved, with a warning, and those after them are left out.
    """
    began = time.perf_counter()
    wanted = sizes or _growing(model.batch_size())
    _sample(model, _jobs(model, 1), settings, None)  # the first time, libraries set themselves up
    for place, size in enumerate(wanted):
        batches = Batches(size)
        _, measured = next(batches.run(_jobs(model, size), lambda jobs: _measured(model, jobs, settings)))
        yield measured
        if batches.size < size:
            return
        spent = time.perf_counter() - began
        ahead = wanted[place + 1] / size * measured.seconds if place + 1 < len(wanted) else 0
        if sizes is None and spent + ahead > budget:
            return


def _growing(most: int) -> list[int]:
    sizes = [1]
    while sizes[-1] * 4 <= most:
        sizes.append(sizes[-1] * 4)
    return sizes if sizes[-1] == most else [*sizes, most]


def _jobs(model: Model, count: int) -> list[Job]:
    """As many images of the model's labels in turn, or of a text."""
    config = model.config
    if reads_text(config):
        return plan(config, ["a red house on grass at night"] * count, seed=0)
    return plan(config, [index % class_count(config) for index in range(count)], seed=0)


def _measured(model: Model, jobs: Sequence[Job], settings: SamplingConfig) -> SamplingSpeed:
    """The fastest of a few runs, as many as a second has room for."""
    found: list[SamplingSpeed] = []
    began = time.perf_counter()
    while not found or (len(found) < _MOST and time.perf_counter() - began + found[-1].seconds < _ENOUGH):
        found.append(_once(model, jobs, settings))
    return min(found, key=lambda speed: speed.seconds)


def _once(model: Model, jobs: Sequence[Job], settings: SamplingConfig) -> SamplingSpeed:
    meter, count = Meter(model.device), len(jobs)
    with TemporaryDirectory(prefix="bigr-bench-") as folder, PeakMemory(model.device) as peak:
        start = time.perf_counter()
        codes = _sample(model, jobs, settings, meter)
        sampled = time.perf_counter() - start
        start = time.perf_counter()
        images = model.decode(codes)
        decoded = time.perf_counter() - start
        start = time.perf_counter()
        for job, image in zip(jobs, images, strict=True):
            recipe = model.recipe(settings, task="bench", labels=[job.label], seed=job.seed)
            write_image(Path(folder) / f"{job.index}.png", image, recipe=recipe)
        written = time.perf_counter() - start
    sample, token = operations(model.generator.config, meter.prefix)
    rest = max(0.0, sampled - sum(meter.seconds.values()))
    parts = {**meter.seconds, "rest": rest}
    return SamplingSpeed(
        batch=count,
        iterations=settings.iterations,
        iteration={name: seconds / settings.iterations for name, seconds in parts.items()},
        decode=decoded / count,
        write=written / count,
        operations=sample * meter.rows[TRANSFORMER] + token * meter.rows[TRANSCODER],
        memory=peak.bytes,
    )


def _sample(model: Model, jobs: Sequence[Job], settings: SamplingConfig, meter: Meter | None) -> torch.Tensor:
    if meter is not None:
        with meter.attached(model.generator):
            return _sample(model, jobs, settings, None)
    codes = model.sample_codes(
        model.network.conditions([job.prompt for job in jobs]), [job.seed for job in jobs], settings=settings
    )
    wait(model.device)
    return codes


@dataclass(frozen=True)
class Training:
    """Steps of the generator's trainer: `batch` images, `seconds` and `operations` of a step, bytes at the peak."""

    batch: int
    steps: int
    seconds: float
    operations: int
    memory: int

    @property
    def gflops(self) -> float:
        """10⁹ operations a second."""
        return self.operations / self.seconds / 1e9


def trained(model: Model, *, batch: int, steps: int) -> Training:
    """Train a fresh generator of a model's sizes for a few steps, after one that is not timed.

    Its weights are in float32; where the model is in a shorter format, layers compute in that. The codes are
    random: loading and encoding images, which other processes do in a training, is left out.

    Raises:
        RunError: there is too little memory.
    """
    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(0)
            return _trained(model, batch, steps)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise RunError(f"there is too little memory to train with {batch} images a step") from error


def _trained(model: Model, batch: int, steps: int) -> Training:
    config, device = model.generator.config, model.device
    generator = Generator(config).to(device).train()
    codes = torch.rand(batch, config.tokens, config.bits, device=device) < 0.5
    text = "a red house on grass at night"
    labels = model.network.conditions([text if config.text else index % config.classes for index in range(batch)])
    optimizers, average = Optimizers(generator, OptimizerConfig()), WeightAverage(generator, 0.999)
    meter, masking, seconds = Meter(device), MaskingConfig("image"), list[float]()
    with PeakMemory(device) as peak:
        for number in range(steps + 1):
            start = time.perf_counter()
            with meter.attached(generator), _precision(model):
                loss = masked_loss(generator, codes, labels, masking)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
            optimizers.step()
            optimizers.zero_grad()
            average.update(generator, number + 1)
            wait(device)
            seconds.append(time.perf_counter() - start)
    image, token = operations(config, meter.prefix, training=True)
    done = image * meter.rows[TRANSFORMER] + token * meter.rows[TRANSCODER]
    return Training(batch, steps, statistics.median(seconds[1:]), done // (steps + 1), peak.bytes)


@contextmanager
def _precision(model: Model) -> Iterator[None]:
    if model.dtype == torch.float32:
        yield
        return
    with torch.autocast(model.device.type, model.dtype):
        yield
