"""Labels, licences, names of files and folders that hold control characters, in every command that prints them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bigr_cli import yaml_text

Run = Callable[..., Any]
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202ecat\x7f\r"
ACTS = set("\x1b\x07\x9b\u202e\x7f\r\u2066")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_DEVICE", "cpu")


@pytest.fixture
def evil(tmp_path: Path, tiny_model: Path) -> Path:
    """The tiny model with labels, licence and notes of a stranger."""
    folder = tmp_path / "evil"
    shutil.copytree(tiny_model, folder)
    config = yaml_text.read_mapping(folder / "config.yaml")
    config |= {"labels": [EVIL, f"dog\n99\tforged {EVIL}", "house", "tree"], "licence": EVIL}
    config["provenance"] |= {"data": EVIL, "notes": EVIL, "version": EVIL}
    (folder / "config.yaml").write_text(yaml_text.dump(config), encoding="utf-8")
    return folder


def shown(bigr: Run, *words: object, code: int = 0) -> str:
    done = bigr(*words)
    assert done.code == code, done.err
    assert not ACTS & set(done.out + done.err)
    return str(done.out + done.err)


def test_labels_and_licences(bigr: Run, evil: Path, home: Path) -> None:
    lines = shown(bigr, "models", "labels", evil).splitlines()
    assert len(lines) == 4 and lines[0].startswith("0\t\\x1b]0;owned\\x07")
    assert "\\u202e" in shown(bigr, "models", "labels", evil, "--search", "cat")
    assert "\\u202e" in shown(bigr, "generate", "nolabel", "-m", evil, code=2)
    shown(bigr, "models", "show", evil)
    for words in (("models", "show", evil, "--json"), ("models", "labels", evil, "--json")):
        assert all(isinstance(json.loads(line), dict) for line in bigr(*words).out.splitlines())
    (home / "models").mkdir()
    shutil.move(evil, home / "models" / "evil")
    for words in (("models", "list"), ("models", "list", "--json"), ("doctor",), ("models", "verify", "evil")):
        shown(bigr, *words)
    shown(bigr, "generate", EVIL, "-m", "evil", "--steps", 1, "--timesteps", 1, code=2)  # no recipe can name it
    made = shown(bigr, "generate", "house", "-m", "evil", "--steps", 1, "--timesteps", 1, "--json")
    path = json.loads(next(line for line in made.splitlines() if line.startswith("{")))["path"]
    assert not ACTS & set(path)
    fast = ("-m", "evil", "--steps", 1, "--timesteps", 1)
    shown(bigr, "edit", path, "--class", "2", *fast, "-o", "e.png", "-v")
    shown(bigr, "interpolate", EVIL, "house", *fast, "--frames", 2, "-o", "i.png", code=2)


def test_names_of_files_and_folders(bigr: Run, tiny_model: Path) -> None:
    folder = Path(f"d{EVIL}")
    for name in (EVIL, f"b{EVIL}"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), (number * 80, 90, 20)).save(folder / name / f"{number}{EVIL}.png")
        (folder / name / f"broken{EVIL}.png").write_bytes(b"no image")
        (folder / name / f"skipped{EVIL}.xyz").write_bytes(b"")
    model = ("-m", tiny_model)
    fast = ("--steps", 1, "--timesteps", 1)
    one = folder / EVIL / f"0{EVIL}.png"
    shown(bigr, "embed", folder, "--recursive", *model, "-o", "x.npz", code=1)
    shown(bigr, "search", one, "--index", "x.npz", *model)
    shown(bigr, "info", folder / EVIL, code=2)
    shown(bigr, "info", one, code=2)
    shown(bigr, "inpaint", folder, "--recursive", "--mask-box", "0,0,4,4", *model, *fast, "-o", "out", code=1)
    shown(bigr, "inpaint", one, "--mask-box", "0,0,4,4", *model, *fast, "-o", f"out{EVIL}/x.png", "-v")
    shown(bigr, "enrich", folder / "missing", *model, code=2)
    shown(bigr, "evaluate", "generation", folder / EVIL, "--reference", folder / EVIL, "--features", "scenes", code=2)
    shown(bigr, "train-tokenizer", "--data", folder, "-o", f"run{EVIL}", "run.steps=1", f"data.{EVIL}=1", code=2)
    shown(bigr, f"no-{EVIL}-command", code=2)
    shown(bigr, "generate", f"--{EVIL}", code=2)
    shown(bigr, "generate", "cat", "--recipe", one, code=2)
    shown(bigr, "models", "show", f"m{EVIL}", code=2)
    shown(bigr, "models", "import", "--tokenizer", one, "--generator", one, "--name", f"x{EVIL}", code=2)
    shown(bigr, "info", one, "--debug", code=2)
