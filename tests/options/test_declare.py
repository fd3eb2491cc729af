"""Every option is declared in one way, and one of the same name is the same everywhere."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bigr_cli
from bigr_cli.app import build
from bigr_cli.help_pages import long_name
from bigr_cli.options import option
from bigr_cli.registry import discover

Run = Callable[..., Any]
PACKAGE = Path(bigr_cli.__file__).parent


def _options() -> list[Any]:
    found, waiting = [], [build(discover())]
    for command in waiting:
        waiting += getattr(command, "commands", {}).values()
        found += [one for one in command.params if one.param_type_name == "option"]
    return found


def test_one_function_alone_makes_options_and_one_arguments() -> None:
    calls = re.compile(r"\btyper\.(Option|Argument)\(|\b(Option|Argument)Info\(")
    where = [path.name for path in sorted(PACKAGE.rglob("*.py")) for _ in calls.findall(path.read_text("utf-8"))]
    assert where == ["declare.py", "declare.py"]


def test_an_option_has_the_same_short_name_in_every_command() -> None:
    short, every = defaultdict(set), defaultdict(set)
    for one in _options():
        short[long_name(one)].add(tuple(name for name in one.opts if not name.startswith("--")))
        every[long_name(one)].add(tuple(one.opts))
    short.pop("--tokenizer")  # a model for train-generator, and a file for models import
    assert {name: found for name, found in short.items() if len(found) > 1} == {}
    for name in ("--seed", "--count", "--overwrite", "--json", "--quiet", "--verbose", "--device", "--dtype"):
        assert len(every[name]) == 1, name


def test_an_option_with_a_variable_has_the_same_one_everywhere() -> None:
    variables = defaultdict(set)
    for one in _options():
        if one.envvar is not None:
            variables[one.envvar].add(long_name(one))
    assert {name: found for name, found in variables.items() if len(found) > 1} == {}
    assert variables["BIGR_SEED"] == {"--seed"}


def test_names_variable_and_help_of_a_declaration() -> None:
    made = option("-s --size --image-size", "How large.", "Canvas", variable=True, min=1)
    assert (made.default, made.param_decls) == ("-s", ("--size", "--image-size")) or "-s" in made.param_decls
    assert (made.envvar, made.help, made.rich_help_panel, made.show_default) == (
        "BIGR_SIZE",
        "How large.",
        "Canvas",
        False,
    )
    assert option("--size", "", variable="BIGR_OTHER").envvar == "BIGR_OTHER"
    assert option("--size", "").envvar is None and option("--size", "").show_default is True


@pytest.mark.parametrize(
    "words",
    [
        "data scenes -o x --seed -1",
        "embed scenes -o x.npz --seed 2147483649",
        "interpolate cat bird --fps nan",
        "classify a.png --probe p.safetensors --threshold nan",
        "serve --time-limit nan",
        "evaluate generation --reference scenes --seed 9223372036854775808",
    ],
)
def test_numbers_out_of_range_are_wrong_usage(bigr: Run, words: str) -> None:
    shown = bigr(*words.split())
    assert shown.code == 2
    assert f"Invalid value for '{words.split()[-2]}'" in shown.err


def test_count_has_its_short_and_other_names_wherever_it_is(bigr: Run, tmp_path: Path) -> None:
    target = tmp_path / "scenes"
    assert bigr("data", "scenes", "-o", target, "--num-images", 3).code == 0
    assert len(list(target.glob("*/*.png"))) == 3
