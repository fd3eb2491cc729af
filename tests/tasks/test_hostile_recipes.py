"""Recipes that somebody else made: they set how an image is painted, and nothing else."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bigr_cli import recipe as recipes
from bigr_cli import yaml_text
from bigr_cli.editing import requests
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.options import groups as option_groups
from bigr_cli.setting import parameters

Run = Callable[..., Any]
TITLE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, tiny_model: Path) -> None:
    """In an empty folder, on the CPU; the tiny model has a name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    (home / "models").mkdir(parents=True)
    shutil.copytree(tiny_model, home / "models" / "tiny")


@pytest.fixture
def made(bigr: Run) -> dict[str, Any]:
    """The recipe of an image."""
    assert bigr("generate", "cat", "--seed", 7, "-m", "tiny", "--dtype", "float32").code == 0
    return read_metadata(Path("cat-7.png")).to_dict()


def written(**changes: Any) -> str:
    """A file with the recipe of cat-7.png, some of it changed."""
    Path("r.json").write_text(json.dumps(read_metadata(Path("cat-7.png")).to_dict() | changes))
    return "r.json"


def shown_command(text: str) -> list[str] | None:
    line = next((line for line in text.splitlines() if line.startswith("bigr ")), None)
    return None if line is None else shlex.split(line)


def impostor(folder: Path, name: str, **changes: str) -> Path:
    """A copy of the tiny model with other weights, whose config claims the old ones."""
    shutil.copytree(Path("home-of-tiny"), folder)
    config = yaml_text.read_mapping(folder / "config.yaml")
    (folder / "config.yaml").write_text(yaml_text.dump(config | {"name": name} | changes))
    weights = folder / "generator.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    return folder


def test_a_folder_counts_by_its_weights_and_not_by_what_its_config_claims(
    bigr: Run, made: dict[str, Any], tiny_model: Path
) -> None:
    Path("home-of-tiny").symlink_to(tiny_model)
    impostor(Path("evil"), "evil")
    for folder in ("evil", "./evil", str(Path("evil").absolute())):
        changes: dict[str, Any] = {"folder": folder}
        done = bigr("generate", "--recipe", written(**changes), "-o", "x.png", "--overwrite")
        assert done.code == 0
        assert done.err.startswith("tiny on cpu")
        assert "evil" not in bigr("info", "r.json").out.splitlines()[-1]
    for changes in ({"folder": "evil", "model": "gone"}, {"folder": None, "model": "evil"}, {"model": "./evil"}):
        refused = bigr("generate", "--recipe", written(**changes), "-o", "y.png")
        assert (refused.code, Path("y.png").exists()) == (2, False)
        assert refused.err.startswith("error: unknown model")
        broadcast = bigr("info", "r.json")
        assert "no model here has the weights" in broadcast.err
        assert "-m evil" not in broadcast.out and "-m ./evil" not in broadcast.out
    asked = bigr("generate", "--recipe", "r.json", "-m", "evil", "-o", "y.png")
    assert (asked.code, asked.err.startswith("evil on cpu")) == (0, True)


def test_a_folder_here_does_not_stand_in_for_the_model_of_that_name(
    bigr: Run, made: dict[str, Any], tiny_model: Path, home: Path
) -> None:
    Path("home-of-tiny").symlink_to(tiny_model)
    impostor(Path("tiny"), "evil")
    done = bigr("generate", "--recipe", written(), "-o", "x.png")
    assert done.code == 0 and done.err.startswith("tiny on cpu")
    command = shown_command(bigr("info", "cat-7.png").out) or []
    assert Path(command[command.index("-m") + 1]) == home / "models" / "tiny"


def test_a_folder_with_the_recipe_s_weights_is_used(bigr: Run, made: dict[str, Any], tiny_model: Path) -> None:
    shutil.copytree(tiny_model, "copy")
    done = bigr("generate", "--recipe", written(folder="copy", model="gone"), "-o", "x.png")
    assert done.code == 0 and "warning" not in done.err
    assert Path("x.png").read_bytes() != b""
    assert "-m copy" in bigr("info", "r.json").out


EVIL_OPTIONS = {
    "failures": "precious.txt",
    "output": "precious.txt",
    "o": "precious.txt",
    "overwrite": True,
    "report": "precious",
    "manifest": "precious.txt",
    "recipe": "precious.txt",
    "model": "evil",
    "watch": True,
    "fetch-weights": True,
    "invert-mask": ["-o", "precious.txt"],
    "mask-alpha": "precious.txt",
    "mask": {"-o": "precious.txt"},
    "class": True,
    "grid": "precious.txt",
    TITLE: "x",
    "mask-box": ["0,0,1,1", "--failures=precious.txt", "-o"],
    "blend": "$(touch precious2)`touch precious3`;touch precious4 #'\"\n touch precious5",
    "text": TITLE,
    "negative": "--failures=precious.txt",
}


