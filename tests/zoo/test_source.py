"""Cards of published models, and what they may say about where the weights are."""

from dataclasses import replace
from pathlib import Path

import pytest

from bigr_cli import schema
from bigr_cli.errors import ConfigError, ModelError, ModelFormatError, UnknownNameError
from bigr_cli.zoo.card import render_card
from bigr_cli.zoo.config import ModelConfig, dump_config, read_config, read_labels
from bigr_cli.zoo.find import find_card, list_models
from bigr_cli.zoo.sizes import parameters
from bigr_cli.zoo.source import Source, readable_size

MODELS = Path(__file__).parents[2] / "models"
# Millions of parameters of the generator (reference: the paper's table of models).
CARDS = {"bigr-l-d24": 336, "bigr-xl-d24": 799, "bigr-xxl-d24": 1480, "bigr-xxl-d32": 1480, "bigr-l-d32-512": 373}


@pytest.mark.parametrize("name", CARDS)
def test_published_cards(name: str) -> None:
    config = read_config(MODELS / name)
    assert (MODELS / name / "README.md").read_text(encoding="utf-8") == render_card(config)
    assert config == find_card(name)
    assert config.name == name
    assert parameters(config)["generator"] / 1e6 == pytest.approx(CARDS[name], abs=0.7)
    assert len(config.labels) == 1000
    assert config.source is not None
    assert config.source.repository == "haoosz/BiGR"
    # The published generator is in float32, so that its size says whether the architecture can be right.
    assert config.source.size > 4 * sum(parameters(config).values())
    assert config.source.size < 4 * sum(parameters(config).values()) + 90e6
    assert (config.sampling.guidance, config.sampling.timesteps, config.licence) == (2.5, 100, "MIT")


def test_states_of_cards() -> None:
    entries = {entry.name: entry for entry in list_models()}
    assert {entries[name].state for name in CARDS} == {"to be pulled"}
    assert {entries[name].size for name in CARDS} == {0}


def test_cards_are_asked_for_by_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean bigr-l-d24"):
        find_card("bigr-l")
    with pytest.raises(ModelError, match="nothing to pull"):
        find_card("scenes-64")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repository", "BiGR"),
        ("repository", "../BiGR"),
        ("repository", "a/b/c"),
        ("tokenizer", "/etc/passwd"),
        ("tokenizer", "bae/../../x"),
        ("generator", "..\\x"),
        ("generator", ".hidden"),
        ("generator", ""),
        ("revision", "a/../b"),
        ("size", -1),
        ("sha256", {"other": "0" * 64}),
        ("sha256", {"t": "0"}),
    ],
)
def test_wrong_sources(key: str, value: object) -> None:
    data = {"repository": "a/b", "tokenizer": "t", "generator": "g", key: value}
    with pytest.raises(ConfigError, match=f"x: {key}"):
        schema.from_mapping(Source, data, source="x")


def test_unknown_keys_fail(tmp_path: Path, config: ModelConfig) -> None:
    source = Source(repository="a/b", tokenizer="t", generator="g")
    text = dump_config(replace(config, source=source))
    (tmp_path / "config.yaml").write_text(text)
    assert read_config(tmp_path).source == source
    (tmp_path / "config.yaml").write_text(text.replace("  repository:", "  repositry:"))
    with pytest.raises(
        ModelFormatError, match=r"config\.yaml: unknown key 'source\.repositry'; did you mean repository"
    ):
        read_config(tmp_path)


def test_labels_of_imagenet_have_a_short_form(tmp_path: Path) -> None:
    config = read_config(MODELS / "bigr-l-d24")
    assert config.labels == read_labels("imagenet-1k")
    assert "labels: imagenet-1k\n" in dump_config(config)
    (tmp_path / "config.yaml").write_text(dump_config(replace(config, labels=config.labels[::-1])))
    assert read_config(tmp_path).labels == config.labels[::-1]


def test_sizes_in_words() -> None:
    assert [readable_size(count) for count in (0, 5_000_000, 1_682_000_000)] == ["", "5.0 MB", "1.68 GB"]
