"""`config.yaml`: what it may hold and what it says about what it may not."""

from dataclasses import replace
from pathlib import Path

import pytest

from bigr_cli.core.config import CompactConfig, SamplingConfig
from bigr_cli.errors import ConfigError, ModelFormatError
from bigr_cli.schema import dump_yaml
from bigr_cli.zoo.config import ModelConfig, check_name, dump_config, read_config, safe_name


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
