"""The one training loop. What is trained, and on which loss, is the objective's affair."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from bigr_cli import console
from bigr_cli.data.loading import Batch, Positions
from bigr_cli.data.sources import Source
from bigr_cli.errors import RunError, UsageError
from bigr_cli.progress import ProgressBar, progress_bar
from bigr_cli.training.checkpoint import resume_command, step_of, writing
from bigr_cli.training.config import DataConfig, RunConfig
from bigr_cli.training.objective import Objective, WeightAverage
from bigr_cli.training.optim import Optimizers, learning_rate_factor
from bigr_cli.training.reports import MetricsLog, Reports
from bigr_cli.training.sharding import (
    Sharding,
    accelerator_for,
    checkpoint_blocks,
    compile_blocks,
    let_signals_in,
    whole_tensor,
)
from bigr_cli.training.state import TrainingState
from bigr_cli.training.stopping import Interrupts, Stage, StepAborted, failures, interrupts

_LONG_STEP = 2.0  # seconds; a step that takes longer is broken off when a signal comes


def step_seed(seed: int, step: int, part: int, rank: int) -> int:
    """The seed of torch's generator for one part of one step: all random numbers in training come from it."""
    words = seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9
    words += part * 0x94D049BB133111EB + rank * 0xD6E8FEB86659FD93
    words ^= words >> 31
    return words & (2**63 - 1)


