import time

import pytest

from bigr_cli import console, progress
from bigr_cli.progress import progress_bar


def test_a_line_breaks_every_silence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SILENCE", 0.05)
    with progress_bar(12_000, "encoding images") as bar:
        bar.advance(1_000)
        time.sleep(0.2)
        with progress_bar(None, "validation after step 7"):
            time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("encoding images: 1,000 of 12,000, ") and lines[0].endswith(" left")
    assert lines[-1].startswith("validation after step 7: for ")
    time.sleep(0.15)
    assert capsys.readouterr().err == ""


def test_who_speaks_is_not_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SILENCE", 1.0)
    with progress_bar(10, "training"):
        for number in range(15):
            time.sleep(0.1)
            console.say(f"step {number}")
    assert capsys.readouterr().err.splitlines() == [f"step {number}" for number in range(15)]


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SILENCE", 0.01)
    console.configure(quiet=True)
    with progress_bar(10, "training"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_facts_stand_below_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bar(40, "tokenizer") as bar:
        bar.facts({"loss": "0.31", "samples": "runs/a/step-10.png"})
        bar.facts({"loss": "0.29[/bold]"})
        bar.advance(10)
        bar.set_total(50)
    shown = capsys.readouterr().err
    assert "tokenizer" in shown and "10/50" in shown
    assert "0.29[/bold]" in shown and "runs/a/step-10.png" in shown


@pytest.mark.parametrize(("seconds", "text"), [(0, "0m00s"), (61.9, "1m01s"), (7384, "2h03m")])
def test_readable_times(seconds: float, text: str) -> None:
    assert progress.readable_time(seconds) == text
