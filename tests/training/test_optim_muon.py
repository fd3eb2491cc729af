import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, DEFAULT_NS_STEPS, EPS

from bigr_cli.training.optim import Muon, orthogonalised


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
