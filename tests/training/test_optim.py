import copy
import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, DEFAULT_NS_STEPS, EPS

from bigr_cli.core.architectures import CompactConfig, GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.training.config import OptimizerConfig
from bigr_cli.training.optim import Muon, Optimizers, learning_rate_factor, orthogonalised

SIZES = GeneratorConfig(4, 6, 3, 2, 2, 32, 8, transcoder_layers=1, transcoder_width=32, diffusion_timesteps=16)
Schedule = Literal["constant", "cosine", "trapezoid"]


@given(
    schedule=st.sampled_from(["constant", "cosine", "trapezoid"]),
    warmup=st.integers(0, 50),
    steps=st.integers(1, 300),
    decay=st.floats(0.01, 1),
    final=st.floats(0, 1),
)
def test_rates_rise_then_fall(schedule: Schedule, warmup: int, steps: int, decay: float, final: float) -> None:
    config = OptimizerConfig(schedule=schedule, warmup=warmup, decay=decay, final=final)
    shares = [learning_rate_factor(config, step, steps) for step in range(steps)]
    assert all(0 < share <= 1 or (share >= 0 and final == 0) for share in shares)
    rising, falling = shares[:warmup], shares[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert all(share >= final - 1e-12 for share in falling)
    if warmup < steps and schedule != "trapezoid":
        assert falling[0] == 1
    if schedule == "constant":
        assert set(falling) <= {1.0}


def test_schedules_end_where_they_should() -> None:
    cosine = OptimizerConfig(schedule="cosine", final=0.1, warmup=10)
    assert learning_rate_factor(cosine, 55, 100) == pytest.approx(0.55)
    assert learning_rate_factor(cosine, 100, 100) == pytest.approx(0.1)
    trapezoid = OptimizerConfig(schedule="trapezoid", decay=0.4, final=0.2)
    assert [learning_rate_factor(trapezoid, step, 100) for step in (59, 80, 100)] == pytest.approx([1, 0.6, 0.2])
    assert [learning_rate_factor(OptimizerConfig(warmup=4), step, 9) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def names(optimizers: Optimizers, module: nn.Module) -> list[list[str]]:
    """The weights of every parameter group, by name."""
    known = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = [group for optimizer, _ in optimizers.parts for group in optimizer.param_groups]
    return [[known[id(parameter)] for parameter in group["params"]] for group in groups]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_weight_is_in_one_group(name: Literal["adamw", "muon"]) -> None:
    sizes = CompactConfig(16, 6, channels=(16, 32), encoder_blocks=(0, 1), decoder_blocks=(1, 1), attention_heads=2)
    for module in (Tokenizer(sizes), Generator(SIZES)):
        optimizers = Optimizers(module, OptimizerConfig(name=name))
        found = [each for group in names(optimizers, module) for each in group]
        assert sorted(found) == sorted(each for each, _ in module.named_parameters())
        assert len(optimizers.parts) == (2 if name == "muon" else 1)


def test_the_published_decay() -> None:
    generator = Generator(SIZES)
    decayed, plain = names(Optimizers(generator, OptimizerConfig()), generator)
    shapes = {name: parameter.ndim for name, parameter in generator.named_parameters()}
    assert all(shapes[name] >= 2 and not name.startswith("transcoder.") for name in decayed)
    assert all(shapes[name] < 2 or name.startswith("transcoder.") for name in plain)


def test_muon_takes_the_matrices_between_hidden_layers() -> None:
    generator = Generator(SIZES)
    *_, matrices = names(Optimizers(generator, OptimizerConfig(name="muon")), generator)
    assert {"blocks.0.attention.wqkv.weight", "blocks.1.ffn.w2.weight", "transcoder.blocks.0.ada.weight"} <= set(
        matrices
    )
    assert not {"token_embedding.weight", "positions", "mask_token", "transcoder.final.weight"} & set(matrices)
    assert not any(name.endswith((".offsets", ".bias")) or "norm" in name for name in matrices)


def stepped(module: nn.Module, optimizers: Optimizers, steps: int, scaler: torch.amp.GradScaler | None = None) -> None:
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        factor = scaler.get_scale() if scaler is not None else 1.0
        for parameter in module.parameters():
            parameter.grad = factor * torch.randn(parameter.shape, generator=generator)
        if scaler is not None:
            scaler.scale(torch.ones(()))  # a scaler is made ready by its first use
        optimizers.unscale(scaler)
        optimizers.set_learning_rates(1 / (1 + step))
        optimizers.step(scaler)
        if scaler is not None:
            scaler.update()
        optimizers.zero_grad()


def module() -> nn.Module:
    torch.manual_seed(0)
    return Generator(SIZES)


def test_a_saved_state_goes_on_with_the_same_bits() -> None:
    first, second = module(), module()
    config = OptimizerConfig(name="muon")
    before = Optimizers(first, config)
    stepped(first, before, 3)
    after = Optimizers(second, config)
    second.load_state_dict(first.state_dict())
    after.load_state_dict(copy.deepcopy(before.state_dict()))  # torch would share the tensors
    for each, optimizers in ((first, before), (second, after)):
        stepped(each, optimizers, 2)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.grad is None


def test_rates_reach_both_optimisers() -> None:
    optimizers = Optimizers(module(), OptimizerConfig(name="muon", learning_rate=0.1, matrix_learning_rate=0.5))
    optimizers.set_learning_rates(0.25)
    rates = [{group["lr"] for group in optimizer.param_groups} for optimizer, _ in optimizers.parts]
    assert rates == [{0.025}, {0.125}]
    assert isinstance(optimizers.parts[1][0], Muon)


def test_a_scaler_divides_and_leaves_infinite_steps_out() -> None:
    plain, scaled = module(), module()
    config = OptimizerConfig(name="muon")
    stepped(plain, Optimizers(plain, config), 2)
    scaler, optimizers = torch.amp.GradScaler("cpu", init_scale=1024.0), Optimizers(scaled, config)
    stepped(scaled, optimizers, 2, scaler)
    for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    before = [parameter.detach().clone() for parameter in scaled.parameters()]
    for parameter in scaled.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    optimizers.unscale(scaler)
    optimizers.step(scaler)
    scaler.update()
    assert all(torch.equal(one, other) for one, other in zip(before, scaled.parameters(), strict=True))
    assert scaler.get_scale() == 512


def reference(matrix: Tensor) -> Tensor:
    """The iteration of torch.optim.Muon, in the matrix's own format instead of bfloat16."""
    x = matrix.T if len(matrix) > len(matrix.T) else matrix
    x = x / x.norm().clamp(min=EPS)
    for _ in range(DEFAULT_NS_STEPS):
        gram = x @ x.T
        x = DEFAULT_A * x + (DEFAULT_B * gram + DEFAULT_C * gram @ gram) @ x
    return x.T if len(matrix) > len(matrix.T) else x


def matrix(rows: int, columns: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(rows=st.integers(1, 24), columns=st.integers(1, 48), seed=st.integers(0, 99))
def test_the_iteration_is_that_of_torch(rows: int, columns: int, seed: int) -> None:
    given_ = matrix(rows, columns, seed)
    assert torch.allclose(orthogonalised(given_), reference(given_), atol=2e-3)
    exact = matrix(rows, columns, seed, torch.float64)
    assert torch.allclose(orthogonalised(exact), reference(exact), atol=1e-9)


@given(rows=st.integers(1, 16), factor=st.integers(2, 6), seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_singular_values_come_near_one(rows: int, factor: int, seed: int, scale: float) -> None:
    values = torch.linalg.svdvals(orthogonalised(scale * matrix(rows, rows * factor, seed)))
    assert 0.5 < float(values.min()) and float(values.max()) < 1.5


@pytest.mark.parametrize("shape", [(64, 64), (64, 200), (200, 64)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-4])
def test_rounding_does_not_grow_in_a_short_format(shape: tuple[int, int], smallest: float) -> None:
    given_ = matrix(*shape, 0) @ torch.diag(torch.logspace(0, math.log10(smallest), shape[1]))
    short = orthogonalised(given_.bfloat16()).float()
    assert float(torch.linalg.svdvals(short).max()) < 1.25
    assert float((short - orthogonalised(given_)).square().mean().sqrt()) < 0.02


def test_singular_vectors_stay() -> None:
    given_ = matrix(6, 20, 0, torch.float64)
    u, _, v = torch.linalg.svd(given_, full_matrices=False)
    inner = u.T @ orthogonalised(given_) @ v.T
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-9)


def test_a_stack_is_worked_on_matrix_by_matrix() -> None:
    stack = torch.stack([matrix(9, 5, seed) for seed in range(3)])
    alone = torch.stack([orthogonalised(each) for each in stack])
    assert torch.allclose(orthogonalised(stack), alone, atol=1e-5)


def test_no_gradient_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(4, 8)).any()


def descend(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


def test_steps_are_those_of_torch_up_to_its_rounding() -> None:
    ours, theirs = ([nn.Parameter(matrix(16, 32, 1)), nn.Parameter(matrix(40, 16, 2))] for _ in range(2))
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    moved = descend(Muon(ours, **settings), ours, 4)
    expected = descend(torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **settings), theirs, 4)
    start = [matrix(16, 32, 1), matrix(40, 16, 2)]
    for mine, other, first in zip(moved, expected, start, strict=True):
        assert float((mine - other).norm() / (other - first).norm()) < 0.03  # bfloat16 has 8 bits


def test_convolutions_are_matrices() -> None:
    kernel = nn.Parameter(matrix(8, 36, 3).view(8, 4, 3, 3))
    flat = nn.Parameter(matrix(8, 36, 3))
    one, other = Muon([kernel], 0.1), Muon([flat], 0.1)
    gradient = matrix(8, 36, 4)
    for _ in range(3):
        kernel.grad, flat.grad = gradient.view(8, 4, 3, 3), gradient
        one.step()
        other.step()
    assert torch.equal(kernel.detach().flatten(1), flat.detach())


def test_the_update_has_the_size_that_adamw_has() -> None:
    weight = nn.Parameter(torch.zeros(32, 128))
    descend(Muon([weight], lr=1.0, momentum=0.0), [weight], 1)
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.2)


def test_weights_without_gradient_stay() -> None:
    moved, still = nn.Parameter(matrix(8, 8, 0)), nn.Parameter(matrix(8, 8, 0))
    optimizer = Muon([moved, still], 0.1, weight_decay=0.5)
    moved.grad = matrix(8, 8, 1)
    optimizer.step()
    assert torch.equal(still.detach(), matrix(8, 8, 0))
    assert not torch.equal(moved.detach(), matrix(8, 8, 0))
    assert list(optimizer.state) == [moved]


def test_a_short_format_is_used_for_the_iteration_alone() -> None:
    weight = nn.Parameter(matrix(16, 16, 0))
    moved = descend(Muon([weight], 0.1, dtype=torch.bfloat16), [weight], 2)
    assert moved[0].dtype == torch.float32
    other = nn.Parameter(matrix(16, 16, 0))
    assert torch.allclose(moved[0], descend(Muon([other], 0.1), [other], 2)[0], atol=0.01)
