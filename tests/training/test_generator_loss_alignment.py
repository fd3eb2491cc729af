"""Self-alignment: what it teaches, and that it comes and goes with the run's state but not with the model."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.data.loading import all_batches
from bigr_cli.data.sources import ScenesSource
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.training.config import GeneratorTraining
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.generator_loss import Projector, alignment_loss, late_states, less_masked
from bigr_cli.training.launch import launch
from bigr_cli.training.loss_config import AlignmentConfig
from bigr_cli.training.objective import WeightAverage
from bigr_cli.training.sizes import GeneratorShape
from bigr_cli.zoo.folder import check_model, load_tokenizer

CPU = torch.device("cpu")
HELD_OUT = ScenesSource(16, start=100, count=12)
Run = Callable[..., object]
Teacher = Literal["average", "self"]


def aligned(training: GeneratorTraining, teacher: Teacher = "average") -> GeneratorTraining:
    shape = replace(training.generator, layers=3, dropout=0.1)
    return replace(training, generator=shape, alignment=AlignmentConfig(0.5, 0, 2, teacher=teacher))


def objective(training: GeneratorTraining) -> GeneratorObjective:
    return GeneratorObjective(training, *load_tokenizer(Path(training.tokenizer)), HELD_OUT)


def train(training: GeneratorTraining, folder: Path, *, steps: int, resume: bool = False) -> None:
    training = replace(training, run=replace(training.run, steps=steps, validate_every=2))
    parts = load_tokenizer(Path(training.tokenizer))
    build = partial(GeneratorObjective, training, *parts)
    where = {"output": None, "resume": folder} if resume else {"output": folder, "resume": None}
    launch(training, build, size=16, device=CPU, **where)


def test_the_blocks_follow_from_their_number() -> None:
    assert AlignmentConfig().blocks(8) == (2, 5)
    assert AlignmentConfig().blocks(24) == (8, 16)
    assert AlignmentConfig().blocks(2) == (0, 1)
    assert AlignmentConfig(early=0, late=3).blocks(4) == (0, 3)
    for wrong in (AlignmentConfig(early=3, late=3), AlignmentConfig(late=4), AlignmentConfig(early=-1)):
        with pytest.raises(ConfigError, match="0 <= early < late < 4 blocks"):
            wrong.blocks(4)


def test_the_teacher_sees_more_and_never_less() -> None:
    masked = torch.rand(2000, 9) < 0.6
    shown = less_masked(masked, 0.25)
    assert not (shown & ~masked).any()
    assert float(shown.sum() / masked.sum()) == pytest.approx(0.75, abs=0.02)
    assert not less_masked(masked, 1.0).any()


def test_the_loss_is_of_directions_and_teaches_no_late_block() -> None:
    states = torch.randn(2, 9, 16)
    assert float(alignment_loss(3 * states, states)) == pytest.approx(0, abs=1e-6)
    assert float(alignment_loss(-states, states)) == pytest.approx(2)
    torch.manual_seed(0)
    sizes = {"ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16, "diffusion_timesteps": 8}
    model, projector = Generator(GeneratorConfig(3, 5, 4, 3, 2, 16, **sizes)), Projector(16)
    codes, labels, masked = torch.rand(2, 9, 5) < 0.5, torch.tensor([0, 1]), torch.rand(2, 9) < 0.5
    early = model.hidden(codes, labels, 0, mask=masked)
    loss = alignment_loss(projector(early), late_states(model, codes, labels, less_masked(masked, 0.5), 2))
    loss.backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert any(name.startswith("blocks.0.") for name in reached)
    assert not any(name.startswith(("blocks.1.", "blocks.2.", "transcoder.")) for name in reached)
    assert all(weight.grad is not None for weight in projector.parameters())


def test_states_of_masked_codes_do_not_tell_what_is_masked() -> None:
    torch.manual_seed(0)
    sizes = {"ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16}
    model = Generator(GeneratorConfig(3, 5, 4, 2, 2, 16, dropout=0.0, **sizes))
    codes, labels, masked = torch.rand(2, 9, 5) < 0.5, torch.tensor([0, 1]), torch.rand(2, 9) < 0.5
    other = torch.where(masked[..., None], ~codes, codes)
    seen: dict[int, torch.Tensor] = {}
    model.condition(codes, labels, masked, observe=seen.__setitem__)
    assert torch.equal(model.hidden(codes, labels, 1, mask=masked), seen[1])
    assert torch.equal(model.hidden(other, labels, 1, mask=masked), seen[1])
    assert not torch.equal(model.hidden(other, labels, 1), model.hidden(codes, labels, 1))


def test_off_leaves_no_trace(generator_training: GeneratorTraining) -> None:
    made = objective(generator_training)
    assert made.projector is None and list(made.optimizers()) == made.optimized("model") == ["model"]
    assert all(name.startswith("model.") for name in made.state_dict())
    batch = next(all_batches(ScenesSource(16), 8))
    torch.manual_seed(1)
    _, values = made(batch, "model", 0)
    assert set(values) == {"loss"}
    with_it = objective(replace(generator_training, alignment=AlignmentConfig(0.5)))
    with_it.follow(WeightAverage(with_it.model, 0.9))
    torch.manual_seed(1)
    total, values = with_it(batch, "model", 0)
    torch.manual_seed(1)
    again, _ = made(batch, "model", 0)
    assert torch.equal(values["loss"], again)  # it comes on top, and changes nothing of the rest
    assert torch.equal(total, values["loss"] + 0.5 * values["alignment"])


@pytest.mark.parametrize("teacher", ["average", "self"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    generator_training: GeneratorTraining, tmp_path: Path, teacher: Teacher
) -> None:
    training = aligned(generator_training, teacher)
    train(training, tmp_path / "whole", steps=4)
    train(training, tmp_path / "stopped", steps=2)
    train(training, tmp_path / "stopped", steps=4, resume=True)
    last = Path("checkpoints/step-00000004.safetensors")
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "stopped" / last).read_bytes()
    for name in ("generator.safetensors", "config.yaml"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    saved, first = (load_file(tmp_path / "whole" / "checkpoints" / f"step-0000000{n}.safetensors") for n in (4, 2))
    name = "/objective/projector.0.weight"
    assert not torch.equal(saved[name], first[name])
    assert not any("projector" in key for key in load_file(tmp_path / "whole" / "generator.safetensors"))
    assert check_model(tmp_path / "whole") == []
    row = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[0]
    assert '"alignment"' in row and '"projector_gradient"' in row


def test_a_run_begun_without_does_not_go_on_with_it(generator_training: GeneratorTraining, tmp_path: Path) -> None:
    training = aligned(generator_training)
    train(replace(training, alignment=AlignmentConfig()), tmp_path / "run", steps=2)
    with pytest.raises(ConfigError, match="projector"):
        train(training, tmp_path / "run", steps=4, resume=True)


def test_what_cannot_be_aligned(generator_training: GeneratorTraining) -> None:
    causal = replace(generator_training.generator, attention="causal")
    for changes, message in (
        ({"generator": causal}, "causal"),
        ({"generator": GeneratorShape(layers=1)}, "0 <= early < late < 1"),
        ({"run": replace(generator_training.run, shard=True)}, "expected self"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(generator_training, alignment=AlignmentConfig(0.5), **changes)
    made = objective(aligned(generator_training))
    with pytest.raises(UsageError, match="expected self"):
        made.follow(object())  # type: ignore[arg-type]
