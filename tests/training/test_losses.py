import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bigr_cli.evaluation.reconstruction import psnr
from bigr_cli.training.losses import (
    StraightThrough,
    certainty_loss,
    edge_loss,
    feature_loss,
    log_squared_error,
    pixel_weights,
    usage_loss,
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@given(strength=st.floats(0, 50), batch=st.integers(1, 3), side=st.integers(1, 8), seed=st.integers(0, 99))
def test_pixel_weights_keep_the_scale(strength: float, batch: int, side: int, seed: int) -> None:
    focus = numbers(batch, 1, side, side, seed=seed)
    weights = pixel_weights(focus, strength)
    assert torch.allclose(weights.mean(dim=(1, 2, 3)), torch.ones(batch), atol=1e-4)
    assert torch.allclose(weights * (1 + strength * focus).mean(dim=(1, 2, 3), keepdim=True), 1 + strength * focus)


def test_the_object_weighs_more() -> None:
    focus = torch.zeros(1, 1, 2, 2)
    focus[..., 0, 0] = 1
    weights = pixel_weights(focus, 3)
    assert float(weights[0, 0, 0, 0] / weights[0, 0, 1, 1]) == pytest.approx(4)
    assert torch.equal(pixel_weights(focus, 0), torch.ones(1, 1, 2, 2))


def test_the_log_of_the_squared_error_is_psnr() -> None:
    given_ = numbers(3, 3, 8, 8) / 2  # PSNR clamps what is made to [0, 1]
    noise = torch.tensor([0.02, 0.1, 0.3])[:, None, None, None] * numbers(3, 3, 8, 8, seed=1)
    loss = float(log_squared_error(given_ + noise, given_, torch.ones(3, 1, 8, 8)))
    assert -10 / math.log(10) * loss == pytest.approx(float(psnr(given_ + noise, given_).mean()), abs=0.2)
    assert math.isfinite(float(log_squared_error(given_, given_, torch.ones(3, 1, 8, 8))))


def test_edges_do_not_see_brightness() -> None:
    given_ = numbers(2, 3, 6, 6)
    weights = torch.ones(2, 1, 6, 6)
    assert float(edge_loss(given_, given_, weights)) == 0
    assert float(edge_loss(given_ + 0.25, given_, weights)) == pytest.approx(0, abs=1e-6)
    blurred = nn.functional.avg_pool2d(given_, 3, 1, 1)
    assert float(edge_loss(blurred, given_, weights)) > 0.1


def test_one_step_in_brightness_is_one_edge() -> None:
    given_, made = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    made[..., 2:, :] = 1  # one of three differences along the columns, none along the rows
    assert float(edge_loss(made, given_, torch.ones(1, 1, 4, 4))) == pytest.approx(1 / 3)


def test_usage_is_best_for_independent_fair_bits() -> None:
    best = (numbers(64, 64, 8) < 0.5).float()
    assert float(usage_loss(best)) < 0.01
    stuck, twins = best.clone(), best.clone()
    stuck[..., 0] = 1
    twins[..., 1] = twins[..., 0]
    opposites = best.clone()
    opposites[..., 1] = 1 - opposites[..., 0]
    assert float(usage_loss(stuck)) == pytest.approx(1 / 8, abs=0.01)
    for each in (twins, opposites):
        assert float(usage_loss(each)) == pytest.approx(2 / 64, abs=0.01)


@given(batch=st.integers(1, 4), tokens=st.integers(1, 6), bits=st.integers(1, 6), seed=st.integers(0, 99))
def test_usage_is_finite_and_not_negative(batch: int, tokens: int, bits: int, seed: int) -> None:
    for probabilities in (numbers(batch, tokens, bits, seed=seed), torch.zeros(batch, tokens, bits)):
        probabilities.requires_grad_(True)
        loss = usage_loss(probabilities)
        loss.backward()
        assert float(loss.detach()) >= -1e-6
        assert probabilities.grad is not None
        assert probabilities.grad.isfinite().all()


def test_certainty() -> None:
    assert float(certainty_loss(torch.tensor([0.0, 1.0]))) == 0
    assert float(certainty_loss(torch.full((3,), 0.5))) == 1


class Stages(nn.Module):
    """Two feature maps."""

    def features(self, images: Tensor) -> list[Tensor]:
        return [images, 1 - nn.functional.avg_pool2d(images, 2)]


def test_features_are_compared_by_direction() -> None:
    given_ = numbers(2, 3, 4, 4) + 0.1
    assert float(feature_loss(Stages(), given_, given_)) == pytest.approx(0, abs=1e-6)
    made = numbers(2, 3, 4, 4, seed=1).requires_grad_(True)
    loss = feature_loss(Stages(), made, given_)
    loss.backward()
    assert 0 < float(loss.detach()) <= 4
    assert made.grad is not None and bool(made.grad.any())


@given(seed=st.integers(0, 99))
def test_straight_through(seed: int) -> None:
    probabilities = numbers(50, seed=seed).requires_grad_(True)
    drawn = numbers(50, seed=seed + 100)
    bits = StraightThrough.apply(probabilities, drawn)
    assert torch.equal(bits.detach(), (drawn < probabilities.detach()).float())
    weights = numbers(50, seed=seed + 200)
    (bits * weights).sum().backward()
    assert torch.equal(probabilities.grad, weights)
