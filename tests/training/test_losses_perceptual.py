from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.classifier import SHIPPED, ScenesClassifier
from bigr_cli.training.losses import VggFeatures, feature_loss, perceptual_network
from bigr_cli.zoo.find import packaged_models


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
