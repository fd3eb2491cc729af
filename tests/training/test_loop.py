"""The loop, on an objective that fits one number to the brightness of images."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from bigr_cli.data.file_source import Sample
from bigr_cli.data.loading import Batch, as_floats
from bigr_cli.data.sources import ScenesSource
from bigr_cli.errors import ConfigError, DeviceError, RunError
from bigr_cli.progress import ProgressBar
from bigr_cli.training.checkpoint import list_checkpoints, load_checkpoint, step_of
from bigr_cli.training.config import DataConfig, OptimizerConfig, RunConfig
from bigr_cli.training.loop import Trainer, step_seed
from bigr_cli.training.objective import Objective
from bigr_cli.training.stopping import Pace, Stage, Terminated

RUN = RunConfig(steps=6, batch=4, ema=0.9, log_every=2, validate_every=3, checkpoint_every=2)
CPU = torch.device("cpu")
Change = Callable[[Tensor, int], Tensor]
needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals")


class Line(nn.Module):
    """Two weights, one of them a matrix."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(width, 3))
        self.bias = nn.Parameter(torch.zeros(width))


class Brightness(Objective):
    """`change` may do something to the loss of a step."""

    model: Line

    def __init__(self, change: Change = lambda loss, step: loss, *, width: int = 3, noise: float = 0.0) -> None:
        super().__init__()
        self.model = Line(width)
        self.change, self.noise = change, noise
        self.written: list[int] = []

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        return {"model": (self.model, OptimizerConfig(learning_rate=0.01, warmup=2))}

    def forward(self, batch: Batch, phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        colour = as_floats(batch.images).mean(dim=(2, 3))
        colour = colour + self.noise * torch.rand_like(colour)
        loss = (colour @ self.model.matrix.T + self.model.bias - 0.5).square().mean()
        loss = self.change(loss, step)
        return loss, {"loss": loss}

    def validate(self, average: nn.Module) -> dict[str, float]:
        torch.rand(3)  # must not matter
        return {"bias": float(next(iter(average.parameters())).mean())}

    def preview(self, average: nn.Module) -> Image.Image:
        return Image.new("RGB", (4, 4))

    def write(self, average: nn.Module, run: Path, step: int, measures: dict[str, float]) -> None:
        self.written.append(step)


@dataclass
class Made:
    """A trainer and its parts."""

    trainer: Trainer
    objective: Brightness
    folder: Path

    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.objective.parameters()]

    def saved(self) -> list[int]:
        return [step_of(path) for path in list_checkpoints(self.folder)]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """A trainer in `tmp_path / name`, with settings of the run changed."""

    def build(
        objective: Brightness | None = None, *, name: str = "run", source: Any = None, workers: int = 0, **settings: Any
    ) -> Made:
        objective = objective or Brightness()
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        run = replace(RUN, **settings)
        data = DataConfig(workers=workers)
        source = source or ScenesSource(16, count=10)
        return Made(Trainer(objective, source, data, run, folder, device=CPU), objective, folder)

    return build


Make = Callable[..., Made]


@given(st.lists(st.tuples(*(st.integers(0, 10**6) for _ in range(4))), min_size=2, max_size=50, unique=True))
def test_every_part_of_a_step_has_a_seed_of_its_own(keys: list[tuple[int, int, int, int]]) -> None:
    seeds = [step_seed(*key) for key in keys]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)


