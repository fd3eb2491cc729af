"""Drawn configs, recipes, indexes and headers: an error of one line, in a moment, whatever they hold."""

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bigr_cli import schema, yaml_text
from bigr_cli.errors import BigrError
from bigr_cli.plain_text import escaped
from bigr_cli.recipe import command, left_out, parse_recipe
from bigr_cli.representation.index_files import read_index
from bigr_cli.runtime.tensor_headers import read_header
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.zoo.card import render_card
from bigr_cli.zoo.config import dump_config, read_config
from bigr_cli.zoo.find import model_of
from bigr_cli.zoo.sizes import parameters

SECONDS = 10.0  # far more than any takes, on a machine that does other things as well

numbers = st.sampled_from(
    [0, -1, 1, 2, 3, 64, 10**9, 2**31, 2**63, 10**30, -(10**30), 0.0, -1.5, 1e308, float("nan"), float("inf"), 1e-320]
)
texts = st.text(st.characters(codec=None, categories=None), max_size=8) | st.sampled_from(
    ["\x1b[2J", "../..", "a" * 3000, "\0", "none", "compact", "autoencoder", "bytes", "-o", "$(x)", "{", "imagenet-1k"]
)
scalars = numbers | texts | st.booleans() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in plain data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def mutated(draw: Callable[..., Any], data: Any) -> Any:
    """A copy of plain data with one to three of its values, or keys, something else."""
    made = json.loads(json.dumps(data))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(made)[1:]))
        inner = made
        for key in above:
            inner = inner[key]
        kind = draw(st.integers(0, 9))
        if kind == 0:
            del inner[last]
        elif kind == 1 and isinstance(inner, dict):
            inner[draw(texts)] = draw(values)
        else:
            inner[last] = draw(values)
    return made


def quickly(call: Callable[[], object]) -> bool:
    """Whether something could be read; fails unless that, or a message of one page, comes at once."""
    began = time.perf_counter()
    try:
        call()
    except BigrError as error:
        assert len(str(error)) < 20_000
        assert escaped(str(error))
        return False
    finally:
        assert time.perf_counter() - began < SECONDS
    return True


def inspect(folder: Path) -> None:
    config = read_config(folder)
    parameters(config)
    render_card(config)
    dump_config(config)


def describe(text: str) -> None:
    recipe = parse_recipe(text, source="x")
    model_of(recipe)
    left_out(recipe)
    command(recipe, model="m", output="x.png")
    json.dumps(recipe.to_dict())


def fuzz(count: int, model: Path, place: Path) -> None:
    """So many of each kind."""
    config = yaml_text.read_mapping(model / "config.yaml")
    recipe = {
        "format": 1, "task": "inpaint", "model": "m", "folder": "f", "weights": {"a": "b"}, "labels": ["cat"],
        "seed": 1,
        "condition": "class", "count": 1, "sampling": config["sampling"], "device": "cpu", "dtype": "float32",
        "options": {"image": "a.png", "mask-box": ["0,0,1,1"], "mask-alpha": True, "class": "cat"}, "version": "1",
    }  # fmt: skip
    trainings = (
        (TokenizerTraining, schema.to_mapping(TokenizerTraining(read_config(model).tokenizer))),
        (GeneratorTraining, schema.to_mapping(GeneratorTraining("scenes-64"))),
    )
    raw = (model / "generator.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = dict(list(json.loads(raw[8 : 8 + length]).items())[:4])
    often = settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=(Phase.generate,),  # shrinking takes minutes; what was drawn is shown whole
    )

    @often
    @given(mutated(config), st.booleans())
    def configs(data: Any, twice: bool) -> None:
        text = yaml_text.dump(data) + ("name: again\n" if twice else "")
        (place / "config.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        quickly(lambda: inspect(place))

    @often
    @given(mutated(recipe))
    def recipes(data: Any) -> None:
        quickly(lambda: describe(json.dumps(data)))

    @often
    @given(st.sampled_from(trainings), st.data())
    def training(which: tuple[Any, dict[str, Any]], drawn: Any) -> None:
        data = drawn.draw(mutated(json.loads(json.dumps(which[1], default=str))))
        quickly(lambda: schema.from_mapping(which[0], data, source="x") if isinstance(data, dict) else None)

    @often
    @given(mutated(header), st.binary(max_size=8))
    def headers(data: Any, more: bytes) -> None:
        text = json.dumps(data).encode()
        (place / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + more)
        quickly(lambda: read_header(place / "w.safetensors"))

    @often
    @given(st.binary(max_size=40), st.integers(0, 10**6), values)
    def indexes(junk: bytes, where: int, about: Any) -> None:
        path = place / "i.npz"
        texts = {"paths": np.array(["a"]), "labels": np.array([""]), "about": np.array(json.dumps(about))}
        np.savez_compressed(path, features=np.zeros((1, 4), np.float32), **texts)  # type: ignore[arg-type]
        data = bytearray(path.read_bytes())
        start = where % len(data)
        data[start : start + len(junk)] = junk
        path.write_bytes(data)
        quickly(lambda: read_index(path))

    for check in (configs, recipes, training, headers, indexes):
        check()


@pytest.mark.parametrize("name", ["tiny_model", "tiny_text_model"])
def test_drawn_files(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    fuzz(12, request.getfixturevalue(name), tmp_path)


@pytest.mark.slow
def test_a_thousand_drawn_files(tiny_model: Path, tmp_path: Path) -> None:
    fuzz(300, tiny_model, tmp_path)
    assert zipfile.is_zipfile(tmp_path / "i.npz") or (tmp_path / "i.npz").exists()
