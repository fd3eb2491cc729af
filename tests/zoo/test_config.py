"""`config.yaml`: what it may hold and what it says about what it may not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bigr_cli import load
from bigr_cli.core.architectures import CompactConfig, GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import ConfigError, ModelFormatError, RunError, UnknownNameError
from bigr_cli.prompts import label_index, name_of
from bigr_cli.representation.features import wanted_features
from bigr_cli.schema import dump_yaml
from bigr_cli.zoo import config
from bigr_cli.zoo.config import (
    IMAGENET,
    ModelConfig,
    RepresentationConfig,
    check_name,
    dump_config,
    read_config,
    read_labels,
    safe_name,
    set_default_layer,
)
from bigr_cli.zoo.folder import check_model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format: expected 1, got 2"),
        ({"name": "../x"}, "name: expected letters"),
        ({"image_size": 32}, "image_size: the tokenizer's is 16, got 32"),
        ({"labels": ("a", "b")}, "labels: expected 3, one for each class, got 2"),
        ({"labels": ("a", "b", "a")}, "labels: 'a' is there twice"),
        ({"labels": ("a", "b", " ")}, "labels: one of them is empty"),
        ({"sampling": SamplingConfig(timesteps=257)}, "sampling.timesteps: the generator has 256, got 257"),
        ({"sampling": SamplingConfig(last_timesteps=300)}, "sampling.last_timesteps: the generator has 256, got 300"),
        ({"refine": -1}, "refine: expected at least 0, got -1"),
        ({"presets": {"best": {"steps": 2}}}, "presets.best: expected one of quality, balanced, fast, draft"),
        ({"presets": {"fast": {"step": 2}}}, "presets.fast: unknown key 'step'; did you mean steps"),
        ({"presets": {"fast": {"steps": 0}}}, "presets.fast: steps: expected at least 1, got 0"),
        ({"presets": {"fast": {"timesteps": 257}}}, "presets.fast.timesteps: the generator has 256, got 257"),
        ({"sha256": {"x": "0" * 64}}, "sha256: 'x' is no weights file"),
        ({"sha256": {"tokenizer.safetensors": "0"}}, "sha256.tokenizer.safetensors: expected 64 hexadecimal digits"),
        ({"tokenizer": CompactConfig(16, 6, (8,), (1,), (1,), 1)}, "generator.grid: the tokenizer has 8, got 4"),
        ({"tokenizer": CompactConfig(16, 5, (8, 8), (1, 1), (1, 1), 1)}, "generator.bits: the tokenizer has 5, got 6"),
    ],
)
def test_values_that_do_not_agree(config: ModelConfig, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(config, **changes)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_tokenizer_alone_is_a_model(config: ModelConfig) -> None:
    alone = replace(config, generator=None, labels=())
    assert alone.weight_files == ("tokenizer.safetensors",)
    assert config.weight_files == ("tokenizer.safetensors", "generator.safetensors")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "/a", "-x", ".hidden", "a b", "a.", "x" * 97, "é", "a\n"]
)
def test_names_that_are_not_safe(name: str) -> None:
    with pytest.raises(ConfigError):
        check_name(name)


@pytest.mark.parametrize("text", ["", "..", "my run!", "Ünïcode", "-a-", "x" * 200, "a/b.", "scenes-64"])
def test_a_safe_name_can_be_made_of_anything(text: str) -> None:
    assert check_name(safe_name(text))
    assert safe_name("scenes-64") == "scenes-64"


def test_read(tmp_path: Path, config: ModelConfig) -> None:
    (tmp_path / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
    assert read_config(tmp_path) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("format: 1", "format: 2"), "config.yaml: format: expected 1, got 2 (made by a newer version of bigr?)"),
        (("format: 1", "format: true"), "config.yaml: format: expected 1, got True"),
        (("format: 1\n", ""), "config.yaml: format: expected 1, got None"),
        (("bits: 6", "bit: 6"), "config.yaml: unknown key 'tokenizer.bit'; did you mean bits?"),
        (("name: small", "name: [small]"), "config.yaml: name: expected text, got ['small']"),
        (("name: small\n", ""), "config.yaml: missing key 'name', expected text"),
        (("image_size: 16\ntok", "image_size: 32\ntok"), "config.yaml: image_size: the tokenizer's is 16, got 32"),
        (("heads: 2\n", "heads: 3\n"), "config.yaml: generator.dim: expected a multiple of 4·heads"),
        (("format", "["), "config.yaml: is not valid YAML"),
    ],
)
def test_read_names_file_and_key(tmp_path: Path, config: ModelConfig, change: tuple[str, str], message: str) -> None:
    (tmp_path / "config.yaml").write_text(dump_yaml(config).replace(*change, 1), encoding="utf-8")
    if change[0] == "heads: 2\n":  # the tokenizer's attention_heads come first
        (tmp_path / "config.yaml").write_text(dump_yaml(config).replace("\n  heads: 2\n", "\n  heads: 3\n"))
    with pytest.raises(ModelFormatError) as caught:
        read_config(tmp_path)
    assert message in str(caught.value)


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"is not a model folder: it has no config\.yaml"):
        read_config(tmp_path)


def test_what_is_as_published_goes_without_saying(config: ModelConfig, tmp_path: Path) -> None:
    """Files of models with the default head and attention are those of versions that knew no others."""
    assert config.generator
    text = dump_config(config)
    assert "head:" not in text and "attention:" not in text and "refine:" not in text
    other = replace(config, refine=3, generator=replace(config.generator, head="direct", attention="causal"))
    for written in (config, other):
        (tmp_path / "config.yaml").write_text(dump_config(written))
        assert read_config(tmp_path) == written
    (tmp_path / "config.yaml").write_text(text.replace("generator:", "generator:\n  head: directt", 1))
    with pytest.raises(ModelFormatError, match=r"generator\.head: expected .*did you mean direct"):
        read_config(tmp_path)


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

    monkeypatch.setattr(config, "dump_config", full)
    with pytest.raises(RunError, match="No space left"):
        set_default_layer(folder, 1)
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


@pytest.fixture(scope="module")
def imagenet() -> ModelConfig:
    return ModelConfig(
        name="large",
        image_size=16,
        tokenizer=CompactConfig(16, 4, channels=(8,), encoder_blocks=(0,), decoder_blocks=(0,), attention_heads=2),
        generator=GeneratorConfig(grid=8, bits=4, classes=1000, layers=1, heads=2, dim=16, ffn_multiple=8),
        labels=read_labels(IMAGENET),
    )


@pytest.mark.parametrize("name", ["golden retriever", "Golden Retriever", "n02099601", "207"])
def test_a_class_has_many_names(imagenet: ModelConfig, name: str) -> None:
    assert label_index(imagenet, name) == 207


def test_a_synonym_finds_its_class(imagenet: ModelConfig) -> None:
    assert label_index(imagenet, "Tinca tinca") == label_index(imagenet, "tench") == 0


def test_a_name_of_two_classes_is_no_name(imagenet: ModelConfig) -> None:
    with pytest.raises(UnknownNameError, match="n02012849") as raised:
        label_index(imagenet, "crane")
    assert len([name for name in raised.value.suggestions if name.startswith("crane, ")]) == 2


def test_every_class_is_found_by_its_name_and_its_synset(imagenet: ModelConfig) -> None:
    assert len(set(imagenet.labels)) == 1000
    for index, label in enumerate(imagenet.labels):
        assert label_index(imagenet, name_of(imagenet, index)) == index
        assert label_index(imagenet, label.rpartition(", ")[2]) == index


def test_mistyped_names_have_near_ones(imagenet: ModelConfig) -> None:
    with pytest.raises(UnknownNameError, match="did you mean golden retriever"):
        label_index(imagenet, "golden retreiver")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_labels(str(tmp_path / "nowhere.txt"))
    (tmp_path / "one.txt").write_text("\ufeffcat\n\n dog, hound \n")
    assert read_labels(str(tmp_path / "one.txt")) == ("cat", "dog, hound")


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
