import json
from pathlib import Path

import pytest

from bigr_cli import console


@pytest.fixture(autouse=True)
def _as_at_the_start() -> None:
    console.configure(quiet=False, verbose=False)


def test_results_and_messages_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("a result")
    console.say("a message")
    console.detail("too much")
    console.warn("a\nwarning")
    shown = capsys.readouterr()
    assert shown.out == "a result\n"
    assert shown.err == "a message\nwarning: a warning\n"


def test_quiet_and_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(verbose=True)
    console.detail("more")
    console.configure(quiet=True)
    console.say("nothing")
    console.detail("nothing")
    console.error("still", "there")
    assert capsys.readouterr().err == "more\nerror: still\nhint: there\n"
    console.configure(quiet=False, verbose=False)


def test_json_lines_are_always_json(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"path": Path("a/b.png"), "psnr": float("inf"), "list": (1, float("nan")), "text": "é\n", "none": None}
    console.json_line(record)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"path": "a/b.png", "psnr": None, "list": [1, None], "text": "é\n", "none": None}


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "counting") as bar:
        bar.advance()
        bar.describe("still counting")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    with console.progress(3, "counting") as bar, console.progress(2, "inner") as inner:
        bar.advance(2)
        inner.advance()
        bar.describe("nearly")
        console.say("in between")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "in between" in shown.err
    assert "inner" not in shown.err


def test_tables_are_not_cut_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("name", "text"), [("a", "x" * 300), ("[b]", "short")])
    shown = capsys.readouterr().out
    assert "x" * 300 in shown
    assert "[b]" in shown
