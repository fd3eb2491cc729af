"""`bigr data scenes`, through the command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bigr_cli.data.scenes import describe, render

Bigr = Callable[..., Any]


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their names."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_class_folders_with_captions(bigr: Bigr, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    outcome = bigr("data", "scenes", "-n", 20, "--size", 32, "--seed", 7, "-o", folder)
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith(f"wrote 20 scenes of 32 × 32 pixels to {folder} in ")
    records = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert set(files_of(folder)) == {"captions.jsonl", *(record["file"] for record in records)}
    assert len(records) == 20
    for index, record in enumerate(records):
        shown = describe(7, index)
        assert (record["label"], record["caption"]) == (shown.label, shown.caption)
        with Image.open(folder / record["file"]) as image:
            assert image.tobytes() == render(shown, 32).tobytes()


def test_json_is_one_line(bigr: Bigr, tmp_path: Path) -> None:
    outcome = bigr("data", "scenes", "-n", 3, "--size", 16, "-o", tmp_path / "set", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    record = json.loads(outcome.out)
    assert record.pop("seconds") >= 0
    assert record == {
        "path": str(tmp_path / "set"),
        "task": "data scenes",
        "captions": str(tmp_path / "set" / "captions.jsonl"),
        "count": 3,
        "size": 16,
        "seed": 0,
    }


def test_quiet_says_nothing(bigr: Bigr, tmp_path: Path) -> None:
    outcome = bigr("data", "scenes", "-n", 1, "--size", 16, "-o", tmp_path / "set", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_workers_change_no_file(bigr_process: Bigr, tmp_path: Path) -> None:
    for workers in (1, 2):
        arguments = ("-n", 130, "--size", 16, "--workers", workers, "-o", tmp_path / str(workers))
        outcome = bigr_process("data", "scenes", *arguments)
        assert outcome.code == 0, outcome.err
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_replaces_only_when_asked(bigr: Bigr, tmp_path: Path) -> None:
    arguments = ("data", "scenes", "-n", 2, "--size", 16, "-o", tmp_path)
    assert bigr(*arguments).code == 0
    before = files_of(tmp_path)
    outcome = bigr(*arguments, "--seed", 1)
    assert outcome.code == 2
    assert outcome.err.splitlines()[1] == "hint: --overwrite replaces it"
    assert files_of(tmp_path) == before
    assert bigr(*arguments, "--seed", 1, "--overwrite").code == 0
    assert files_of(tmp_path).keys() == before.keys()
    assert files_of(tmp_path) != before


@pytest.mark.parametrize(
    "wrong",
    [
        ("-n", 0),
        ("-n", "many"),
        ("--size", 8),
        ("--size", 2000),
        ("--seed", -1),
        ("--seed", 2**70),
        ("--workers", 0),
        ("--colour", "red"),
    ],
)
def test_wrong_use(bigr: Bigr, tmp_path: Path, wrong: tuple[object, ...]) -> None:
    outcome = bigr("data", "scenes", "-n", 1, "-o", tmp_path / "set", *wrong)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "set").exists()


def test_a_folder_is_needed(bigr: Bigr, tmp_path: Path) -> None:
    assert bigr("data", "scenes").code == 2
    (tmp_path / "file").write_text("mine")
    outcome = bigr("data", "scenes", "-n", 1, "-o", tmp_path / "file")
    assert outcome.code == 2
    assert "is not a directory" in outcome.err


def test_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from bigr_cli.app import main; "
        f"assert main(['data', 'scenes', '-n', '2', '-o', {str(tmp_path / 'set')!r}, '-q']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_group_has_help(bigr: Bigr) -> None:
    outcome = bigr("data")
    assert outcome.code == 0
    assert "scenes" in outcome.out
