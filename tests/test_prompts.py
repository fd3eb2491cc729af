from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.config import SamplingConfig
from bigr_cli.editing.generate import plan
from bigr_cli.errors import ConfigError, UnknownNameError, UsageError
from bigr_cli.prompts import Label, label_index, name_of
from bigr_cli.recipe import Recipe
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.find import model_of
from bigr_cli.zoo.presets import sampling_settings

LAST = 2**63 - 1


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> ModelConfig:
    return read_config(tiny_model)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("cat", 0), ("DOG", 1), (" house ", 2), ("3", 3), (1, 1), ("none", 4), (None, 4), (4, 4), ("4", 4), ("0002", 2)],
)
def test_labels_by_name_and_number(config: ModelConfig, label: Label, expected: int) -> None:
    assert label_index(config, label) == expected


@pytest.mark.parametrize("label", ["catt", "5", -1, 5, "", "-1", "²", "1" * 5000, True, "all"])
def test_unknown_labels(config: ModelConfig, label: Label) -> None:
    with pytest.raises(UnknownNameError) as raised:
        label_index(config, label)
    assert "cat, dog, house, tree" in str(raised.value.hint)


def test_nearest_labels_are_suggested(config: ModelConfig) -> None:
    with pytest.raises(UnknownNameError, match="did you mean house"):
        label_index(config, "horse")


def test_synonyms_and_names_that_are_numbers(config: ModelConfig) -> None:
    odd = replace(config, labels=("crane, bird", "crane, machine", "7", "None"))
    assert label_index(odd, "Bird") == 0
    assert label_index(odd, "7") == 2
    assert label_index(odd, "none") == 3
    assert label_index(odd, name_of(odd, 4)) == 4
    with pytest.raises(UnknownNameError, match="did you mean crane, bird, crane, machine"):
        label_index(odd, "crane")
    nameless = replace(config, labels=())
    assert [label_index(nameless, name_of(nameless, index)) for index in range(5)] == list(range(5))
    with pytest.raises(UnknownNameError):
        label_index(nameless, "cat")


def test_every_name_means_its_class(config: ModelConfig) -> None:
    assert [label_index(config, name_of(config, index)) for index in range(5)] == list(range(5))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(1, 5), st.integers(0, LAST - 100))
def test_seeds_count_over_all_labels(config: ModelConfig, labels: list[int], count: int, seed: int) -> None:
    jobs = plan(config, labels, count=count, seed=seed)
    wanted = [None if label == len(config.labels) else label for label in labels]
    assert [job.prompt for job in jobs] == [label for label in wanted for _ in range(count)]
    assert [job.index for job in jobs] == list(range(len(labels) * count))
    assert [job.seed for job in jobs] == [seed + job.index for job in jobs]


def test_seeds_stay_within_int64(config: ModelConfig) -> None:
    assert plan(config, ["cat"], seed=LAST)[0].seed == LAST
    for seed, count in ((LAST, 2), (-1, 1), (LAST + 1, 1)):
        with pytest.raises(UsageError, match="seed: expected whole numbers from 0"):
            plan(config, ["cat"], seed=seed, count=count)


def test_a_drawn_seed_is_in_range_and_new(config: ModelConfig) -> None:
    drawn = {plan(config, ["cat"])[0].seed for _ in range(10)}
    assert len(drawn) > 1
    assert all(0 <= seed < 2**32 for seed in drawn)


def test_requests_that_cannot_be(config: ModelConfig) -> None:
    with pytest.raises(UsageError, match="at least one label"):
        plan(config, [])
    with pytest.raises(UsageError, match="at least one label"):
        plan(config, ["cat"], count=0)
    with pytest.raises(UsageError, match="too many"):
        plan(config, ["cat"], count=10**12)
    with pytest.raises(UsageError, match="without a generator"):
        plan(replace(config, generator=None), ["cat"])


def test_later_settings_win_and_none_changes_nothing(config: ModelConfig) -> None:
    assert sampling_settings(config) == config.sampling
    merged = sampling_settings(config, {"steps": 2, "guidance": 3}, {"steps": None, "guidance": 4.5})
    assert merged == replace(config.sampling, steps=2, guidance=4.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step", 3, "unknown key 'step'; did you mean steps"),
        ("steps", "3", "steps: expected a whole number"),
        ("steps", 17, "steps: expected 1 to 16"),
        ("timesteps", 17, "timesteps: expected 1 to 16"),
        ("guidance", float("nan"), "guidance"),
        ("order", "entropie", "did you mean entropy"),
        ("guidance_interval", (0.5, 0.1), "guidance_interval"),
    ],
)
def test_settings_out_of_range(config: ModelConfig, name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sampling_settings(config, {name: value})


def test_a_models_own_number_of_steps_is_always_allowed(config: ModelConfig) -> None:
    assert sampling_settings(replace(config, sampling=SamplingConfig(steps=20, timesteps=5))).steps == 20


def test_model_of_a_recipe(config: ModelConfig, tiny_model: Path) -> None:
    recipe = Recipe(
        task="generate",
        model="tiny",
        folder=str(tiny_model),
        weights=config.sha256,
        seed=1,
        sampling=SamplingConfig(),
        device="cpu",
        dtype="float32",
    )
    assert model_of(recipe) == (str(tiny_model), True)
    assert model_of(replace(recipe, weights={})) == (str(tiny_model), False)
    assert model_of(replace(recipe, folder=None)) == ("tiny", False)
