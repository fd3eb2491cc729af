"""Reports: a page that needs no network, written whole or not at all."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from bigr_cli.errors import RunError, UsageError
from bigr_cli.evaluation.report import (
    Report,
    Table,
    bars,
    check_report_folder,
    dots,
    histogram,
    lines,
    page,
    write_report,
)


def example(title: str = "A < B") -> Report:
    return Report(
        title=title,
        summary="two rows",
        table=Table(("a|b", "c"), (("1", "2"), ("3", "<4>")), frozenset({(1, 0)})),
        facts=[("samples", "5 & 6")],
        results={"command": "bigr", "records": [1.5]},
        plots={"lines": ("A line", lines({"one": ([0, 1], [2, 3]), "two": ([0, 1], [3, 2])}, x="x", y="y"))},
        images=[("a sheet", Image.new("RGB", (8, 4), "red"))],
        command="bigr evaluate 'a b'",
    )


def test_the_page_asks_nothing_of_the_network() -> None:
    text = page(example())
    names = re.findall(r'xmlns(?::\w+)?="[^"]*"', text)
    for name in names:  # names of vocabularies, which nothing fetches
        text = text.replace(name, "")
    assert "http" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "@import" not in text
    assert "<script" not in text
    assert "url(#" in text or "url(" not in text
    assert "A &lt; B" in text
    assert "&lt;4&gt;" in text
    assert text.count("<svg") == 1


def test_files_of_a_report(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "r", example())
    found = sorted(path.name for path in (tmp_path / "new" / "r").iterdir())
    assert found == ["index.html", "lines.svg", "results.json", "table.csv", "table.md"]
    assert json.loads((tmp_path / "new/r/results.json").read_text()) == {"command": "bigr", "records": [1.5]}
    assert (tmp_path / "new/r/table.csv").read_text() == "a|b,c\n1,2\n3,<4>\n"
    table = (tmp_path / "new/r/table.md").read_text()
    assert "| a\\|b | c |" in table
    assert "| **3** | <4> |" in table
    assert "- samples: 5 & 6" in table


def test_only_a_report_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    write_report(folder, example())
    with pytest.raises(UsageError, match="exists already"):
        write_report(folder, example("new"))
    write_report(folder, example("new"), overwrite=True)
    assert "<h1>new</h1>" in (folder / "index.html").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="something else than a report"):
        check_report_folder(tmp_path / "mine", overwrite=True)
    with pytest.raises(UsageError):
        check_report_folder(tmp_path / "mine/thesis.txt", overwrite=True)
    (tmp_path / "empty").mkdir()
    assert check_report_folder(tmp_path / "empty", overwrite=False) == tmp_path / "empty"


def test_nothing_is_left_of_a_report_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bigr_cli.evaluation.report.json.dumps", full)
    with pytest.raises(RunError, match="No space left"):
        write_report(tmp_path / "r", example())
    assert list(tmp_path.iterdir()) == []


def test_the_same_plot_is_the_same_file() -> None:
    made = [histogram({"a": [1, 2, 2.5]}, x="x", y="y") for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].startswith("<svg")
    for text in (dots(([1, 2], [3, 4]), ["one", "two"], x="x", y="y"), bars({"a": [0, 1]}, x="x", y="y")):
        assert text.startswith("<svg")
    assert ">one<" in dots(([1, 2], [3, 4]), ["one", "two"], x="x", y="y")
    assert ">raster<" in lines({"": ([0, 1], [1, 2])}, x="order", y="FID", names=("raster", "halton"))
