"""A model's default layer, in its config."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bigr_cli import load
from bigr_cli.errors import ConfigError, RunError
from bigr_cli.representation.features import wanted_features
from bigr_cli.zoo import default_layer
from bigr_cli.zoo.config import RepresentationConfig, read_config
from bigr_cli.zoo.default_layer import set_default_layer
from bigr_cli.zoo.folder import check_model


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "mine")


def test_features_are_of_the_default_layer(folder: Path) -> None:
    assert wanted_features(read_config(folder)).layers == (0,)
    set_default_layer(folder, 1)
    config = read_config(folder)
    assert config.representation == RepresentationConfig(layer=1)
    assert wanted_features(config).layers == (1,)
    assert wanted_features(config, layer=0).layers == (0,)
    assert wanted_features(config, layer="all").layers == (0, 1)
    assert wanted_features(config, pool="codes").layers == ()
    assert check_model(folder) == []


def test_tokens_are_pooled_as_the_config_says(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    image = Image.new("RGB", (model.config.image_size,) * 2, "red")
    grid = model.embed(image, layer=1, pool="grid2")
    set_default_layer(folder, 1, "grid2")
    changed = load(folder)
    assert (changed.embed(image) == grid).all()
    assert changed.embed(image, pool="mean").shape == model.embed(image).shape
    with pytest.raises(ConfigError, match="expected mean, or grid2"):
        set_default_layer(folder, 1, "tokens")


@pytest.mark.parametrize("layer", [-1, 2])
def test_layers_that_are_not_there(folder: Path, layer: int) -> None:
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match="the generator has 2 blocks"):
        set_default_layer(folder, layer)
    assert (folder / "config.yaml").read_bytes() == before


def test_a_tokenizer_alone_has_no_layers(folder: Path) -> None:
    config = read_config(folder)
    with pytest.raises(ConfigError, match="has 0 blocks"):
        replace(config, generator=None, labels=(), representation=RepresentationConfig(layer=0))


def test_a_full_disk_leaves_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(default_layer, "dump_config", full)
    with pytest.raises(RunError, match="No space left"):
        set_default_layer(folder, 1)
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
