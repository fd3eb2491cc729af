"""The one training loop. What is trained, and on which loss, is the objective's affair."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from bigr_cli import console
from bigr_cli.data.loading import Batch, Positions
from bigr_cli.data.sources import Source
from bigr_cli.errors import ConfigError, ImageError, RunError, UsageError
from bigr_cli.files import whole_file
from bigr_cli.training.acceleration import accelerator_for
from bigr_cli.training.checkpoint import last_state, load_checkpoint, save_checkpoint, step_of, writing
from bigr_cli.training.config import DataConfig, RunConfig
from bigr_cli.training.ema import WeightAverage
from bigr_cli.training.interrupts import interrupts
from bigr_cli.training.metrics import MetricsLog, Throughput, duration, shown
from bigr_cli.training.objective import Objective
from bigr_cli.training.optim import Optimizers, rate_share
from bigr_cli.zoo.folder import shape_problems


def step_seed(seed: int, step: int, part: int, rank: int) -> int:
    """The seed of torch's generator for one part of one step: all chance in training comes from it."""
    words = seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9
    words += part * 0x94D049BB133111EB + rank * 0xD6E8FEB86659FD93
    words ^= words >> 31
    return words & (2**63 - 1)


class Trainer:
    """Runs an objective.

    Its whole state is (step, weights, averages, optimisers): which pictures a step sees, and all its chance, follow
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
    ) -> None:
        """Raises DeviceError if the device cannot train in the run's precision."""
        self.accelerator = accelerator_for(device, run.precision)
        self.device: torch.device = self.accelerator.device
        self.is_main: bool = self.accelerator.is_main_process
        self.objective = objective.to(self.device)
        self.source, self.data, self.run, self.folder = source, data, run, folder
        self.players = {name: (module, Optimizers(module, c), c) for name, (module, c) in objective.players().items()}
        self.average = WeightAverage(objective.model, run.ema)
        if run.compile:
            _compile_blocks(objective.model)
        self.step = 0

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: it is not of a training with these settings.
        """
        state = load_checkpoint(checkpoint)
        self._check_fit(checkpoint, state)
        self.step = step_of(checkpoint)
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        for name, (_, optimizers, _) in self.players.items():
            optimizers.load_state_dict(state["optimizers"][name])
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _check_fit(self, checkpoint: Path, state: dict[str, Any]) -> None:
        expected, found = (
            {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            for tensors in (self.objective.state_dict(), state["objective"])
        )
        problems = shape_problems(checkpoint, expected, found)
        kinds = {name: len(optimizers.parts) for name, (_, optimizers, _) in self.players.items()}
        saved = {name: len(parts) for name, parts in state["optimizers"].items()}
        if kinds != saved and not problems:
            problems = [f"{checkpoint}: was saved with other optimisers (optimizer.name)"]
        if problems:
            raise ConfigError(
                "; ".join(problems), hint="a run keeps the model, the classes and the optimiser it began with"
            )

    def save(self, *, keep: int | None) -> Path:
        """Write a checkpoint and keep the newest `keep`. Raises RunError if that fails."""
        state: dict[str, Any] = {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": {name: optimizers.state_dict() for name, (_, optimizers, _) in self.players.items()},
        }
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return save_checkpoint(self.folder, self.step, state, keep=keep)

    def train(self) -> None:
        """Train to the last step.

        Raises:
            RunError: a loss that is not finite, a full disk, a worker process that was killed; the hint names the
                last good state.
            ImageError: a picture cannot be read.
            KeyboardInterrupt: interrupted; the state is saved.
        """
        steps, saved = self.run.steps, self.step
        with (
            closing(self._batches()) as batches,
            _failures(self.folder),
            self._log() as log,
            interrupts() as interrupted,
            console.progress(steps, "training", done=self.step) as bar,
        ):
            throughput = Throughput()
            while self.step < steps and not self._agreed(interrupted):
                values = self._one_step(batches)
                throughput.add(self.run.batch)
                if self._due(self.run.log_every):
                    self._report(log, bar, values, throughput.read())
                bar.advance()
                if self._due(self.run.validate_every):
                    self._validate(log)
                    throughput.read()
                if self._due(self.run.checkpoint_every):
                    saved = self._save()
            if self.step < steps:
                if saved != self.step:
                    self._save()
                console.say(f"stopped after step {self.step}; go on with --resume {self.folder}")
                raise KeyboardInterrupt

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

    def _save(self) -> int:
        if self.is_main:
            self.save(keep=self.run.keep)
        return self.step

    def _batches(self) -> Generator[Batch, None, None]:
        processes, parts = self.accelerator.num_processes, self.run.accumulate
        size, left = divmod(self.run.batch, parts * processes)
        if left:
            raise UsageError(f"run.batch: {self.run.batch} is not a multiple of {parts} parts × {processes} processes")
        positions = Positions(
            len(self.source),
            size,
            seed=self.data.seed,
            start=self.step * parts,
            rank=self.accelerator.process_index,
            processes=processes,
        )
        with self.accelerator.main_process_first():  # it may write a cache, which the others then read
            return self.objective.batches(self.source, positions, workers=self.data.workers)

    def _one_step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """One update of every player whose turn it is; returns the values of the last part."""
        run, values = self.run, dict[str, Tensor]()
        self.objective.train()
        turns = self.objective.turns(self.step)
        for part in range(run.accumulate):
            batch = next(batches).to(self.device)
            torch.manual_seed(step_seed(run.seed, self.step, part, self.accelerator.process_index))
            for turn in turns:
                with self.accelerator.autocast():
                    loss, parts = self.objective(batch, turn, self.step)
                if not math.isfinite(float(loss.detach())):
                    self._stop_at(f"the loss ({turn}) of step {self.step + 1} is {float(loss.detach())}")
                self.accelerator.backward(loss / run.accumulate)
                values.update(parts)
        norms = {turn: self._clip(turn) for turn in turns}
        for turn, norm in norms.items():
            values[f"{turn}_gradient" if turn != "model" else "gradient"] = norm
            _, optimizers, config = self.players[turn]
            optimizers.set_rate(rate_share(config, self.step, run.steps))
            optimizers.step(self.accelerator.scaler)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.update()
        for _, optimizers, _ in self.players.values():
            optimizers.zero_grad()
        self.step += 1
        self.average.update(self.objective.model, self.step)
        return {name: value.detach() for name, value in values.items()}

    def _clip(self, turn: str) -> Tensor:
        """Limit the gradients' norm, over all processes, and return what it was."""
        module, optimizers, config = self.players[turn]
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        if self.accelerator.num_processes > 1:
            joined = self.accelerator.reduce(torch.cat([each.flatten() for each in gradients]), reduction="mean")
            for each, mean in zip(gradients, joined.split([each.numel() for each in gradients]), strict=True):
                each.copy_(mean.view_as(each))
        scaler = self.accelerator.scaler
        optimizers.unscale(scaler)
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
        if scaler is None and not math.isfinite(float(norm)):  # a scaler leaves such a step out
            self._stop_at(f"the gradient ({turn}) of step {self.step + 1} is {float(norm)}")
        return norm

    def _stop_at(self, what: str) -> NoReturn:
        """The weights are still those before the step: keep them, and every checkpoint from before."""
        saved = self.save(keep=None) if self.is_main else self.folder
        hint = f"the state before it is {saved}; --resume {self.folder} with a lower optimizer.rate may get past it"
        raise RunError(f"{what}; training stopped", hint=hint)

    def _report(self, log: MetricsLog | None, bar: console.ProgressBar, values: dict[str, Tensor], rate: float) -> None:
        if log is None:
            return
        numbers = {name: float(value) for name, value in values.items()}
        with writing(self.folder):
            log.write(self.step, numbers | {"pictures_per_second": rate}, kind="train")
        if bar.visible:
            bar.describe(f"loss {numbers['loss']:.4g}  {rate:.1f} pictures/s")
        else:
            left = duration((self.run.steps - self.step) * self.run.batch / max(rate, 1e-9))
            console.say(f"step {self.step}/{self.run.steps}  {shown(numbers)}  {rate:.1f} pictures/s  {left} left")

    def _validate(self, log: MetricsLog | None) -> None:
        if log is None:
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []), torch.inference_mode():
            measures = self.objective.validate(self.average.module)
            image = self.objective.preview(self.average.module)
        console.say(f"validation after step {self.step}: {shown(measures)}")
        with writing(self.folder):
            log.write(self.step, measures, kind="validation")
            if image is not None:
                (self.folder / "samples").mkdir(exist_ok=True)
                with whole_file(self.folder / "samples" / f"step-{self.step:08d}.png") as hidden:
                    image.save(hidden, format="PNG")
            self.objective.write(self.average.module, self.folder, self.step, measures)


def _compile_blocks(model: nn.Module) -> None:
    """Compile every residual block for itself: they share shapes, so little has to be compiled, and no step's number
    or player's turn makes it necessary again.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[0].endswith("blocks") and any(True for _ in module.children()):
            module.compile()


@contextmanager
def _failures(run: Path) -> Iterator[None]:
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
