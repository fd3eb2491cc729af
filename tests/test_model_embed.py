"""Features from Python."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bigr_cli.errors import ImageError, UsageError
from bigr_cli.model import Model
from bigr_cli.representation.features import wanted_features
from bigr_cli.runtime.device import select_device
from bigr_cli.zoo.folder import load_model


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return Model(*load_model(tiny_model, device=select_device("cpu")))


def images(count: int, width: int = 20, height: int = 16) -> list[Image.Image]:
    levels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in levels]


@pytest.mark.parametrize(
    ("options", "shape", "kind"),
    [
        ({}, (16,), "float32"),
        ({"layer": 1}, (16,), "float32"),
        ({"layer": "all"}, (2, 16), "float32"),
        ({"layer": "0", "pool": "tokens"}, (16, 16), "float32"),
        ({"layer": "all", "pool": "tokens", "label": "dog"}, (2, 16, 16), "float32"),
        ({"pool": "codes"}, (12,), "uint8"),
        ({"pool": "grid2"}, (64,), "float32"),
        ({"pool": "grid3", "layer": "all"}, (2, 144), "float32"),
        ({"layer": "0,1"}, (32,), "float32"),
        ({"layer": "1, 0", "pool": "tokens"}, (16, 32), "float32"),
    ],
)
def test_shapes(model: Model, options: dict[str, object], shape: tuple[int, ...], kind: str) -> None:
    features = model.embed(images(3), **options, batch_size=2)
    assert features.shape == (3, *shape)
    assert features.dtype == kind


def test_what_is_computed(model: Model) -> None:
    images = torch.rand(2, 3, 16, 16)
    codes = model.encode(images)
    states = model.generator.hidden(codes, torch.tensor([1, 1]), 1)
    assert np.allclose(model.embed(images, layer=1, label="dog"), states.mean(dim=1).numpy(), atol=1e-5)
    assert np.allclose(model.embed(images, layer=1, pool="tokens", label=1), states.numpy(), atol=1e-5)
    none = model.generator.hidden(codes, torch.tensor([4, 4]), 0).mean(dim=1)
    assert np.allclose(model.embed(images), none.numpy(), atol=1e-6)
    assert np.array_equal(model.embed(images, layer="all")[:, 0], model.embed(images, layer=0))
    bits = np.unpackbits(model.embed(images, pool="codes"), axis=1, count=16 * 6)
    assert np.array_equal(bits, codes.flatten(1).numpy())


def test_the_middle_square_is_seen(model: Model) -> None:
    wide = images(1, 32, 16)[0]
    assert np.array_equal(model.embed(wide), model.embed([wide.crop((8, 0, 24, 16))]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "0 to 1 or all"),
        ({"layer": "x"}, "0 to 1 or all"),
        ({"layer": -1}, "0 to 1 or all"),
        ({"layer": "0,2"}, "0 to 1 or all"),
        ({"layer": "0,"}, "0 to 1 or all"),
        ({"layer": "1,1"}, "a block twice"),
        ({"pool": "attention"}, "grid4, got 'attention'"),
        ({"pool": "max"}, "mean, tokens, codes"),
        ({"pool": "codes", "layer": 0}, "no layer"),
        ({"pool": "codes", "label": "cat"}, "no label"),
        ({"label": "catt"}, "did you mean cat"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_use(model: Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.embed(images(1), **options)


def test_several_layers_and_cells_side_by_side(model: Model) -> None:
    given = images(3)
    each = [model.embed(given, layer=layer, pool="grid2") for layer in (0, 1)]
    assert np.array_equal(model.embed(given, layer="0,1", pool="grid2"), np.concatenate(each, axis=1))
    tokens = model.embed(given, pool="tokens").reshape(3, 2, 2, 2, 2, 16)
    assert np.allclose(each[0], tokens.mean(axis=(2, 4)).reshape(3, 64), atol=1e-5)
    wanted = wanted_features(model.config, layer="0,1", pool="grid2")
    mean = model.embed(given, layer="0,1")
    assert np.allclose(wanted.averaged(model.embed(given, layer="0,1", pool="grid2")), mean, atol=1e-5)


def test_more_cells_than_tokens(model: Model) -> None:
    config = model.config
    small = replace(
        config,
        image_size=8,
        tokenizer=replace(config.tokenizer, image_size=8),
        generator=replace(config.generator, grid=2),
    )
    with pytest.raises(UsageError, match="grid3 needs 3 × 3 tokens, tiny has 2 × 2"):
        wanted_features(small, pool="grid3")


def test_no_images_or_of_another_size(model: Model) -> None:
    with pytest.raises(UsageError, match="at least one"):
        model.embed([])
    with pytest.raises(ImageError, match="16, 16"):
        model.embed(torch.zeros(1, 3, 8, 8))