class Trainer:
    """Runs an objective.

    Its whole state is (step, weights, averages, optimisers): which images a step sees, and its random state, follow
    from the step's number. With several processes (`torchrun --nproc-per-node 4 -m bigr_cli train-…`) each takes its
    share of every batch, and the first one writes.
    """

    def __init__(
        self,
        objective: Objective,
        source: Source,
        data: DataConfig,
        run: RunConfig,
        folder: Path,
        *,
        device: torch.device,
        stage: Stage | None = None,
    ) -> None:
        """`stage` says what the training is a part of; None is of nothing.

        Raises:
            DeviceError: the device cannot train in the run's precision.
        """
        self.accelerator = accelerator_for(device, run.precision)
        self.device: torch.device = self.accelerator.device
        self.is_main: bool = self.accelerator.is_main_process
        self.objective = objective.to(self.device)
        self.source, self.data, self.run, self.folder = source, data, run, folder
        self.average = WeightAverage(objective.model, run.ema)
        sharding = Sharding.wanted(run, self.accelerator.num_processes)
        if run.gradient_checkpointing or (sharding is not None and sharding.checkpointing):
            checkpoint_blocks(objective.model)
        if sharding is not None:
            self.average = sharding.apply(objective, self.average, self.device)
        objective.follow(self.average)
        self.optimizers = {
            name: (module, Optimizers(module, c), c) for name, (module, c) in objective.optimizers().items()
        }
        if run.compile:
            compile_blocks(objective.model)
        optimizers = {name: optimizers for name, (_, optimizers, _) in self.optimizers.items()}
        sharded = sharding is not None
        self.state = TrainingState(objective, self.average, optimizers, self.accelerator, sharded)
        self.step = 0
        self.stage = Stage("training", folder) if stage is None else stage
        self._seconds = math.inf  # what the last step took
        if self.accelerator.num_processes == 1 and self.device.type == "cpu":
            let_signals_in(objective)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint. Raises what `TrainingState.load` raises."""
        self.state.load(checkpoint)
        self.step = step_of(checkpoint)

    def train(self) -> None:
        """Train to the last step.

        Raises:
            RunError: a loss that is not finite, a full disk, a worker process that was killed; the hint names the
                last good state.
            ImageError: an image cannot be read.
            KeyboardInterrupt, SystemExit: interrupted, or ended by SIGTERM; the state is saved, and the model.
        """
        saved = self.step
        with (
            closing(self.batches()) as batches,
            failures(self.folder),
            self._log() as log,
            interrupts() as interrupted,
            progress_bar(self.run.steps, self.stage.name, done=self.step) as bar,
        ):
            reports = Reports(self, log, bar, interrupted)
            reports.resumed()
            while self.step < self.run.steps and not self._agreed(interrupted):
                try:
                    values = self.one_step(batches, interrupted)
                    reports.step(values)
                except StepAborted:
                    break
                if self._due(self.run.checkpoint_every):
                    self._save(keep=self.run.keep)
                    saved = self.step
                    self._keep_pace(bar)
            if self.step < self.run.steps:
                if saved != self.step or self.step == 0:
                    self._save(keep=self.run.keep)
                reports.stopped()
                console.say(f"stopped after step {self.step}; go on with {resume_command(self.folder)}")
                raise interrupted.ending

    def _keep_pace(self, bar: ProgressBar) -> None:
        """After a checkpoint: fewer steps or more, if the time is used up sooner or later than was planned."""
        pace = self.stage.pace
        if pace is None or self.accelerator.num_processes > 1:
            return
        steps = pace.steps(self.step, self.run)
        if steps != self.run.steps:
            self.run = replace(self.run, steps=steps)
            bar.set_total(steps)

    @contextmanager
    def _log(self) -> Iterator[MetricsLog | None]:
        """Where the first process writes its metrics; None in the others."""
        if not self.is_main:
            yield None
            return
        with writing(self.folder):
            log = MetricsLog(self.folder, step=self.step, tensorboard=self.run.tensorboard)
        with closing(log):
            yield log

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.run.steps

    def _agreed(self, interrupted: list[int]) -> bool:
        """Whether any process was told to stop: all have to stop after the same step."""
        if self.accelerator.num_processes == 1:
            return bool(interrupted)
        flag = torch.tensor(len(interrupted), device=self.device)
        return bool(self.accelerator.reduce(flag, reduction="sum") > 0)

    def _save(self, *, keep: int | None) -> Path:
        """Have a checkpoint written, by the first process, or by all where the weights are sharded."""
        if not (self.is_main or self.state.sharded):
            return self.folder
        return self.state.save(self.folder, self.step, keep=keep)

    def _parts(self) -> tuple[int, int]:
        """How many parts of a step this process does one after the other, and how many images each has."""
        run, processes = self.run, self.accelerator.num_processes
        parts, left = divmod(run.batch, (run.micro_batch or 0) * processes) if run.micro_batch else (run.accumulate, 0)
        size, rest = divmod(run.batch, parts * processes) if parts else (0, 1)
        if left or rest:
            units = f"micro_batch {run.micro_batch}" if run.micro_batch else f"{parts} parts"
            raise UsageError(f"run.batch: {run.batch} is not a multiple of {units} × {processes} processes")
        return parts, size

    def batches(self) -> Generator[Batch, None, None]:
        """What the steps from here on see."""
        parts, size = self._parts()
        positions = Positions(
            len(self.source),
            size,
            seed=self.data.seed,
            start=self.step * parts,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
        )
        with self.accelerator.main_process_first():  # it may write a cache, which the others then read
            return self.objective.batches(self.source, positions, workers=self.data.workers)

    def one_step(self, batches: Iterator[Batch], interrupted: Interrupts) -> dict[str, Tensor]:
        """One update in each of the step's phases; returns the values, as means over this process's parts.

        Raises:
            StepAborted: a signal came, and steps take long; no weight has moved.
        """
        begin, phases = time.perf_counter(), self.objective.phases(self.step)
        # Other processes would wait for ever for one that breaks off.
        long = self.accelerator.num_processes == 1 and self._seconds > _LONG_STEP
        try:
            with interrupted.aborting(long):
                values = self._gradients(batches, phases)
        except StepAborted:
            for _, optimizers, _ in self.optimizers.values():
                optimizers.zero_grad()
            raise
        self._update(phases, values)
        self._seconds = time.perf_counter() - begin
        return values

    def _gradients(self, batches: Iterator[Batch], phases: list[str]) -> dict[str, Tensor]:
        run, processes, rank = self.run, self.accelerator.num_processes, self.accelerator.process_index
        values: dict[str, Tensor] = {}
        self.objective.train()
        parts, _ = self._parts()
        for part in range(parts):
            batch = next(batches).to(self.device)
            # By the part's place in the whole batch, so that it does not matter which process has it.
            torch.manual_seed(step_seed(run.seed, self.step, part * processes + rank, 0))
            self._synchronise(part + 1 == parts)
            for phase in phases:
                with self.accelerator.autocast():
                    loss, shown = self.objective(batch, phase, self.step)
                if not math.isfinite(float(loss.detach())) and processes == 1:  # several see it by their gradient
                    self._stop_at(f"the loss ({phase}) of step {self.step + 1} is {float(loss.detach())}")
                self.accelerator.backward(loss / parts)
                for name, value in shown.items():
                    values[name] = values.get(name, 0) + value.detach() / parts
        return values

    def _update(self, phases: list[str], values: dict[str, Tensor]) -> None:
        """Move the weights that the phases optimise, and the average; adds the gradients' norms to `values`."""
        norms = {name: self._clip(name) for phase in phases for name in self.objective.optimized(phase)}
        for name, norm in norms.items():
            values[f"{name}_gradient" if name != "model" else "gradient"] = norm
            _, optimizers, config = self.optimizers[name]
            optimizers.set_learning_rates(learning_rate_factor(config, self.step, self.run.steps))
            optimizers.step(self.accelerator.scaler)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.update()
        for _, optimizers, _ in self.optimizers.values():
            optimizers.zero_grad()
        self.step += 1
        self.average.update(self.objective.model, self.step)

    def _synchronise(self, last: bool) -> None:
        """Sharded weights send their gradients after the last part of a step only."""
        send: Any = getattr(self.objective, "set_requires_gradient_sync", None)
        if send is not None:
            send(last)

    def _clip(self, name: str) -> Tensor:
        """Limit the gradients' norm, over all processes, and return what it was."""
        module, optimizers, config = self.optimizers[name]
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        if self.accelerator.num_processes > 1 and not self.state.sharded:
            joined = self.accelerator.reduce(torch.cat([each.flatten() for each in gradients]), reduction="mean")
            for each, mean in zip(gradients, joined.split([each.numel() for each in gradients]), strict=True):
                each.copy_(mean.view_as(each))
        scaler = self.accelerator.scaler
        optimizers.unscale(scaler)
        norm = whole_tensor(torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip))
        if scaler is None and not math.isfinite(float(norm)):  # a scaler leaves such a step out
            self._stop_at(f"the gradient ({name}) of step {self.step + 1} is {float(norm)}")
        return norm

    def _stop_at(self, what: str) -> NoReturn:
        """The weights are still those before the step: keep them, and every checkpoint from before."""
        saved = self._save(keep=None)
        again = resume_command(self.folder)
        hint = f"the state before it is {saved}; {again} with a lower optimizer.learning_rate may get past it"
        raise RunError(f"{what}; training stopped", hint=hint)
