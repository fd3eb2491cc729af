import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import vgg

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.classifier import SHIPPED, ScenesClassifier
from bigr_cli.evaluation.reconstruction import psnr
from bigr_cli.training.tokenizer_loss import (
    StraightThrough,
    VggFeatures,
    certainty_loss,
    edge_loss,
    feature_loss,
    log_squared_error,
    perceptual_network,
    pixel_weights,
    usage_loss,
)
from bigr_cli.zoo.find import packaged_models


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@given(strength=st.floats(0, 50), batch=st.integers(1, 3), side=st.integers(1, 8), seed=st.integers(0, 99))
def test_pixel_weights_keep_the_scale(strength: float, batch: int, side: int, seed: int) -> None:
    foreground = numbers(batch, 1, side, side, seed=seed)
    weights = pixel_weights(foreground, strength)
    assert torch.allclose(weights.mean(dim=(1, 2, 3)), torch.ones(batch), atol=1e-4)
    assert torch.allclose(
        weights * (1 + strength * foreground).mean(dim=(1, 2, 3), keepdim=True), 1 + strength * foreground
    )


def test_the_object_weighs_more() -> None:
    foreground = torch.zeros(1, 1, 2, 2)
    foreground[..., 0, 0] = 1
    weights = pixel_weights(foreground, 3)
    assert float(weights[0, 0, 0, 0] / weights[0, 0, 1, 1]) == pytest.approx(4)
    assert torch.equal(pixel_weights(foreground, 0), torch.ones(1, 1, 2, 2))


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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's, of a VGG16 that never learned anything."""
    torch.manual_seed(0)
    layers = vgg.make_layers(vgg.cfgs["D"])
    state = {f"features.{name}": tensor.half() for name, tensor in layers.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(state | {"classifier.0.bias": torch.zeros(3)}, path)
    return path


def test_missing_weights_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file") as caught:
        perceptual_network(str(tmp_path / "vgg16.safetensors"))
    assert "losses.perceptual_network" in str(caught.value)
    assert "nothing is downloaded" in str(caught.value.hint)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UsageError, match="not VGG16 weights"):
        perceptual_network(str(path))
    path.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not VGG16 weights"):
        perceptual_network(str(path))


def test_vgg_features(weights: Path) -> None:
    network = perceptual_network(str(weights))
    assert isinstance(network, VggFeatures)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    images = torch.rand(2, 3, 32, 32)
    stages = network.features(images)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    assert all(float(stage.min()) >= 0 for stage in stages)  # after the ReLU
    assert float(feature_loss(network, images, images)) < 1e-5


@pytest.mark.skipif(not (packaged_models() / SHIPPED).is_dir(), reason="the classifier is not there")
def test_the_classifier_of_scenes() -> None:
    network = perceptual_network("scenes")
    assert isinstance(network, ScenesClassifier)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    made = torch.rand(1, 3, 32, 32, requires_grad=True)
    feature_loss(network, made, torch.rand(1, 3, 32, 32)).backward()
    assert made.grad is not None and bool(made.grad.any())