@pytest.mark.parametrize("task", ["inpaint", "outpaint", "edit", "enrich", "interpolate", "generate"])
def test_no_option_that_writes_or_fetches_or_runs_is_printed(bigr: Run, made: dict[str, Any], task: str) -> None:
    subjects = {"image": "-o", "stops": ["--failures=a", "b"]}
    shown = bigr("info", written(task=task, options={**subjects, **EVIL_OPTIONS}, labels=["--failures=precious.txt"]))
    assert shown.code == 0
    assert not set("\x1b\x07\x9b\u202e") & set(shown.out + shown.err)
    line = next(line for line in shown.out.splitlines() if line.startswith("bigr "))
    options = line.partition(" -- ")[0]  # what follows are labels and images, whatever they look like
    for word in ("precious.txt", "--output", "--overwrite", "--report", "--manifest", "--recipe", "--watch", "--fetch"):
        assert f" {word} " not in f"{options} "
    assert " --failures" not in options
    assert "--grid" not in options and "-m evil" not in options
    assert "the command leaves out what no recipe may set: " in shown.err
    assert "failures" in shown.err and "overwrite" in shown.err
    again = subprocess.run(  # the shell makes one word of each, and runs nothing
        ["bash", "-c", f"bigr() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, check=True, cwd=Path.cwd()
    )
    words = again.stdout.decode().split("\0")[:-1]
    assert not list(Path().glob("precious*"))
    if task not in ("generate",):
        assert EVIL_OPTIONS["blend"] in words and TITLE in words
        assert "--mask-box=--failures=precious.txt" in words and "--mask-box=-o" in words


@pytest.mark.parametrize("task", ["models push", "train-tokenizer", "doctor", "embed; touch x", "data scenes", "hello"])
def test_there_is_no_command_for_other_tasks(bigr: Run, made: dict[str, Any], task: str) -> None:
    shown = bigr("info", written(task=task, options={"image": "a.png"}))
    assert (shown.code, shown_command(shown.out)) == (0, None)


def test_recipes_that_are_no_data_for_a_recipe(bigr: Run, made: dict[str, Any]) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    for changes in (
        {"options": {"deep": deep}},
        {"count": 10**9},
        {"count": 10**4000},
        {"sampling": {**made["sampling"], "steps": 10**9}},
        {"sampling": {**made["sampling"], "guidance": float("inf")}},
        {"options": {"x": float("nan")}},
        {"model": TITLE},
        {"folder": TITLE},
        {"device": TITLE},
        {"format": [1] * 100_000},
    ):
        for words in (("info", written(**changes)), ("generate", "--recipe", "r.json", "-o", "x.png")):
            failed = bigr(*words)
            assert (failed.code, "Traceback" in failed.err, Path("x.png").exists()) == (2, False, False)
            assert not set("\x1b\x07\x9b\u202e") & set(failed.err)
            assert len(failed.err) < 6000


def test_dtype_and_folders_of_a_recipe_are_checked(bigr: Run, made: dict[str, Any]) -> None:
    for changes in ({"dtype": "__import__"}, {"folder": "//host/share", "model": "gone"}, {"model": "x" * 5000}):
        failed = bigr("generate", "--recipe", written(**changes), "-o", "x.png")
        assert (failed.code, "Traceback" in failed.err, Path("x.png").exists()) == (2, False, False)


def test_escapes_in_weights_and_names_are_shown(bigr: Run, made: dict[str, Any]) -> None:
    shown = bigr("info", written(weights={TITLE: TITLE}, options={"shows": TITLE, "columns": True, TITLE: TITLE}))
    assert shown.code == 0
    assert "\\x1b]0;owned\\x07" in shown.out
    assert not set("\x1b\x07\x9b\u202e") & set(shown.out + shown.err)


def test_whatever_the_tasks_record_can_be_replayed() -> None:
    """Options of what is painted and how, which tasks record, against what a command is printed with."""
    names = {
        parameter.label
        for kind in requests.REQUESTS
        for parameter in parameters(kind)
        if parameter.path[0] != "sampling" and parameter.setting.panel != "Files"
    }
    assert names - {"image", "stops"} <= set(recipes.settable())
    written_or_run = {
        field.name.replace("_", "-")
        for group in (option_groups.Writing, option_groups.Batch, option_groups.Machine, option_groups.Run)
        for field in fields(group)
    } | {"save-passes"}
    written_or_run -= {"size"}  # of a network there, of a canvas here
    assert not written_or_run & set(recipes.settable())
