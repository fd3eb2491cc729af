"""What the scripts in `benchmarks/paper` share, on made-up measurements; nothing is trained."""

import importlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bigr_cli.core.architectures import CompactConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.launch import read_training

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    *("orders", "heads", "timesteps", "attention", "bits", "guidance", "steps"),
    *("corrections", "clothes", "clothes-orders"),
}


@pytest.fixture(scope="module")
def paper() -> Iterator[Callable[[str], Any]]:
    """Opens a module of the folder by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))
        yield importlib.import_module


@pytest.fixture
def work(paper: Callable[[str], Any], tmp_path: Path) -> Any:
    return paper("work").Work(tmp_path)


def test_what_was_measured_is_not_measured_again(paper: Callable[[str], Any], work: Any) -> None:
    asked = []

    def measure() -> dict[str, float]:
        asked.append(1)
        return {"frechet": 2.5}

    first = work.measured("pictures", {"order": "raster", "set": 0}, measure)
    again = paper("work").Work(work.folder)  # as after a new start
    assert again.measured("pictures", {"set": 0, "order": "raster"}, measure) == first
    assert (first["frechet"], len(asked), again.seconds) == (2.5, 1, work.seconds)
    again.measured("pictures", {"order": "raster", "set": 1}, measure)
    again.measured("probe", {"order": "raster", "set": 0}, measure)
    assert len(asked) == 3


def test_a_measurement_that_fails_leaves_nothing(work: Any) -> None:
    def fail() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.measured("pictures", {}, fail)
    assert work.measured("pictures", {}, lambda: {"frechet": 1.0})["frechet"] == 1.0


def test_a_training_begins_goes_on_and_is_done_once(
    paper: Callable[[str], Any], work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    settings = {"tokenizer": "scenes-64", "run": {"steps": 3}}

    def killed(command: list[str], check: bool) -> None:
        commands.append(command)
        run = Path(command[command.index("-o") + 1])
        run.mkdir()
        (run / "training.yaml").touch()
        raise subprocess.CalledProcessError(-9, command)

    monkeypatch.setattr(paper("work").subprocess, "run", killed)
    with pytest.raises(subprocess.CalledProcessError):
        work.trained("generator", "flip", settings)
    config = Path(commands[0][commands[0].index("--config") + 1])
    default = GeneratorTraining("")
    read = read_training(GeneratorTraining, config=config, resume=None, settings=[], default=default)
    assert read.run.steps == 3
    monkeypatch.setattr(paper("work").subprocess, "run", lambda command, check: commands.append(command))
    run, _ = work.trained("generator", "flip", settings)
    assert commands[1][commands[1].index("--resume") + 1] == run
    assert work.trained("generator", "flip", settings)[0] == run
    assert len(commands) == 2
    assert work.trained("generator", "flip", settings | {"run": {"steps": 4}})[0] != run


def _of(paper: Callable[[str], Any], name: str) -> dict[str, dict[str, Any]]:
    module, _, table = name.partition(".")
    found: dict[str, dict[str, Any]] = getattr(paper(module), table)
    return found


def test_settings_of_corrections_cost_the_same_number_of_iterations(paper: Callable[[str], Any]) -> None:
    for _, steps, (corrections, share, iterations) in paper("corrections").ROWS:
        settings = SamplingConfig(
            steps=steps, corrections=corrections, correction_share=share, correction_steps=iterations
        )
        assert settings.iterations == 16


def test_every_training_is_a_valid_config(paper: Callable[[str], Any], tmp_path: Path) -> None:
    """The files, with whatever the comparisons change."""
    merged, dump, read = paper("work").merged, paper("small").yaml_text.dump, paper("small").yaml_text.read_mapping
    path, base = tmp_path / "c.yaml", ROOT / "benchmarks" / "paper" / "generator.yaml"
    changed = [(base, each) for name in ("heads.HEADS", "attention.KINDS") for each in _of(paper, name).values()]
    clothes = [(base.with_name("clothes.yaml"), each) for each in _of(paper, "clothes.KINDS").values()]
    for file, changes in (*changed, *clothes):
        path.write_text(dump(merged(read(file), {"tokenizer": "scenes-64"}, changes, {"run": {"seed": 1}})))
        found = read_training(GeneratorTraining, config=path, resume=None, settings=[], default=GeneratorTraining(""))
        assert (found.run.seed, found.data.cache_codes) == (1, 1)
    for bits in paper("bits").BITS:
        path.write_text(dump(merged(read(base.with_name("tokenizer.yaml")), {"tokenizer": {"bits": bits}})))
        default = TokenizerTraining(CompactConfig(64, 24))
        tokenizer = read_training(TokenizerTraining, config=path, resume=None, settings=[], default=default)
        assert tokenizer.tokenizer.bits == bits


def test_the_table_shows_mean_and_spread_and_the_page_keeps_the_rest(paper: Callable[[str], Any]) -> None:
    comparison = paper("comparison")
    rows = [
        {"head": "flip", "repeats": [{"frechet": 1.0}, {"frechet": 3.0}]},
        {"head": "direct", "repeats": [{"frechet": 4.0}]},
    ]
    table = comparison.markdown(rows, [comparison.Column("frechet", "Fréchet"), comparison.Column("probe", "probe")])
    assert table.splitlines()[2:] == ["| flip | 2.0 ± 1.4 | — | 2 |", "| direct | 4.0 | — | 1 |"]
    page = "before\n<!-- heads -->\nold\n<!-- /heads -->\nafter"
    assert comparison.refreshed(page, "heads", table) == f"before\n<!-- heads -->\n{table}\n<!-- /heads -->\nafter"
    with pytest.raises(ValueError, match="orders"):
        comparison.refreshed(page, "orders", table)


def test_a_plot_leaves_out_what_a_row_lacks(paper: Callable[[str], Any], tmp_path: Path) -> None:
    plotting = paper("plotting")
    rows = [
        {"steps": 2, "repeats": [{"frechet": 1.0, "ms": 5.0}, {"frechet": 3.0, "ms": 6.0}]},
        {"steps": 4, "repeats": [{"frechet": 2.0, "ms": 9.0}]},
        {"steps": 8, "repeats": [{"ms": 9.0}]},
    ]
    kept = [(row, plotting._point(row, "frechet")) for row in rows if plotting._has(row, "frechet")]
    assert [(row["steps"], point[0], round(point[1], 3)) for row, point in kept] == [(2, 2.0, 1.414), (4, 2.0, 0.0)]
    panels = [
        plotting.Panel("steps", "frechet", "distance", "steps", logarithmic=True),
        plotting.Panel("ms", "frechet", "distance", "ms", label="steps", group="steps"),
    ]
    plotting.write_plot(tmp_path / "plot.png", rows, panels)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width > 600


def test_the_page_has_what_was_kept_of_every_comparison() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    kept = {path.stem: json.loads(path.read_text()) for path in (ROOT / "benchmarks/paper/results").glob("*.json")}
    assert set(kept) <= NAMES
    for name, results in kept.items():
        assert f"`{results['command'].strip()}`" in page.partition(f"<!-- {name} -->")[2].partition("<!-- /")[0]
        assert (ROOT / "docs" / "images" / f"paper-{name}.png").stat().st_size < 60_000
