from pathlib import Path

import pytest

from bigr_cli.core.config import CompactConfig, GeneratorConfig
from bigr_cli.errors import ConfigError, UnknownNameError
from bigr_cli.prompts import label_index, name_of
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.labels import IMAGENET, read_labels


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
