from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.models import OptionInfo

from bigr_cli import app, options
from bigr_cli.options import (
    Count,
    Device,
    Dtype,
    Guidance,
    GuidanceInterval,
    Interval,
    Order,
    Recipe,
    Seed,
    Temperature,
    Threads,
    parse_interval,
)
from bigr_cli.registry import Registry

Run = Callable[..., Any]
ALIASES = {name: value for name, value in vars(options).items() if hasattr(value, "__metadata__")}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """An application with one command, `show`; what it was called with."""
    made, received = Registry(), dict[str, Any]()

    @made.task("show", help="Show the options.")
    def show(
        count: Count = 1,
        seed: Seed = None,
        guidance: Guidance = None,
        guidance_interval: GuidanceInterval = None,
        order: Order = None,
        temperature: Temperature = None,
        recipe: Recipe = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
        threads: Threads = None,
    ) -> None:
        received.update(locals())

    monkeypatch.setattr(app, "discover", lambda: made)
    yield received


def test_nothing_given_is_none(bigr: Run, seen: dict[str, Any]) -> None:
    assert bigr("show").code == 0
    assert {seen[name] for name in ("seed", "guidance", "guidance_interval", "order", "temperature")} == {None}
    assert (seen["device"], seen["dtype"], seen["count"]) == ("auto", "auto", 1)


def test_values_arrive_with_their_types(bigr: Run, seen: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "a.json"
    recipe.write_text("{}")
    words = ["-n", "3", "--seed", "7", "--guidance", "2.5", "--guidance-interval", "0.1,0.8"]
    words += ["--order", "halton", "--device", "CUDA:1"]
    assert bigr("show", *words, "--recipe", recipe, "--dtype", "float16").code == 0
    assert (seen["count"], seen["seed"], seen["guidance"], seen["order"]) == (3, 7, 2.5, "halton")
    assert seen["guidance_interval"] == Interval(0.1, 0.8)
    assert (seen["device"], seen["dtype"], seen["recipe"]) == ("cuda:1", "float16", recipe)


@pytest.mark.parametrize(
    "words",
    [
        "-n 0",
        "-n x",
        "--seed -1",
        "--seed 9223372036854775808",
        "--seed 1.5",
        "--guidance nan",
        "--guidance inf",
        "--guidance -0.1",
        "--guidance-interval 0.5",
        "--guidance-interval 0.8,0.1",
        "--guidance-interval 0,1.5",
        "--guidance-interval nan,1",
        "--order sideways",
        "--temperature 0",
        "--temperature nan",
        "--recipe /no/such/file",
        "--device gpu",
        "--device cuda:x",
        "--dtype half",
        "--threads 0",
    ],
)
def test_out_of_range_is_exit_2_with_the_option_named(bigr: Run, seen: dict[str, Any], words: str) -> None:
    shown = bigr("show", *words.split())
    assert shown.code == 2
    assert seen == {}
    first = shown.err.splitlines()[0]
    assert first.startswith("error: Invalid value for ")
    assert words.split()[0] in first


def test_environment_variables(bigr: Run, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_SEED", "11")
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    monkeypatch.setenv("BIGR_GUIDANCE_INTERVAL", "0,0.5")
    assert bigr("show").code == 0
    assert (seen["seed"], seen["device"], seen["guidance_interval"]) == (11, "cpu", Interval(0.0, 0.5))
    assert bigr("show", "--seed", 12).code == 0
    assert seen["seed"] == 12
    monkeypatch.setenv("BIGR_COUNT", "0")
    shown = bigr("show")
    assert shown.code == 2
    assert "BIGR_COUNT" in shown.err


def test_every_option_has_help_and_its_own_variable() -> None:
    options_of = {name: get_args(alias)[1] for name, alias in ALIASES.items()}
    found = {name: info for name, info in options_of.items() if isinstance(info, OptionInfo)}
    assert len(found) >= 24
    for name, info in found.items():
        long = next(name for name in (info.default, *info.param_decls) if name.startswith("--"))
        assert info.help
        assert info.envvar == "BIGR_" + long[2:].replace("-", "_").upper() or name == "RunFolder"
    assert len({info.envvar for info in found.values()}) == len(found)


@given(st.floats(0, 1), st.floats(0, 1))
def test_intervals_come_back(start: float, stop: float) -> None:
    if start < stop:
        assert parse_interval(f"{start!r},{stop!r}") == (start, stop)
    else:
        with pytest.raises(typer.BadParameter):
            parse_interval(f"{start!r},{stop!r}")


@pytest.mark.parametrize(("text", "size"), [("1", 1), (" 16 ", 16), ("auto", None), ("AUTO", None)])
def test_batch_size(text: str, size: int | None) -> None:
    assert options.parse_batch_size(text) == size


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "many", "1e3", "²", "99999999"])
def test_no_batch_size(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not auto or a whole number"):
        options.parse_batch_size(text)
