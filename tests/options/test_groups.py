import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bigr_cli import app
from bigr_cli.options import Count, Seed
from bigr_cli.options.groups import Machine, Sampling, Writing, group_parameters, grouped
from bigr_cli.registry import Registry


def test_groups_arrive_as_one_parameter(bigr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made, received = Registry(), dict[str, Any]()

    @made.task("show", help="Show the options.")
    @grouped
    def show(name: str, seed: Seed = None, *, sampling: Sampling, writing: Writing, machine: Machine) -> None:
        """More about it."""
        received.update(locals())

    assert show.__doc__ == "More about it."
    monkeypatch.setattr(app, "discover", lambda: made)
    assert bigr("show", "x", "--seed", 3, "--steps", 5, "-o", "a.png", "--json", "--dtype", "float16").code == 0
    assert (received["name"], received["seed"]) == ("x", 3)
    assert received["sampling"] == Sampling(steps=5)
    assert received["writing"] == Writing(output="a.png", json=True)
    assert received["machine"] == Machine(dtype="float16")
    shown = bigr("show", "--help")
    assert "--guidance-interval" in shown.out
    assert "sampling" not in shown.out.lower().replace("sampling ─", "")


def test_fields_without_default_are_required() -> None:
    @dataclass(frozen=True)
    class Needed:
        width: int
        height: int = 3

    @grouped
    def size(*, needed: Needed) -> None: ...

    parameters = inspect.signature(size).parameters
    assert parameters["width"].default is inspect.Parameter.empty
    assert parameters["height"].default == 3


def test_an_option_twice_is_refused() -> None:
    def twice(seed: int, steps: int, *, sampling: Sampling) -> None: ...

    with pytest.raises(TypeError, match=r"twice: has an option twice: .*steps, steps"):
        grouped(twice)


def test_a_parameter_that_is_left_out_is_no_option() -> None:
    def command(count: Count = 1, *, sampling: Sampling = Sampling(), machine: Machine) -> None:  # noqa: B008
        received.update(locals())

    received: dict[str, Any] = {}
    made = grouped(command, without=("count", "sampling"))
    assert set(inspect.signature(made).parameters) == {one.name for one in group_parameters(Machine)}
    made(**{one.name: one.default for one in group_parameters(Machine)})
    assert received["count"] == 1 and received["machine"].device == "auto"


def test_what_is_given_of_the_sampler() -> None:
    assert Sampling().given == {}
    assert Sampling(steps=3, gumbel=0.0).given == {"steps": 3, "gumbel": 0.0}
