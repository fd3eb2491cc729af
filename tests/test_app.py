import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import typer
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import bigr_cli
from bigr_cli import app, console
from bigr_cli.errors import BigrError, ImageError, RunError
from bigr_cli.options import Json, Quiet
from bigr_cli.registry import Registry, discover

Run = Callable[..., object]


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException | None], None]]:
    """An application with one command, `fail`, that raises what the test sets."""
    made = Registry()
    pending: list[BaseException | None] = [None]

    @made.task("fail", help="Fail.", aliases=["break"], examples=["bigr fail"])
    def fail(json: Json = False, quiet: Quiet = False) -> None:
        """Raises."""
        console.say("about to fail")
        if pending[0] is not None:
            raise pending[0]
        console.json_line({"done": True})

    @made.task("things list", help="List things.")
    def things_list() -> None: ...

    made.group("things", help="All the things.")
    monkeypatch.setattr(app, "discover", lambda: made)
    yield lambda error: pending.__setitem__(0, error)


def test_version_and_help(bigr: Run) -> None:
    assert bigr("--version").out == f"bigr {bigr_cli.__version__}\n"
    shown = bigr("--help")
    assert shown.code == 0
    assert "doctor" in shown.out
    assert shown.err == ""
    assert bigr().out == shown.out


def test_every_command_has_help(bigr: Run) -> None:
    for path in discover().tasks:
        shown = bigr(*path, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert "Usage" in shown.out


def test_paragraphs_of_the_help_fill_the_terminal(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    lines = [line.strip() for line in bigr("interpolate", "--help").out.splitlines()]
    assert any(line.startswith("-o decides") and line.endswith("{index}).") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task"], "'tasks'"),
        (["doctr"], "'doctor'"),
        (["tasks", "--jsno"], "--json"),
        (["tasks", "more"], "more"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(bigr: Run, words: list[str], message: str) -> None:
    shown = bigr(*words)
    assert (shown.code, shown.out) == (2, "")
    first, second = shown.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("hint: ")


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (BigrError("it broke"), 1, ["error: it broke"]),
        (RunError("3 of 8\nfailed", hint="look"), 1, ["error: 3 of 8 failed", "hint: look"]),
        (ImageError("no image"), 2, ["error: no image"]),
        (ValueError("odd\nshape"), 1, ["error: ValueError: odd", "hint: run with --debug for the traceback"]),
        (MemoryError(), 1, ["error: MemoryError:", "hint: a smaller --batch-size needs less memory"]),
        (typer.BadParameter("no"), 2, ["error: Invalid value: no"]),
        (typer.Exit(3), 3, []),
        (KeyboardInterrupt(), 130, []),
        (SystemExit("enough"), 1, ["error: enough"]),
        (BrokenPipeError(32, "pipe"), 1, []),
    ],
)
def test_errors_become_lines_and_codes(
    bigr: Run, raising: Callable[[BaseException | None], None], error: BaseException, code: int, lines: list[str]
) -> None:
    raising(error)
    shown = bigr("fail", "--json", "-q")
    assert shown.code == code
    assert shown.out == ""
    assert [line for line in shown.err.splitlines() if not line.startswith("hint: see")] == lines


def test_debug_shows_the_traceback_at_any_place(
    bigr: Run, raising: Callable[[BaseException | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(RunError("it broke"))
    assert "Traceback" not in bigr("fail").err
    assert "Traceback" in bigr("--debug", "fail").err
    assert "Traceback" in bigr("fail", "--debug").err
    monkeypatch.setenv("BIGR_DEBUG", "1")
    assert "Traceback" in bigr("fail").err


def test_quiet_lasts_for_one_run(
    bigr: Run, raising: Callable[[BaseException | None], None], capfd: pytest.CaptureFixture[str]
) -> None:
    assert bigr("fail", "--quiet").err == ""
    console.say("what Python does next is heard")
    assert capfd.readouterr().err == "what Python does next is heard\n"
    assert bigr("fail").err == "about to fail\n"


def test_groups_show_their_commands(bigr: Run, raising: Callable[[BaseException | None], None]) -> None:
    assert "All the things." in bigr("--help").out
    shown = bigr("things")
    assert shown.code == 0
    assert "List things." in shown.out
    assert bigr("things", "lst").code == 2
    assert bigr("things", "list").code == 0


def test_aliases_work_and_are_not_listed(bigr: Run, raising: Callable[[BaseException | None], None]) -> None:
    assert json.loads(bigr("break").out) == {"done": True}
    assert "break" not in bigr("--help").out
    assert "bigr fail" in bigr("fail", "--help").out


def test_a_plugin_function_that_typer_cannot_read_is_left_out(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Registry()

    @made.task("odd", help="Odd.")
    def odd(value: "Unheard") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    made.tasks.update({path: task for path, task in discover().tasks.items() if path == ("tasks",)})
    monkeypatch.setattr(app, "discover", lambda: made)
    shown = bigr("tasks")
    assert shown.code == 0
    (line,) = shown.err.splitlines()
    assert line.startswith("warning: plugin 'odd'")


def test_tasks_lists_commands_with_their_origin(bigr: Run) -> None:
    lines = [json.loads(line) for line in bigr("tasks", "--json").out.splitlines()]
    assert {"task": "tasks", "package": "bigr-cli", "version": bigr_cli.__version__}.items() <= {
        **next(line for line in lines if line["task"] == "tasks")
    }.items()
    assert "bigr-cli" in bigr("tasks").out


def test_doctor_tells_what_is_there(bigr: Run) -> None:
    found = json.loads(bigr("doctor", "--json").out)
    assert found["device"] in {entry["name"] for entry in found["devices"]}
    assert found["devices"][-1]["rates"]["float32"] > 0
    assert found["packages"]["torch"]
    assert found["text_encoders"][:2] == ["bytes", "t5"]
    assert "GFLOP/s" in bigr("doctor").out


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["tasks"], ["doctor", "--help"], ["nonsense"]])
def test_help_imports_no_torch(words: list[str]) -> None:
    _assert_light(f"from bigr_cli.app import main; main({words!r})")


def test_completion_imports_no_torch(bigr_process: Run) -> None:
    completing = {"_BIGR_COMPLETE": "complete_bash", "COMP_WORDS": "bigr ta", "COMP_CWORD": "1"}
    assert bigr_process(env=completing).out.split() == ["tasks"]
    _assert_light(
        f"import os; os.environ.update({completing!r})\n"
        "from bigr_cli.app import main\n"
        "try: main([])\nexcept SystemExit: pass"
    )


def test_importing_the_package_is_light() -> None:
    _assert_light("import bigr_cli; assert bigr_cli.__version__; assert 'load' in dir(bigr_cli)")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bigr_cli.nonsense


def _assert_light(source: str) -> None:
    heavy = ("torch", "torchvision", "numpy", "PIL", "accelerate", "huggingface_hub", "torch_fidelity")
    check = f"{source}\nimport sys\nprint(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "[]"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), max_size=4))
def test_nonsense_is_a_usage_error_without_a_traceback(bigr: Run, words: list[str]) -> None:
    assume("--debug" not in words)  # which asks for one
    shown = bigr("tasks", "--unknown", *words)
    assert shown.code == 2
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("chosen", "found"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_waiting_threads_leave_the_cores_to_others(chosen: dict[str, str], found: str) -> None:
    code = "import os; from bigr_cli.app import main; main(['--version']); print(os.environ.get('GOMP_SPINCOUNT'))"
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain | chosen, check=True)
    assert done.stdout.splitlines()[-1] == found
