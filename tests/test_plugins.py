"""The example plugin and a broken one, installed beside the package in a folder of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "bigr-plugin-hello"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package installed by pip."""
    target = tmp_path_factory.mktemp("plugins")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(EXAMPLE)], check=True, timeout=300)
    return target


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a package, as pip leaves it, whose module fails to import."""
    information = tmp_path / "bigr_plugin_broken-0.3.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bigr-plugin-broken\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text("[bigr.tasks]\nbroken = bigr_plugin_broken\n")
    (tmp_path / "bigr_plugin_broken.py").write_text("import a_module_that_nobody_has\n")
    return tmp_path


def beside(*folders: Path, **variables: str) -> dict[str, str]:
    """The environment in which packages in these folders count as installed."""
    return {"PYTHONPATH": os.pathsep.join(map(str, folders)), "BIGR_PLUGINS": "palette,broken", **variables}


def test_the_example_is_a_command(bigr_process: Run, installed: Path, tmp_path: Path) -> None:
    environment = beside(installed)
    shown = bigr_process("--help", env=environment)
    assert (shown.code, shown.err) == (0, "")
    assert "palette" in shown.out
    assert "Plugins" in shown.out
    lines = [json.loads(line) for line in bigr_process("tasks", "--json", env=environment).out.splitlines()]
    assert lines[-1]["task"] == "palette"
    assert (lines[-1]["package"], lines[-1]["version"]) == ("bigr-plugin-hello", "0.1.0")
    assert "bigr-plugin-hello 0.1.0" in bigr_process("tasks", env=environment).out

    image = Image.new("RGB", (8, 4), "red")
    image.paste("blue", (0, 0, 2, 4))
    image.save(tmp_path / "image.png")
    shown = bigr_process("palette", tmp_path / "image.png", "--json", env=environment)
    found = [json.loads(line) for line in shown.out.splitlines()]
    assert [(line["color"], line["share"]) for line in found] == [("#ff0000", 0.75), ("#0000ff", 0.25)]
    shown = bigr_process("palette", tmp_path / "none.png", env=environment)
    assert shown.code == 2
    assert shown.err.startswith("error: cannot read ")


def test_a_broken_plugin_costs_one_line(bigr_process: Run, installed: Path, broken: Path) -> None:
    environment = beside(installed, broken)
    for words in (["tasks"], ["--help"], ["palette", "--help"], ["doctor", "--json"]):
        shown = bigr_process(*words, env=environment)
        assert shown.code == 0
        (line,) = shown.err.splitlines()
        assert line.startswith("warning: plugin 'broken' (bigr-plugin-broken 0.3) is left out: ModuleNotFoundError")
    assert "Traceback" in bigr_process("tasks", "--debug", env=environment).err


def test_plugins_can_be_left_out(bigr_process: Run, installed: Path, broken: Path) -> None:
    shown = bigr_process("tasks", env=beside(installed, broken, BIGR_PLUGINS="none"))
    assert (shown.code, shown.err) == (0, "")
    assert "palette" not in shown.out
    shown = bigr_process("tasks", env=beside(installed, broken, BIGR_PLUGINS="bigr-plugin-hello"))
    assert shown.err == ""
    assert "palette" in shown.out


def test_a_plugin_cannot_take_a_name_that_is_taken(bigr_process: Run, broken: Path) -> None:
    source = "from bigr_cli.registry import task\n@task('doctor', help='Mine.')\ndef doctor() -> None: ...\n"
    (broken / "bigr_plugin_broken.py").write_text(source)
    shown = bigr_process("tasks", env=beside(broken))
    assert shown.code == 0
    assert len(shown.err.splitlines()) == 1
    assert "'doctor' is registered already, by bigr-cli" in shown.err
    assert "Mine." not in shown.out