def test_what_a_run_leaves(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = make()
    before = made.weights()
    made.trainer.train()
    assert made.saved() == [4, 6]
    assert made.objective.written == [3, 6]
    assert sorted(path.name for path in (made.folder / "samples").iterdir()) == [
        "step-00000003.png",
        "step-00000006.png",
    ]
    lines = [json.loads(line) for line in (made.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["kind"]) for line in lines] == [
        (2, "train"),
        (3, "validation"),
        (4, "train"),
        (6, "train"),
        (6, "validation"),
    ]
    assert {"loss", "gradient", "pictures_per_second"} <= set(lines[0])
    assert all(not torch.equal(one, other) for one, other in zip(before, made.weights(), strict=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "step 4/6  loss " in shown.err and " images/s  0m0" in shown.err
    assert "validation after step 3: bias " in shown.err


def test_going_on_ends_with_the_same_bits(make: Make) -> None:
    whole, first, second = (make(Brightness(noise=0.3), name=name) for name in ("whole", "first", "second"))
    whole.trainer.train()
    first.trainer.run = replace(RUN, steps=4)
    first.trainer.train()
    second.trainer.resume(list_checkpoints(first.folder)[-1])
    assert second.trainer.step == 4
    second.trainer.train()
    assert all(torch.equal(one, other) for one, other in zip(whole.weights(), second.weights(), strict=True))
    files = [list_checkpoints(made.folder)[-1].read_bytes() for made in (whole, second)]
    assert files[0] == files[1]


def test_parts_add_up_to_the_batch(make: Make) -> None:
    whole, parts = make(name="whole", accumulate=1), make(name="parts", accumulate=4)
    for made in (whole, parts):
        made.trainer.train()
    for one, other in zip(whole.weights(), parts.weights(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_keeps_the_last_good_state(make: Make, value: float) -> None:
    made = make(Brightness(lambda loss, step: loss * value if step == 5 else loss), keep=1)
    with pytest.raises(RunError, match=rf"the loss \(model\) of step 6 is {value}; training stopped") as caught:
        made.trainer.train()
    assert made.saved() == [4, 5]  # the one before stays, too
    assert str(list_checkpoints(made.folder)[-1]) in str(caught.value.hint)
    state = load_checkpoint(list_checkpoints(made.folder)[-1])
    assert all(tensor.isfinite().all() for tensor in state["objective"].values())
    second = make()
    second.trainer.resume(list_checkpoints(made.folder)[-1])
    second.trainer.train()
    assert second.trainer.step == 6


def test_a_gradient_that_is_not_finite_moves_nothing(make: Make) -> None:
    def break_gradient(loss: Tensor, step: int) -> Tensor:
        return loss + (0 * loss).sqrt() if step == 3 else loss

    made = make(Brightness(break_gradient))
    with pytest.raises(RunError, match=r"the gradient \(model\) of step 4 is nan"):
        made.trainer.train()
    assert made.saved() == [2, 3]
    assert all(weight.isfinite().all() for weight in made.weights())


def interrupting(step: int, times: int = 1) -> Brightness:
    def interrupt(loss: Tensor, now: int) -> Tensor:
        for _ in range(times if now == step else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    return Brightness(interrupt)


@needs_signals
def test_an_interrupt_ends_the_step_and_saves(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(interrupting(2))
    with pytest.raises(KeyboardInterrupt):
        made.trainer.train()
    assert made.saved() == [2, 3]
    assert f"stopped after step 3; go on with --resume {made.folder}" in capsys.readouterr().err


@needs_signals
def test_a_second_interrupt_stops_at_once(make: Make) -> None:
    made = make(interrupting(2, times=2))
    with pytest.raises(KeyboardInterrupt):
        made.trainer.train()
    assert made.saved() == [2]
    assert made.trainer.step == 2


@needs_signals
def test_an_interrupt_in_the_last_step_finishes(make: Make) -> None:
    made = make(interrupting(5))
    made.trainer.train()
    assert made.saved() == [4, 6]


def test_other_models_are_refused(make: Make) -> None:
    made = make()
    made.trainer.train()
    other = make(Brightness(width=4), name="other")
    with pytest.raises(ConfigError, match=r"wrong shapes: .*model\.bias \(expected \[4\], got \[3\]\)"):
        other.trainer.resume(list_checkpoints(made.folder)[-1])
    assert other.trainer.step == 0


def test_other_optimisers_are_refused(make: Make) -> None:
    made = make()
    made.trainer.train()
    other = make(name="other")
    _, optimizers, _ = other.trainer.optimizers["model"]
    optimizers.parts = optimizers.parts * 2
    with pytest.raises(ConfigError, match=r"was saved with other optimisers \(optimizer\.name\)"):
        other.trainer.resume(list_checkpoints(made.folder)[-1])


@pytest.mark.parametrize(
    "where", ["bigr_cli.training.checkpoint.save_file", "bigr_cli.files.flush", "PIL.Image.Image.save"]
)
def test_a_full_disk_stops_with_the_last_good_state(make: Make, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    made = make()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(loss: Tensor, step: int) -> Tensor:
        if step == 2:
            monkeypatch.setattr(where, full)
        return loss

    made.objective.change = fill
    with pytest.raises(RunError, match="the disk is full") as caught:
        made.trainer.train()
    assert made.saved() == [2]
    assert str(list_checkpoints(made.folder)[-1]) in str(caught.value.hint)
    assert not list(made.folder.rglob("*.part"))


class Deadly(ScenesSource):
    """Kills the process that draws image 5, unless it is the one that made the source."""

    home = os.getpid()

    def image(self, index: int, variant: int = 0) -> Sample:
        if index == 5 and os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(index, variant)


@needs_signals
def test_a_worker_that_is_killed(make: Make) -> None:
    made = make(source=Deadly(16, count=2**40), workers=1, steps=500)
    with pytest.raises(RunError, match="a process that prepares images was ended from outside") as caught:
        made.trainer.train()
    assert caught.value.hint


@pytest.mark.parametrize("broken", [ConnectionResetError, BrokenPipeError, EOFError])
def test_a_worker_that_is_killed_while_it_hands_over(
    make: Make, broken: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: object) -> None:
        raise broken

    made = make(workers=1, steps=500)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._next_data", reset)
    with pytest.raises(RunError, match="a process that prepares images was ended from outside") as caught:
        made.trainer.train()
    assert caught.value.hint


def test_too_little_memory(make: Make) -> None:
    def exhaust(loss: Tensor, step: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RunError, match="too little memory") as caught:
        make(Brightness(exhaust)).trainer.train()
    assert "run.batch" in str(caught.value.hint)


def test_half_precision_needs_a_device_for_it(make: Make) -> None:
    with pytest.raises(DeviceError, match=r"run\.precision: a CPU cannot train in float16"):
        make(precision="float16")
    make(precision="bfloat16").trainer.train()
    make().trainer.train()  # an earlier precision is forgotten


def test_a_scaler_changes_little_and_is_saved(make: Make) -> None:
    plain, scaled = make(name="plain"), make(name="scaled")
    scaled.trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for made in (plain, scaled):
        made.trainer.train()
    for one, other in zip(plain.weights(), scaled.weights(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    last = list_checkpoints(scaled.folder)[-1]
    assert load_checkpoint(last)["scaler"]["scale"] == 2.0**10
    resumed = make(name="resumed")
    resumed.trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    resumed.trainer.resume(last)
    assert resumed.trainer.accelerator.scaler.get_scale() == 2.0**10


def test_several_processes_share_their_gradients(make: Make) -> None:
    trainer = make().trainer
    trainer.accelerator = SimpleNamespace(num_processes=2, scaler=None, reduce=lambda joined, reduction: joined / 2)
    line = trainer.objective.model
    for number, parameter in enumerate(line.parameters()):
        parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
    norm = trainer._clip("model")
    assert float(norm) == pytest.approx((9 * 0.05**2 + 3 * 0.1**2) ** 0.5)
    assert [float(p.grad.mean()) for p in line.parameters() if p.grad is not None] == pytest.approx([0.05, 0.1])


def test_a_live_panel_on_a_terminal(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known: list[dict[str, str]] = []

    class Bar(ProgressBar):
        visible = True
        done = 0.0

        def advance(self, amount: float = 1) -> None:
            Bar.done += amount

        def facts(self, facts: Mapping[str, str]) -> None:
            known.append(dict(facts))

    totals = []

    @contextmanager
    def progress(total: float | None, description: str, *, done: int = 0) -> Iterator[ProgressBar]:
        totals.append(total)
        yield Bar() if total is not None else ProgressBar()

    for module in ("loop", "reports"):
        monkeypatch.setattr(f"bigr_cli.training.{module}.progress_bar", progress)
    made = make()
    made.trainer.train()
    assert Bar.done == 6 and totals[0] == 6
    losses = [facts for facts in known if "loss" in facts]
    assert len(losses) == 3
    assert all("images/s, 0m0" in facts["speed"] and facts["speed"].endswith(" left") for facts in losses)
    assert [facts["validation"][-8:] for facts in known if "validation" in facts] == ["(step 3)", "(step 6)"]
    assert known[-1]["samples"] == str(made.folder / "samples" / "step-00000006.png")
    assert "step 2/6" not in capsys.readouterr().err


def test_samples_and_a_model_come_at_steps_that_double(make: Make) -> None:
    made = make(steps=50, validate_every=45, log_every=50, checkpoint_every=50)
    made.trainer.train()
    assert made.objective.written == [10, 20, 40, 45, 50]
    names = [int(path.stem.removeprefix("step-")) for path in sorted((made.folder / "samples").iterdir())]
    assert names == [10, 20, 40, 45, 50]


class Rated(Brightness):
    """Validations are as good as these numbers say, one after the other."""

    def __init__(self, *goodness: float) -> None:
        super().__init__()
        self.rest = list(goodness)

    def goodness(self, measures: dict[str, float]) -> float:
        return self.rest.pop(0)


@pytest.mark.parametrize(("best", "written"), [(True, [1, 3]), (False, [1, 2, 3, 4])])
def test_the_best_validation_is_the_model(make: Make, best: bool, written: list[int]) -> None:
    made = make(Rated(1.0, 1.0, 2.0, 1.5), steps=4, validate_every=1, best=best)
    made.trainer.train()
    assert made.objective.written == written


def test_the_best_validation_is_known_after_a_break(make: Make) -> None:
    made = make(Rated(1.0, 3.123456789), steps=2, validate_every=1, checkpoint_every=2, best=True)
    made.trainer.train()
    later = make(Rated(2.0, 3.2), steps=4, validate_every=1, best=True)
    later.trainer.resume(list_checkpoints(made.folder)[-1])
    later.trainer.train()
    assert later.objective.written == [4]


@needs_signals
@pytest.mark.parametrize("moment", ["forward", "backward"])
def test_a_long_step_is_broken_off(make: Make, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr("bigr_cli.training.loop._LONG_STEP", 0.0)

    def change(loss: Tensor, step: int) -> Tensor:
        if step != 2:
            return loss
        if moment == "forward":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            loss.register_hook(lambda gradient: os.kill(os.getpid(), signal.SIGTERM))
        return loss

    whole, made = make(name="whole"), make(Brightness(change))
    whole.trainer.train()
    with pytest.raises(Terminated) as ended:
        made.trainer.train()
    assert ended.value.code == 143
    assert made.saved() == [2]
    assert made.objective.written == [2]  # a model, too
    second = make()
    second.trainer.resume(list_checkpoints(made.folder)[-1])
    second.trainer.train()
    assert all(torch.equal(one, other) for one, other in zip(whole.weights(), second.weights(), strict=True))


def test_the_number_of_steps_follows_the_pace(make: Make) -> None:
    settled = []
    now = iter(range(0, 10_000, 100))
    pace = Pace(600.0, checkpointed=lambda spent, steps: settled.append((spent, steps)), clock=lambda: float(next(now)))
    made = make(steps=100, checkpoint_every=2, validate_every=100, log_every=100)
    made.trainer.stage = Stage("training", made.folder, pace)
    made.trainer.train()
    assert settled[0] == (100.0, None)
    assert settled[1][1] is not None and 6 < settled[1][1] < 20  # 100 s for 2 steps, 400 s left
    assert made.trainer.step == made.trainer.run.steps < 20


@pytest.mark.slow
def test_compiled_blocks_train_the_same_model(make: Make) -> None:
    from bigr_cli.core.architectures import CompactConfig
    from bigr_cli.core.tokenizer import Tokenizer
    from bigr_cli.training.sharding import compile_blocks

    torch.manual_seed(0)
    sizes = CompactConfig(16, 6, channels=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(1, 1), attention_heads=2)
    model = Tokenizer(sizes)
    names, images = list(model.state_dict()), torch.rand(2, 3, 16, 16)
    expected = model.bit_logits(images)
    compile_blocks(model)
    assert torch.allclose(model.bit_logits(images), expected, atol=1e-4)
    assert list(model.state_dict()) == names
