"""How fast a generator of a model's sizes trains here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bigr_cli.benching.meter import TRANSCODER, TRANSFORMER, Meter, PeakMemory, wait
from bigr_cli.benching.operations import operations
from bigr_cli.core.network import Generator
from bigr_cli.errors import RunError
from bigr_cli.model import Model
from bigr_cli.runtime.batches import out_of_memory
from bigr_cli.training.config import MaskingConfig, OptimizerConfig
from bigr_cli.training.ema import WeightAverage
from bigr_cli.training.generator import masked_loss
from bigr_cli.training.optim import Optimizers


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

    Its weights are in float32; where the model is in a shorter format, layers compute in that. The codes are drawn by
    chance: drawing and encoding images, which other processes do in a training, is left out.

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
    meter, masking, seconds = Meter(device), MaskingConfig("picture"), list[float]()
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
