"""What the first process of a training says, writes and shows while it goes on; the others take part in means alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.files import whole_file
from bigr_cli.progress import SILENCE, readable_time
from bigr_cli.training.checkpoint import writing
from bigr_cli.training.interrupts import Interrupts, StepAborted
from bigr_cli.training.metrics import MetricsLog, Throughput, best_value, last_validation, shown

if TYPE_CHECKING:
    from bigr_cli.training.loop import Trainer

_FIRST_SAMPLES = 10  # steps; then twice as many, and so on, until validations come


class Reports:
    """Losses at every `log_every` steps, or every half minute; validations; samples at steps that double."""

    def __init__(
        self, trainer: Trainer, log: MetricsLog | None, bar: console.ProgressBar, interrupted: Interrupts
    ) -> None:
        """`log` is None in all processes but the first."""
        self._interrupted = interrupted
        self.trainer, self.log, self.bar = trainer, log, bar
        self.throughput, self.measures, self._said = Throughput(), dict[str, float](), time.monotonic()
        self.best = best_value(trainer.folder) if log is not None else None

    def resumed(self) -> None:
        """Before the first step: the validation that was due when a run was interrupted."""
        trainer = self.trainer
        due = 0 < trainer.step < trainer.run.steps and trainer.step % trainer.run.validate_every == 0
        if due and trainer.accelerator.num_processes == 1 and last_validation(trainer.folder) < trainer.step:
            with suppress(StepAborted):  # the loop sees the signal, too
                self._validate()

    def step(self, values: dict[str, Tensor]) -> None:
        """After each step: what is due of reports, samples and validations."""
        trainer = self.trainer
        run, step = trainer.run, trainer.step
        self.throughput.add(run.batch)
        silent = trainer.accelerator.num_processes == 1 and time.monotonic() - self._said >= SILENCE
        if silent or step % run.log_every == 0 or step == run.steps:
            self._report(values)
        self.bar.advance()
        if step % run.validate_every == 0 or step == run.steps:
            self._validate()
        elif step < run.validate_every and _doubles(step):
            self._first_samples()

    def stopped(self) -> None:
        """A training ends before its last step: leave a model, if no validation has left one."""
        if self.trainer.step > 0 and not (self.trainer.run.best and self.best is not None):
            self._with_average(lambda average: self._write_model(average, self.measures))

    def _report(self, values: dict[str, Tensor]) -> None:
        trainer, rate = self.trainer, self.throughput.read()
        joined = trainer.accelerator.reduce(torch.stack([v.float() for v in values.values()]), reduction="mean")
        if self.log is None:
            return
        numbers, self._said = dict(zip(values, joined.tolist(), strict=True)), time.monotonic()
        with writing(trainer.folder):
            self.log.write(trainer.step, numbers | {"pictures_per_second": rate}, kind="train")
        left = readable_time((trainer.run.steps - trainer.step) * trainer.run.batch / max(rate, 1e-9))
        speed = f"{rate:.1f} pictures/s"
        if self.bar.visible:
            self.bar.facts({"loss": shown(numbers), "speed": f"{speed}, {left} left"})
        else:
            console.say(f"step {trainer.step}/{trainer.run.steps}  {shown(numbers)}  {speed}  {left} left")

    def _validate(self) -> None:
        self._with_average(self._measure)
        self.throughput.read()  # what a validation takes is none of the steps' time

    def _measure(self, average: nn.Module) -> None:
        trainer, log = self.trainer, self.log
        if log is None:
            return
        with console.progress(None, f"validation after step {trainer.step}"), self._aside():
            self.measures = trainer.objective.validate(average)
        console.say(f"validation after step {trainer.step}: {shown(self.measures)}")
        self.bar.facts({"validation": f"{shown(self.measures)} (step {trainer.step})"})
        # As exactly as the log has it: a run that goes on compares with what it reads there.
        good = float(f"{trainer.objective.goodness(self.measures):.6g}")
        with writing(trainer.folder):
            log.write(trainer.step, self.measures | {"goodness": good}, kind="validation")
        self._show_samples(average)
        if trainer.run.best and self.best is not None and good <= self.best:
            console.say(f"the model stays that of the best validation, {abs(self.best):.4g}")
            return
        self.best = good
        self._write_model(average, self.measures)

    def _first_samples(self) -> None:
        def show(average: nn.Module) -> None:
            self._show_samples(average)
            self._write_model(average, {})

        self._with_average(show)

    def _show_samples(self, average: nn.Module) -> None:
        trainer = self.trainer
        if self.log is None:
            return
        with console.progress(None, f"samples after step {trainer.step}"), self._aside():
            image = trainer.objective.preview(average)
        if image is None:
            return
        path = trainer.folder / "samples" / f"step-{trainer.step:08d}.png"
        with writing(trainer.folder):
            path.parent.mkdir(exist_ok=True)
            with whole_file(path) as hidden:
                image.save(hidden, format="PNG")
        self.bar.facts({"samples": str(path)})

    def _write_model(self, average: nn.Module, measures: dict[str, float]) -> None:
        if self.log is None:
            return
        with writing(self.trainer.folder):
            self.trainer.objective.write(average, self.trainer.folder, self.trainer.step, measures)
            self.trainer.stage.written()

    def _with_average(self, use: Callable[[nn.Module], None]) -> None:
        """Call with the averaged weights; where these are spread, all processes must come here."""
        with self.trainer.average.gathered(needed=self.log is not None) as average:
            if self.log is not None:
                use(average)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Without gradients, and without a trace in torch's random numbers. A signal breaks it off."""
        trainer = self.trainer
        devices = [trainer.device] if trainer.device.type == "cuda" else []
        # After the last step there is nothing to go on with: that look is finished.
        abortable = trainer.accelerator.num_processes == 1 and trainer.step < trainer.run.steps
        with self._interrupted.aborting(abortable), torch.random.fork_rng(devices=devices), torch.inference_mode():
            yield


def _doubles(step: int) -> bool:
    """Whether a step is 10, 20, 40 …"""
    tens, rest = divmod(step, _FIRST_SAMPLES)
    return rest == 0 and tens > 0 and tens & (tens - 1) == 0
