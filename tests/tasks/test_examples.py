"""The examples that `--help` shows: all of them are read as they should be, and those that take a moment are run."""

import glob
import io
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bigr_cli.app import build, main
from bigr_cli.core.network import Generator
from bigr_cli.data.scenes import LABELS, scene
from bigr_cli.registry import discover
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.folder import load_tokenizer, save_model

EXAMPLES = [(task.path, example) for task in discover().tasks.values() for example in task.examples]
RUN = {
    ("edit",),
    ("inpaint",),
    ("outpaint",),
    ("enrich",),
    ("interpolate",),
    ("embed",),
    ("info",),
    ("tasks",),
    ("generate",),
}
RUN |= {("search",), ("models", "list"), ("models", "labels"), ("models", "default")}
NEEDED = {".parquet": "pyarrow"}  # what not everyone has

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with the files that examples name, and `model`, which knows the labels of the scenes."""
    place = tmp_path_factory.mktemp("examples")
    torch.manual_seed(0)
    config = read_config(tiny_model)
    generator = Generator(replace(config.generator, classes=len(LABELS)))
    for parameter in generator.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4
    config = replace(config, name="scenes-64", labels=LABELS, generator=generator.config, sha256={})
    save_model(place / "model", config, load_tokenizer(tiny_model)[0], generator)
    image, _ = scene(0, 0, 64)
    for name in ("scene", "blurred", "small", "sharp", "cat", "cat-7", "a", "b"):
        image.save(place / f"{name}.png")
    mask = Image.new("L", image.size)
    mask.paste(255, (20, 20, 40, 40))
    mask.save(place / "mask.png")
    clear = image.convert("RGBA")
    clear.putalpha(mask.point(lambda level: 255 - level))
    for folder in (
        "photos/train/cat",
        "photos/train/tree",
        "photos/val/cat",
        "photos",
        "data",
        "in",
        "samples",
        "pictures",
    ):
        (place / folder).mkdir(parents=True, exist_ok=True)
        scene(0, 1, 64)[0].save(place / folder / "1.png")
        scene(0, 2, 64)[0].save(place / folder / "2.jpg")
    (place / "holes").mkdir()
    clear.save(place / "holes" / "1.png")
    (place / "jobs.jsonl").write_text(json.dumps({"image": "scene.png", "mask": "mask.png", "seed": 7}) + "\n")
    (place / "paths.jsonl").write_text(json.dumps({"stops": ["cat", "bird"]}) + "\n")
    (place / "texts.txt").write_text("a boat\na house\n")
    for name in ("tokenizer.yaml", "inception.pth", "bae.th", "bigr_L_d24.pt", "mine.pt"):
        (place / name).write_text("")
    return place


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BIGR_MODEL", str(folder / "model"))
    return folder


def words_of(example: str) -> list[str]:
    """The arguments of `bigr` in an example, without what the shell does."""
    program, *words = shlex.split(example.rpartition(" | ")[2].partition(" > ")[0], comments=True)
    assert program == "bigr"
    return words


def expanded(words: list[str]) -> list[str]:
    """As a shell expands patterns."""
    return [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else []) or [word]]


def test_every_command_that_makes_something_has_examples() -> None:
    assert len(EXAMPLES) > 60
    assert sum(path == ("generate",) for path, _ in EXAMPLES) >= 4
    assert {path for path, _ in EXAMPLES} >= RUN


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_an_example_is_read(path: tuple[str, ...], example: str) -> None:
    words = words_of(example)
    assert tuple(words[: len(path)]) == path
    command: Any = build(discover())
    for name in path:
        command = command.commands[name]
    command.make_context(" ".join(path), words[len(path) :])


@pytest.mark.parametrize("example", [example for path, example in EXAMPLES if path in RUN and " | " not in example])
def test_an_example_runs(
    example: str, place: Path, home: Path, tiny_text_model: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = words_of(example)
    (home / "models").mkdir(parents=True)
    (home / "models" / "scenes-64-text").symlink_to(tiny_text_model)
    if Path(words[-1]).suffix in NEEDED:
        pytest.importorskip(NEEDED[Path(words[-1]).suffix])
    if words[0] == "search":  # among the features that other examples make
        kinds = {"photos.npz": ["photos/"], "codes.safetensors": ["photos/", "--pool", "codes"]}
        index = words[words.index("--index") + 1]
        assert main(["embed", *kinds.get(index, ["scenes", "--count", "9"]), "--recursive", "-o", index]) == 0
    if words[0] == "embed" and words[1] == "scenes":
        words[words.index("--count") + 1] = "9"
    if words[:2] == ["models", "default"]:
        (home / "models" / words[2]).symlink_to(place / "model")
    if "--layer" in words:  # blocks of a larger model
        words[words.index("--layer") + 1] = "0,1"
    if words[0] == "info":
        for name in ("cat-7.png", "images/1.png"):
            assert main(["generate", "cat", "-o", name, "--overwrite"]) == 0
    before = set(place.rglob("*"))
    assert main(expanded(words)) == 0, example
    if words[-2:] == ["-o", "-"]:
        assert Image.open(io.BytesIO(capfdbinary.readouterr().out)).size == (16, 16)
    elif words[0] not in {"info", "tasks", "models", "search"}:
        assert set(place.rglob("*")) > before, example
