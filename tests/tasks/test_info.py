import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bigr_cli.imaging.metadata import read_metadata

Run = Callable[..., Any]
SETTINGS = (
    *(
        "--steps",
        3,
        "--timesteps",
        2,
        "--guidance",
        3.3,
        "--guidance-schedule",
        "cosine",
        "--guidance-interval",
        "0.1,0.9",
    ),
    *("--order", "confidence", "--gumbel", 0.7, "--gumbel-schedule", "up", "--temperature", 1.1),
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    monkeypatch.setenv("BIGR_DEVICE", "cpu")


@pytest.fixture
def named(home: Path, tiny_model: Path) -> str:
    """The tiny model by name."""
    (home / "models").mkdir(parents=True)
    (home / "models" / "tiny").symlink_to(tiny_model)
    return "tiny"


def command_of(shown: str) -> list[str]:
    program, *words = shlex.split(next(line for line in shown.splitlines() if line.startswith("bigr ")))
    assert program == "bigr"
    return words


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("x.png", "float32"),
        ("a name with 'quotes' & {braces}.webp", "float32"),
        ("-x.gif", "float32"),
        ("x.jpg", "bfloat16"),
        ("x.tiff", "float16"),
    ],
)
def test_the_command_makes_the_same_file(
    bigr: Run, named: str, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = name.replace("{", "{{").replace("}", "}}")
    words = ("-m", named, "--seed", 7, "--dtype", dtype, *SETTINGS, "-o", f"./{target}")
    assert bigr("generate", "tree", *words).code == 0
    shown = bigr("info", "--", name)
    assert (shown.code, shown.err) == (0, "")
    monkeypatch.chdir("../second")
    monkeypatch.setenv("BIGR_STEPS", "1")
    assert bigr(*command_of(shown.out)).code == 0
    assert Path(name).read_bytes() == Path("../first", name).read_bytes()


def test_an_image_of_many_is_made_again_alone(bigr: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bigr("generate", "cat", "dog", "none", "-n", 3, "-m", tiny_model).code == 0
    names = sorted(str(path) for path in Path().iterdir())
    commands = [command_of(bigr("info", name).out) for name in names]
    monkeypatch.chdir("../second")
    for name, words in zip(names, commands, strict=True):
        assert bigr(*words).code == 0
        assert Path(name).read_bytes() == Path("../first", name).read_bytes()


def test_sheets_are_made_again(bigr: Run, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets = ("--grid", "g.png", "--columns", 3, "--captions", "--steps-preview", "s.gif")
    assert bigr("generate", "cat", "dog", "-n", 2, "-m", named, *sheets).code == 0
    commands = {name: command_of(bigr("info", name).out) for name in ("g.png", "s.gif")}
    monkeypatch.chdir("../second")
    for name, words in commands.items():
        assert bigr(*words, "--overwrite").code == 0
        assert Path(name).read_bytes() == Path("../first", name).read_bytes()


def test_what_is_shown(bigr: Run, named: str) -> None:
    assert bigr("generate", "cat", "--seed", 7, "-m", named, "--dtype", "float32", *SETTINGS).code == 0
    lines = bigr("info", "cat-7.png").out.splitlines()
    assert lines[0] == "cat-7.png"
    rows = dict(line.strip().split("  ", 1) for line in lines[1:-2])
    rows = {name: value.strip() for name, value in rows.items()}
    assert (rows["task"], rows["model"], rows["label"], rows["seed"]) == ("generate", "tiny", "cat", "7")
    assert (rows["guidance"], rows["guidance interval"], rows["order"]) == ("3.3", "0.1, 0.9", "confidence")
    assert rows["made on"].startswith("cpu in float32, by bigr ")


def test_json(bigr: Run, named: str) -> None:
    assert bigr("generate", "cat", "dog", "--seed", 7, "-m", named).code == 0
    shown = bigr("info", "cat-7.png", "dog-8.png", "--json")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["path"] for line in lines] == ["cat-7.png", "dog-8.png"]
    assert [line["label"] for line in lines] == ["cat", "dog"]
    assert lines[0]["recipe"] == read_metadata(Path("cat-7.png")).to_dict()
    assert shlex.split(lines[0]["command"])[:3] == ["bigr", "generate", "cat"]
    Path("r.json").write_text(shown.out.splitlines()[1])
    assert "bigr generate dog --seed 8" in bigr("info", "r.json").out


def test_folders_patterns_and_stdin(bigr: Run, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bigr("generate", "cat", "dog", "--seed", 9, "-m", named, "-o", "made/").code == 0
    for word in ("made", "made/*.png", "made/**"):
        lines = [json.loads(line) for line in bigr("info", word, "--json").out.splitlines()]
        assert [line["path"] for line in lines] == ["made/cat-9.png", "made/dog-10.png"]
    piped = Path("made/cat-9.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
    shown = bigr("info", "-")
    assert shown.code == 0 and shown.out.startswith("stdin\n")
    monkeypatch.chdir("../second")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert bigr(*command_of(shown.out)[:-2], "-o", "again.png").code == 0
    assert command_of(shown.out)[-2:] == ["-o", "-"]
    assert Path("again.png").read_bytes() == piped
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    empty = bigr("info", "-")
    assert empty.code == 2 and "error: stdin: is empty" in empty.err


def test_a_model_that_is_not_here_is_warned_about(bigr: Run, tiny_model: Path) -> None:
    assert bigr("generate", "cat", "--seed", 7, "-m", tiny_model).code == 0
    recipe = read_metadata(Path("cat-7.png")).to_dict() | {"folder": None, "model": "gone"}
    Path("r.json").write_text(json.dumps(recipe))
    shown = bigr("info", "r.json")
    assert shown.code == 0
    assert shown.err == "warning: r.json: no model here has the weights that it was made with\n"
    assert "-m gone" in shown.out


def test_files_without_recipe(bigr: Run, named: str) -> None:
    Image.new("RGB", (4, 4)).save("plain.png")
    Path("text.txt").write_text("hello")
    Path("none").mkdir()
    for name, message in (
        ("plain.png", "plain.png: holds no recipe"),
        ("text.txt", "text.txt: is not an image"),
        ("missing.png", "missing.png: there is no such file"),
        (".", "plain.png: holds no recipe"),
        ("none/", "none: there are no images in this folder"),
        ("*.gif", "*.gif: no images fit this pattern"),
    ):
        shown = bigr("info", name)
        assert (shown.code, shown.out) == (2, "")
        first, *others = [line for line in shown.err.splitlines() if "passed over" not in line]
        assert first.startswith(f"error: {message}")
        assert all(line.startswith("hint: ") for line in others)
    assert bigr("info", "plain.png", "text.txt").code == 2
    shown = bigr("info", "plain.png", "missing.png")
    assert shown.code == 2 and "error: missing.png: cannot be read" in shown.err
    assert bigr("generate", "cat", "--seed", 7, "-m", named).code == 0
    shown = bigr("info", "plain.png", "cat-7.png")
    assert shown.code == 1
    assert shown.out.startswith("cat-7.png\n")
    assert shown.err.splitlines()[-1] == "error: 1 of 2 files have no recipe to show"


def test_no_file_is_wrong_usage(bigr: Run) -> None:
    assert bigr("info").code == 2
