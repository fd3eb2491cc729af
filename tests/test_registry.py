import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bigr_cli import registry as module
from bigr_cli.plugins import BUILT_IN, Origin, plugin_entry_points
from bigr_cli.registry import ENTRY_POINT_GROUP, RegistrationError, Registry

Write = Callable[[str, str], EntryPoint]
ELSEWHERE = Origin("elsewhere", "1.2")


def nothing() -> None:
    """Do nothing."""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that registers with the registry under test, and give its entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> EntryPoint:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return EntryPoint(name, name, ENTRY_POINT_GROUP)

    return write


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry()
    monkeypatch.setattr(module, "task", made.task)
    monkeypatch.setattr(module, "group", made.group)
    return made


GOOD = "from bigr_cli.registry import task\n@task('{0}', help='Good.')\ndef good() -> None: ...\n"


def test_registers_and_returns_the_function() -> None:
    made = Registry()
    assert made.task("hello", help="Say hello.", aliases=["hi"])(nothing) is nothing
    entry = made.tasks[("hello",)]
    assert (entry.name, entry.help, entry.function, entry.aliases) == ("hello", "Say hello.", nothing, ("hi",))


@pytest.mark.parametrize("name", ["", "Hello", "a b c", "-x", "x_y", "hello ", "a--b", "é", "1a"])
def test_malformed_names_raise(name: str) -> None:
    with pytest.raises(RegistrationError, match="no name for a task"):
        Registry().task(name, help="Something.")


def test_a_task_needs_help_and_a_function() -> None:
    with pytest.raises(RegistrationError, match="no help"):
        Registry().task("hello", help=" ")
    with pytest.raises(RegistrationError, match="not a function"):
        Registry().task("hello", help="Something.")(3)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("first", "second"),
    [("hello", "hello"), ("palettes list", "palettes list"), ("palettes", "palettes list"), ("a b", "a")],
)
def test_a_name_that_is_taken_raises(first: str, second: str) -> None:
    made = Registry()
    made.task(first, help="First.")(nothing)
    with pytest.raises(RegistrationError, match="registered already"):
        made.task(second, help="Second.")(nothing)
    assert len(made.tasks) == 1


def test_aliases_are_names_too() -> None:
    made = Registry()
    made.task("hello", help="First.", aliases=["hi"])(nothing)
    with pytest.raises(RegistrationError, match="registered already"):
        made.task("hi", help="Second.")(nothing)
    with pytest.raises(RegistrationError, match="registered already"):
        made.task("greet", help="Second.", aliases=["hello"])(nothing)


def test_groups_are_described_once_and_are_no_tasks() -> None:
    made = Registry()
    made.group("palettes", help="Palettes.")
    made.task("palettes list", help="List them.")(nothing)
    with pytest.raises(RegistrationError, match="registered already"):
        made.group("palettes", help="Again.")
    with pytest.raises(RegistrationError):
        made.task("palettes", help="A task of that name.")(nothing)


def test_tasks_remember_where_they_come_from(fresh: Registry, written: Write) -> None:
    fresh.load([], [(written("plug_one", GOOD.format("one")), ELSEWHERE)])
    assert fresh.tasks[("one",)].origin == ELSEWHERE
    assert str(ELSEWHERE) == "elsewhere 1.2"


@pytest.mark.parametrize(
    "source",
    [
        "import nothing_of_that_name",
        "raise RuntimeError('two\\nlines')",
        "import sys; sys.exit(3)",
        "x = = 1",
        "",
        GOOD.format("Bad Name"),
        GOOD.format("taken"),
        GOOD.format("half") + "raise ValueError('half way')",
    ],
)
def test_a_broken_module_is_a_fault_and_changes_nothing(fresh: Registry, written: Write, source: str) -> None:
    fresh.load([written("plug_first", GOOD.format("taken"))], [])
    fresh.load(
        [],
        [
            (written("plug_broken", source), Origin("broken", "0.1")),
            (written("plug_good", GOOD.format("good")), ELSEWHERE),
        ],
    )
    assert set(fresh.tasks) == {("taken",), ("good",)}
    (fault,) = fresh.faults
    assert str(fault).startswith("plugin 'plug_broken' (broken 0.1) is left out: ")
    assert "\n" not in str(fault)


def test_built_in_tasks_are_entry_points_by_file() -> None:
    names = {entry_point.name for entry_point in module.built_in_entry_points()}
    assert {"generate", "doctor"} <= names


def test_every_built_in_task_loads() -> None:
    found = module.discover()
    assert found.faults == []
    assert {entry.origin for entry in found.tasks.values()} == {BUILT_IN}
    assert found is module.discover()


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(None, {"one", "two"}), ("none", set()), ("", set()), ("one", {"one"}), ("two, other", {"two"})],
)
def test_bigr_plugins_chooses(monkeypatch: pytest.MonkeyPatch, allowed: str | None, expected: set[str]) -> None:
    found = [EntryPoint(name, name, ENTRY_POINT_GROUP) for name in ("two", "one")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)
    if allowed is None:
        monkeypatch.delenv("BIGR_PLUGINS")
    else:
        monkeypatch.setenv("BIGR_PLUGINS", allowed)
    assert {entry_point.name for entry_point, _ in plugin_entry_points(ENTRY_POINT_GROUP)} == expected
