import json
import unicodedata
from pathlib import Path

import pytest

from bigr_cli import console
from bigr_cli.progress import progress_bar


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


def test_a_command_leaves_the_console_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(verbose=True)
    console.say("known", once=True)
    with console.new_command():
        console.detail("not of a command that is not verbose")
        console.say("known", once=True)
        console.configure(quiet=True)
        console.say("not of a quiet one")
    console.detail("verbose again")
    assert capsys.readouterr().err == "known\nknown\nverbose again\n"


def test_json_lines_are_always_json(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"path": Path("a/b.png"), "psnr": float("inf"), "list": (1, float("nan")), "text": "é\n", "none": None}
    console.json_line(record)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"path": "a/b.png", "psnr": None, "list": [1, None], "text": "é\n", "none": None}


EVIL = "\x1b]0;owned\x07\x1b[2Ja\x9b31mb\u202ec\x08\x7f\r"


def acts(text: str) -> set[str]:
    """The characters of some output that a terminal would act on, or that hide or reorder others."""
    return {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf") and letter != "\n"}


def test_nothing_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(verbose=True)
    for show in (console.say, console.detail, console.warn, console.result):
        show(f"<{EVIL}>")
    console.error(EVIL, EVIL)
    console.results(f"{EVIL}\n{EVIL}")
    console.table((EVIL, "b"), [(EVIL, "[/b]"), ("x\ny\tz", "")])
    console.json_line({EVIL: EVIL})
    console.traceback(ValueError(EVIL))
    shown = capsys.readouterr()
    assert acts(shown.out + shown.err) == set()
    assert "\\x1b]0;owned\\x07\\x1b[2Ja\\x9b31mb\\u202ec\\x08\\x7f\\r>" in shown.out
    assert [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")] == [{EVIL: EVIL}]


def test_a_result_is_one_line_and_keeps_its_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("1\tcat\n2\tforged")
    console.results("one\ntwo")
    assert capsys.readouterr().out == "1\tcat\\n2\tforged\none\ntwo\n"


def test_nothing_reaches_the_terminal_raw_through_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar(3, f"{EVIL}[/bold]") as bar:
        bar.describe(f"[/i]{EVIL}")
        bar.detail(1, 2, f"[/i]{EVIL}")
        console.say(EVIL)
        console.warn(EVIL)
    shown = capsys.readouterr().err
    assert acts(shown) <= {"\x1b", "\r"}  # rich's own, to move the bar
    assert "\x1b]" not in shown


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "counting") as bar:
        bar.advance()
        bar.describe("still counting")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar(3, "counting") as bar, progress_bar(2, "inner") as inner:
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
