"""`benchmarks/guard.py` on made-up numbers."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.runtime.meter import TRANSCODER, TRANSFORMER, Meter, operations

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NOTED = {"transformer": 1.4, "help": 30.0}


@pytest.fixture(scope="module")
def guard() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("guard")


@pytest.fixture
def measured(guard: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """What the script is made to find; ratios.json is one of the test's own."""
    found: dict[str, float] = {}
    monkeypatch.setattr(guard, "drawing_ratios", lambda: iter(found.items()))
    monkeypatch.setattr(guard, "starting_ratios", lambda: iter(()))
    monkeypatch.setattr(guard, "NOTED", tmp_path / "ratios.json")
    monkeypatch.setattr(sys, "argv", ["guard.py"])
    return found


def test_what_is_within_its_tolerance_passes(guard: ModuleType) -> None:
    most = NOTED["transformer"] * guard.RATIOS["transformer"].tolerance
    for ratio in (0.1, 1.4, most - 1e-6):
        assert guard.check({"transformer": ratio}, NOTED) == []
    assert guard.check({"masked": 99.0}, NOTED) == []  # nothing noted


def test_what_is_slower_is_told(guard: ModuleType) -> None:
    (problem,) = guard.check({"transformer": 2.1, "help": 30.0}, NOTED)
    assert problem.startswith("transformer: 2.1, noted is 1.4, at most 1.82: ")


def test_the_exit_code(
    guard: ModuleType, measured: dict[str, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:  # nothing to compare with
        guard.main()
    assert stop.value.code == 2
    measured.update(NOTED)
    monkeypatch.setattr(sys, "argv", ["guard.py", "--update"])
    assert guard.main() == 0
    assert json.loads(guard.NOTED.read_text()) == NOTED
    monkeypatch.setattr(sys, "argv", ["guard.py", "--json"])
    assert guard.main() == 0
    capsys.readouterr()
    measured["help"] = 60.0
    assert guard.main() == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("slower: help: 60, noted is 30, at most 39: ")
    assert [json.loads(line)["ratio"] for line in shown.out.splitlines()] == ["transformer", "help"]


def test_the_notes_in_the_repository_are_known_ratios_above_zero(guard: ModuleType) -> None:
    noted = json.loads((BENCHMARKS / "ratios.json").read_text())
    assert set(noted) <= set(guard.RATIOS) and len(noted) >= 10
    assert all(ratio > 0 for ratio in noted.values())
    assert guard.check(noted, noted) == []


def test_what_a_draw_needs_is_what_it_does_now(guard: ModuleType) -> None:
    """The equations against torch's count of what the code does, in a draw of few tokens."""
    config = GeneratorConfig(grid=4, bits=6, classes=4, layers=2, heads=2, dim=32, transcoder_width=32)
    settings = SamplingConfig(steps=3, timesteps=4, guidance=2.0)
    meter = Meter(torch.device("cpu"))
    generator = guard.network(config)
    with meter.attached(generator):
        guard.sample(generator, torch.zeros(1, dtype=torch.int64), torch.arange(1), settings)
    counted = dict(zip((TRANSFORMER, TRANSCODER), operations(config), strict=True))
    assert {part: meter.rows[part] * count for part, count in counted.items()} == guard.needed(config, settings)
