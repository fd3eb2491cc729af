"""What a training says about itself: metrics.jsonl, a line on the terminal, TensorBoard, samples."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.errors import UsageError
from bigr_cli.files import atomic_write
from bigr_cli.progress import SILENCE, ProgressBar, progress_bar, readable_time
from bigr_cli.training.checkpoint import writing
from bigr_cli.training.stopping import Interrupts, StepAborted

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.training.loop import Trainer

METRICS = "metrics.jsonl"
_SHEET = 520  # pixels, about, that a sheet of samples is wide at least
_FIRST_SAMPLES = 10  # steps; then twice as many, and so on, until validations come


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`, and to TensorBoard when asked for."""

    def __init__(self, run: Path, *, step: int, tensorboard: bool) -> None:
        """`step` is where training begins or goes on: later lines, of a run that was cut off, are dropped.

        Raises:
            UsageError: TensorBoard is asked for and not installed.
        """
        self._board: Any = _tensorboard(run / "tensorboard", step) if tensorboard else None
        self.path = run / METRICS
        if self.path.exists():
            kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _is_before(line, step)]
            with atomic_write(self.path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, step: int, values: dict[str, float], *, kind: str) -> None:
        """Record values after `step` steps; `kind` is "train" or "validation". What is not finite becomes null."""
        record: dict[str, Any] = {"step": step, "kind": kind, "time": round(time.time(), 1)}
        record |= {key: float(f"{value:.6g}") if math.isfinite(value) else None for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(record) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{key}", value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


class Throughput:
    """Images per second since the last reading."""

    def __init__(self) -> None:
        self._since, self._images = time.perf_counter(), 0

    def add(self, images: int) -> None:
        """So many more are done."""
        self._images += images

    def read(self) -> float:
        """Images per second since the last call."""
        now = time.perf_counter()
        rate = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        return rate


def shown(values: dict[str, float]) -> str:
    """Values by name, for a person to read."""
    return "  ".join(f"{key} {value:.4g}" for key, value in values.items())


def best_value(run: Path) -> float | None:
    """How good the best validation of a run was, of those in its metrics; None without any."""
    found = [record["goodness"] for record in metrics(run) if isinstance(record.get("goodness"), float)]
    return max(found, default=None)


def last_validation(run: Path) -> int:
    """The step of the last validation in a run's metrics; 0 without any."""
    return max((int(record["step"]) for record in metrics(run)), default=0)


def metrics(run: Path, kind: str = "validation") -> list[dict[str, Any]]:
    """The records of a kind in a run's metrics."""
    path = run / METRICS
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):  # a line that was cut off
            record = json.loads(line)
            records += [record] if record["kind"] == kind and isinstance(record["step"], int) else []
    return records


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        hint = "pip install 'bigr-cli[tensorboard]', or set run.tensorboard=false"
        raise UsageError("run.tensorboard: TensorBoard is not installed", hint=hint) from error
    return SummaryWriter(str(folder), purge_step=step)


def _is_before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False  # a line that was cut off when the run was killed


class Reports:
    """Losses at every `log_every` steps, or every half minute; validations; samples at steps that double."""

    def __init__(self, trainer: Trainer, log: MetricsLog | None, bar: ProgressBar, interrupted: Interrupts) -> None:
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
            self._with_average(self._first_samples)

    def stopped(self) -> None:
        """A training ends before its last step: leave a model, if no validation has left one."""
        if self.trainer.step > 0 and not (self.trainer.run.best and self.best is not None):
            self._with_average(lambda average, log: self._write_model(average, self.measures))

    def _report(self, values: dict[str, Tensor]) -> None:
        trainer, rate = self.trainer, self.throughput.read()
        joined = trainer.accelerator.reduce(torch.stack([v.float() for v in values.values()]), reduction="mean")
        if self.log is None:
            return
        numbers, self._said = dict(zip(values, joined.tolist(), strict=True)), time.monotonic()
        with writing(trainer.folder):
            self.log.write(trainer.step, numbers | {"pictures_per_second": rate}, kind="train")
        left = readable_time((trainer.run.steps - trainer.step) * trainer.run.batch / max(rate, 1e-9))
        speed = f"{rate:.1f} images/s"
        if self.bar.visible:
            self.bar.facts({"loss": shown(numbers), "speed": f"{speed}, {left} left"})
        else:
            console.say(f"step {trainer.step}/{trainer.run.steps}  {shown(numbers)}  {speed}  {left} left")

    def _validate(self) -> None:
        self._with_average(self._measure)
        self.throughput.read()  # what a validation takes is none of the steps' time

    def _measure(self, average: nn.Module, log: MetricsLog) -> None:
        trainer = self.trainer
        with progress_bar(None, f"validation after step {trainer.step}"), self._aside():
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

    def _first_samples(self, average: nn.Module, log: MetricsLog) -> None:
        self._show_samples(average)
        self._write_model(average, {})

    def _show_samples(self, average: nn.Module) -> None:
        trainer = self.trainer
        with progress_bar(None, f"samples after step {trainer.step}"), self._aside():
            image = trainer.objective.preview(average)
        if image is None:
            return
        path = trainer.folder / "samples" / f"step-{trainer.step:08d}.png"
        with writing(trainer.folder):
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path) as temporary:
                _zoomed(image).save(temporary, format="PNG")
        self.bar.facts({"samples": str(path)})

    def _write_model(self, average: nn.Module, measures: dict[str, float]) -> None:
        with writing(self.trainer.folder):
            self.trainer.objective.write(average, self.trainer.folder, self.trainer.step, measures)
            self.trainer.stage.written()

    def _with_average(self, use: Callable[[nn.Module, MetricsLog], None]) -> None:
        """Call with the averaged weights in the first process; where these are sharded, all must come here."""
        with self.trainer.average.gathered(needed=self.log is not None) as average:
            if self.log is not None:
                use(average, self.log)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Without gradients, and without a trace in torch's random numbers. A signal breaks it off."""
        trainer = self.trainer
        devices = [trainer.device] if trainer.device.type == "cuda" else []
        # After the last step there is nothing to go on with: that look is finished.
        abortable = trainer.accelerator.num_processes == 1 and trainer.step < trainer.run.steps
        with self._interrupted.aborting(abortable), torch.random.fork_rng(devices=devices), torch.inference_mode():
            yield


def _zoomed(sheet: Image) -> Image:
    """A sheet of small images in whole multiples of its size, to be seen on a screen."""
    from PIL.Image import Resampling

    factor = max(1, round(_SHEET / sheet.width))
    return sheet.resize((factor * sheet.width, factor * sheet.height), Resampling.NEAREST)


def _doubles(step: int) -> bool:
    """Whether a step is 10, 20, 40 …"""
    tens, rest = divmod(step, _FIRST_SAMPLES)
    return rest == 0 and tens > 0 and tens & (tens - 1) == 0
