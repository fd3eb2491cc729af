"""The network that reads scenes."""

from pathlib import Path

import pytest
import torch

from bigr_cli.data import scenes
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import ScenesSource
from bigr_cli.errors import ModelError, ModelFormatError
from bigr_cli.evaluation.classifier import (
    CONFIG_FILE,
    SHIPPED,
    WEIGHTS_FILE,
    ScenesClassifier,
    load_classifier,
    save_classifier,
)
from bigr_cli.zoo.find import packaged_models

JUDGE = Path(__file__).resolve().parents[2] / "benchmarks" / "judge"
HEADS = {"object": ("cat", "cup", "car"), "time": ("day", "night")}


@pytest.fixture
def small() -> ScenesClassifier:
    torch.manual_seed(0)
    return ScenesClassifier((4, 6, 8, 10), HEADS).eval()


@pytest.fixture
def folder(tmp_path: Path, small: ScenesClassifier) -> Path:
    directory = tmp_path / "small"
    save_classifier(directory, small, name="small", accuracy={"object": 0.5, "time": 1.0}, seed=3, data="none")
    return directory


def test_shapes(small: ScenesClassifier) -> None:
    images = torch.rand(2, 3, 64, 64)
    assert {name: logits.shape for name, logits in small(images).items()} == {"object": (2, 3), "time": (2, 2)}
    assert [tuple(each.shape) for each in small.features(images)] == [(2, 4, 32, 32), (2, 6, 16, 16), (2, 8, 8, 8)]
    assert small.embedding(images).shape == (2, 10)
    assert small.features(torch.rand(1, 3, 96, 128))[2].shape == (1, 8, 12, 16)  # other sizes than it was trained on


def test_heads_read_the_embedding(small: ScenesClassifier) -> None:
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(small(images)["object"], small.heads["object"](small.embedding(images)))


@pytest.mark.parametrize(
    "images",
    [torch.rand(3, 64, 64), torch.rand(1, 1, 64, 64), torch.rand(1, 3, 64, 60), torch.rand(1, 3, 0, 64)],
    ids=["no batch", "grey", "side 60", "empty"],
)
def test_wrong_shapes(small: ScenesClassifier, images: torch.Tensor) -> None:
    for method in (small, small.features, small.embedding):
        with pytest.raises(ValueError, match="multiples of 16"):
            method(images)


def test_wrong_type(small: ScenesClassifier) -> None:
    with pytest.raises(ValueError, match="floats"):
        small(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_save_and_load(folder: Path, small: ScenesClassifier) -> None:
    loaded = load_classifier(folder)
    assert loaded.widths == small.widths and loaded.answers == HEADS
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded(images)["time"], small(images)["time"], atol=2e-3, rtol=0)


def test_gradients_reach_the_image(folder: Path) -> None:
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    sum(each.mean() for each in load_classifier(folder).features(images)).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=CONFIG_FILE):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("format: 1", "format: 2"), ("kind: classifier", "kind: tokenizer"), ("seed: 3", "sed: 3"), ("[4,", "[-4,")],
)
def test_wrong_configuration(folder: Path, old: str, new: str) -> None:
    path = folder / CONFIG_FILE
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=CONFIG_FILE):
        load_classifier(folder)


def test_wrong_weights(folder: Path) -> None:
    weights = folder / WEIGHTS_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ModelFormatError, match="sha256"):
        load_classifier(folder)
    weights.unlink()
    with pytest.raises(ModelError, match=WEIGHTS_FILE):
        load_classifier(folder)


def test_weights_of_another_width(folder: Path) -> None:
    path = folder / CONFIG_FILE
    path.write_text(path.read_text(encoding="utf-8").replace("[4, 6, 8, 10]", "[4, 6, 8, 12]"), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="do not fit"):
        load_classifier(folder)


@pytest.mark.parametrize("directory", [packaged_models() / SHIPPED, JUDGE], ids=["shipped", "judge"])
def test_reads_unseen_scenes(directory: Path) -> None:
    if not (directory / WEIGHTS_FILE).is_file():
        pytest.skip("its weights are not here")
    (batch,) = all_batches(ScenesSource(64, start=10**9 + 50_000), 200, count=200)
    model = load_classifier(directory)
    guesses = model(as_floats(batch.images))["object"].argmax(1)
    assert model.answers["object"] == scenes.LABELS
    assert (guesses == batch.labels).float().mean() >= 0.97
