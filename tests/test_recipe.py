import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.config import ORDERS, SamplingConfig
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.recipe import Recipe, command, parse_recipe, read_recipe

RECIPE = Recipe(
    task="generate",
    model="tiny",
    weights={"tokenizer.safetensors": "0" * 64},
    labels=("cat",),
    seed=7,
    sampling=SamplingConfig(guidance=3.3),
    device="cuda:1",
    dtype="bfloat16",
)
shown = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=10)


@given(
    st.builds(
        Recipe,
        task=shown,
        model=shown,
        folder=st.none() | shown,
        labels=st.lists(shown, max_size=3).map(tuple),
        seed=st.integers(0, 2**63 - 1),
        count=st.integers(1, 100),
        sampling=st.builds(
            SamplingConfig, guidance=st.floats(0, 100), order=st.sampled_from(ORDERS), steps=st.integers(1, 1000)
        ),
        device=shown,
        dtype=shown,
        options=st.dictionaries(shown, st.integers() | st.booleans() | shown),
    )
)
def test_recipes_come_back(recipe: Recipe) -> None:
    text = recipe.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert parse_recipe(text, source="x") == recipe
    assert read_recipe({"path": "x", "recipe": recipe.to_dict()}, source="x") == recipe


def changed(**values: Any) -> str:
    return json.dumps(RECIPE.to_dict() | values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "holds no recipe"),
        ("{}", "holds no recipe"),
        (changed(format=2), "newer version"),
        (changed(format="1"), "expected 1, got '1'"),
        (changed(seed=-1), "seed: expected 0"),
        (changed(seed=True), "seed: expected a whole number"),
        (changed(sampling={"steps": 0}), "steps: expected at least 1"),
        (changed(labels="cat"), "labels: expected a list"),
        (changed(labels=["\x1b[31m"]), "cannot be shown"),
        (changed(colour="red"), "unknown key 'colour'"),
    ],
)
def test_what_is_no_recipe(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_recipe(text, source="some file")
    assert str(raised.value).startswith("some file: ")


def test_characters_that_move_the_cursor_are_refused() -> None:
    with pytest.raises(ConfigError, match="model"):
        replace(RECIPE, model="a\nb")


def test_command_gives_every_setting() -> None:
    words = shlex.split(command(RECIPE, model="tiny", output="a b{1}.jpg") or "")
    assert words[:3] == ["bigr", "generate", "cat"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--seed"] == "7"
    assert options["--guidance"] == "3.3"
    assert options["--guidance-interval"] == "0.0,1.0"
    assert options["--device"] == "cuda"
    assert options["--dtype"] == "bfloat16"
    assert options["-o"] == "a b{{1}}.jpg"
    assert len(options) == 17


def test_command_of_a_sheet() -> None:
    sheet = replace(RECIPE, count=4, options={"shows": "grid", "columns": 2, "captions": True})
    assert (command(sheet, model="m", output="s.png") or "").endswith(" --columns 2 --captions --grid s.png")
    assert " -n 4 " in (command(sheet, model="m") or "")


def test_labels_that_look_like_options() -> None:
    words = shlex.split(command(replace(RECIPE, labels=("--overwrite",)), model="m") or "")
    assert words[-2:] == ["--", "--overwrite"]


def test_other_tasks_have_no_command_yet() -> None:
    assert command(replace(RECIPE, task="inpaint"), model="m") is None
