"""Everything from Python: the script of docs/python.md, images in all forms, recipes, and the commands' own results."""

import inspect
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bigr_cli
from bigr_cli.app import build
from bigr_cli.errors import ImageError, ModelError, UsageError
from bigr_cli.evaluation import from_python as evaluations
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.registry import discover
from bigr_cli.representation.probe_files import load_probe
from bigr_cli.training import from_python

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SCRIPT = next(text for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
SMALL = (
    *("tokenizer.channels=[16]", "tokenizer.encoder_blocks=[0]", "tokenizer.decoder_blocks=[0]"),
    *("tokenizer.bits=6", "tokenizer.attention_heads=2", "generator.layers=1", "generator.heads=2", "generator.dim=16"),
    *("generator.transcoder_width=16", "generator.transcoder_layers=1", "generator.diffusion_timesteps=8"),
    *("sampling.steps=2", "sampling.timesteps=3", "data.workers=0", "run.batch=4", "run.precision=float32"),
)
FAST: dict[str, Any] = {"steps": 2, "timesteps": 2, "seed": 3}
WORDS = ("--steps", 2, "--timesteps", 2, "--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> bigr_cli.Model:
    return bigr_cli.load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight images: dark ones and light ones."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(16):
        path = folder / ("dark", "light")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(number % 2 * 128, number % 2 * 128 + 128, (16, 16, 3), dtype=np.uint8)).save(path)
    return folder


def levels(image: Image.Image) -> list[int]:
    return np.asarray(image).ravel().tolist()


def test_every_task_in_one_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert len(SCRIPT.splitlines()) <= 60
    script = tmp_path / "every_task.py"
    script.write_text(SCRIPT, encoding="utf-8")
    least = partial(from_python.train, settings=SMALL)  # a network that two steps of which take a second
    monkeypatch.setattr(from_python, "train", least)
    monkeypatch.setattr(sys, "argv", ["every_task.py", str(tmp_path / "out")])
    result = runpy.run_path(str(script), run_name="__main__")
    assert result["edited"].info["familiarity"]["unfamiliar"] is False
    assert "familiarity" not in result["cats"][0].info
    assert "2 variants; 4 frames" in capsys.readouterr().out
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "inpaint.png",
        "outpaint.png",
        "edit.png",
        "enrich.png",
        "own.png",
        "index.npz",
        "probe.safetensors",
    } <= made
    assert read_metadata(tmp_path / "out" / "edit.png").options["class"] == "bird"


@pytest.mark.slow
def test_types_of_a_users_script(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(SCRIPT, encoding="utf-8")
    bad = ("model.generate('cat', size=3).copyright", "model.edit('a.png', 'cat').append(1)", "model.embed([]).nothing")
    wrong.write_text("import bigr_cli\nmodel = bigr_cli.load()\n" + "\n".join(bad) + "\n", encoding="utf-8")

    def checked(script: Path) -> Any:
        words = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
        command = [sys.executable, "-m", "mypy", *words, str(script)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked(right).returncode == 0, checked(right).stdout
    found = checked(wrong).stdout
    assert [f"wrong.py:{line}: error" in found for line in (3, 4, 5)] == [True, True, True], found


def test_images_in_all_forms_are_the_same_image(model: bigr_cli.Model, photos: Path) -> None:
    path = photos / "dark" / "00.png"
    image = Image.open(path).convert("RGB")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    forms = [path, str(path), image, array, array / 255, array.astype(np.float32) / 255, tensor, tensor.float() / 255]
    one = model.edit(image, "cat", **FAST)
    assert isinstance(one, bigr_cli.MadeImage) and one.size == (16, 16)
    for form in forms:
        made = model.edit(form, "cat", **FAST)
        assert isinstance(made, bigr_cli.MadeImage) and levels(made) == levels(one)
    several = model.edit(tuple(forms), "cat", batch_size=3, **FAST)
    assert [levels(made) for made in several] == [levels(one)] * len(forms)
    for batch in (np.stack([array, array]), torch.stack([tensor, tensor]).double() / 255):
        assert [levels(made) for made in model.edit(batch, "cat", **FAST)] == [levels(one)] * 2
    assert len(model.edit(image, "cat", count=2, **FAST)) == 2
    for grey in (array[..., 0], array[..., :1], torch.from_numpy(array[..., 0].copy())[None], array[..., 0] > 60):
        assert model.enrich(grey, **FAST).mode == "L"
    assert model.enrich(np.dstack([array, array[..., 0]]), **FAST).mode == "RGBA"
    codes = model.encode([image, path])
    assert torch.equal(codes[0], codes[1]) and codes.shape == (2, 16, 6)
    assert torch.equal(model.encode(array)[0], codes[0])
    assert levels(model.reconstruct(path)) == levels(model.decode(codes)[0])
    assert [each.size for each in model.reconstruct([array, image.resize((40, 20))])] == [(16, 16)] * 2
    assert np.array_equal(model.embed(path), model.embed([array]))
    assert model.embed(tensor.float() / 255).shape == (1, 16)


@pytest.mark.parametrize("wrong", [None, 3, b"abc", {"a": 1}, object(), [None], [b"abc"], {"a.png"}])
def test_anything_else_is_a_type_error(model: bigr_cli.Model, wrong: Any) -> None:
    calls: list[Callable[[Any], Any]] = [
        *(model.inpaint, model.outpaint, model.enrich, model.encode, model.reconstruct, model.embed),
        *(lambda image: model.edit(image, "cat"), lambda image: model.interpolate([image, object()])),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="expected a PIL image, a path, an array"):
            call(wrong)


def test_arrays_that_are_no_image(model: bigr_cli.Model) -> None:
    for wrong, message in (
        (np.zeros((4, 4, 7), np.uint8), "got the shape (4, 4, 7)"),
        (np.zeros((0, 4, 3), np.uint8), "got the shape (0, 4, 3)"),
        (np.full((4, 4), 200.0), "expected floats from 0 to 1, got 200 to 200"),
        (np.full((4, 4), np.nan), "expected floats from 0 to 1, got nan"),
        (np.zeros((4, 4), np.int64), "expected uint8, bool or floats from 0 to 1, got int64"),
        (torch.zeros(7, 4, 4), "tensor: expected (H, W) or up to four channels, got the shape (7, 4, 4)"),
    ):
        with pytest.raises(ImageError, match=re.escape(message)):
            model.enrich(wrong)
    with pytest.raises(UsageError, match=r"there is no such file|cannot be read"):
        model.enrich("missing.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif"])
def test_what_is_saved_carries_its_recipe(model: bigr_cli.Model, tmp_path: Path, suffix: str) -> None:
    (image,) = model.generate("dog", seed=7, steps=2)
    assert json.loads(image.info["bigr"])["seed"] == 7
    for number, save in enumerate((image.save, partial(bigr_cli.save, image.copy()))):
        path = tmp_path / f"{number}.{suffix}"
        save(path)
        recipe = read_metadata(path)
        assert (recipe.task, recipe.labels, recipe.seed, recipe.sampling.steps) == ("generate", ("dog",), 7, 2)
    with pytest.raises(UsageError, match="exists already"):
        bigr_cli.save(image, path)


def test_the_command_in_a_recipe_makes_the_same_image(
    model: bigr_cli.Model, bigr: Run, photos: Path, tmp_path: Path
) -> None:
    path, mask = photos / "light" / "01.png", tmp_path / "mask.png"
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(mask)
    made = {
        "generate": model.generate("tree", negative="cat", **FAST)[0],
        "inpaint": model.inpaint(path, mask, label="house", mask_grow=1, **FAST),
        "boxes": model.inpaint(path, mask_box=[(0, 0, 4, 4), "8,8,4,4"], **FAST),
        "outpaint": model.outpaint(path, right=8, left="25%", blend="none", **FAST),
        "edit": model.edit(path, "dog", from_label="cat", strength=0.5, **FAST),
        "enrich": model.enrich(path, scale=2, passes=2, **FAST),
        "interpolate": model.interpolate(["cat", "dog"], frames=3, loop=True, **FAST)[0],
    }
    for name, image in made.items():
        image.save(tmp_path / f"{name}.png")
        shown = bigr("info", tmp_path / f"{name}.png").out.splitlines()[-1]
        again = tmp_path / f"{name}-again.png"
        words = shlex.split(shown)
        done = bigr(*words[1 : words.index("-o")], "-o", again)
        assert done.code == 0, done.err
        repeated = Image.open(again).crop((0, 0, *image.size)) if name == "interpolate" else Image.open(again)
        assert levels(repeated) == levels(image), name
    hidden = model.inpaint(path, np.eye(16), **FAST)
    assert json.loads(hidden.info["bigr"])["options"] == {"image": str(path), "mask-in-memory": True}


def test_features_search_and_classes_are_those_of_the_commands(
    model: bigr_cli.Model, bigr: Run, photos: Path, tmp_path: Path
) -> None:
    both = ("-m", model.folder, "--device", "cpu", "--dtype", "float32")
    assert bigr("embed", photos, "-o", tmp_path / "one.npz", *both).code == 0
    rows = model.embed(photos, output=tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert rows.labels == ["dark"] * 8 + ["light"] * 8 and not rows.failed
    with pytest.raises(UsageError, match="exists already"):
        model.embed(photos, output=tmp_path / "two.npz")
    with pytest.raises(TypeError, match="names of files and folders, got MadeImage"):
        model.embed(model.generate("cat", steps=1), output=tmp_path / "three.npz")
    index = bigr_cli.read_index(tmp_path / "two.npz")
    found = model.search(photos / "dark" / "00.png", index, count=3)
    shown = bigr("search", photos / "dark" / "00.png", "--index", tmp_path / "one.npz", "-n", 3, "--json", *both[2:])
    records = [json.loads(line) for line in shown.out.splitlines()]
    assert [each.record() for each in found] == [{key: row[key] for key in found[0].record()} for row in records]

    saved = ("--save", tmp_path / "one.safetensors", "--json")
    record = json.loads(bigr("evaluate", "probe", "--data", photos, *saved, *both).out)
    probed = model.probe(photos, save=tmp_path / "two.safetensors")
    assert probed.record() == {key: record[key] for key in probed.record()}
    kept = [load_probe(tmp_path / name) for name in ("one.safetensors", "two.safetensors")]
    assert np.array_equal(kept[0].weight, kept[1].weight) and kept[0].about == kept[1].about
    shown = bigr("classify", photos, "--probe", tmp_path / "one.safetensors", "--json", *both[2:])
    records = [json.loads(line) for line in shown.out.splitlines()]
    paths = [row["path"] for row in records]
    classes = model.classify(paths, probed.classifier(model), batch_size=5)
    assert [(each.path, each.label, round(each.probability, 6)) for each in classes] == [
        (row["path"], row["label"], row["probability"]) for row in records
    ]
    with pytest.raises(ModelError, match="whose weights are not those of scenes-64"):
        bigr_cli.load("scenes-64", device="cpu").search(paths[0], tmp_path / "one.npz")


def test_evaluations_are_those_of_the_commands(model: bigr_cli.Model, bigr: Run, photos: Path, tmp_path: Path) -> None:
    both = ("-m", model.folder, "--dtype", "float32", "--features", model.folder, "--json", "--device", "cpu")
    settings = {"steps": 2, "timesteps": 2, "features": model.folder, "count": 12, "seed": 5}
    shown = bigr("evaluate", "generation", "--reference", photos, *WORDS[:4], "-n", 12, "--seed", 5, *both)
    record = model.evaluate_generation(photos, npz=tmp_path / "samples.npz", **settings)
    theirs = json.loads(shown.out)
    assert record["frechet_inception_distance"] > 0
    assert {**theirs, "task": 0, "seconds": 0} == json.loads(json.dumps({**record, "task": 0, "seconds": 0}))
    assert np.load(tmp_path / "samples.npz")["arr_0"].shape == (12, 16, 16, 3)
    with pytest.raises(UsageError, match="exists already"):
        model.evaluate_generation(photos, npz=tmp_path / "samples.npz", **settings)
    with pytest.raises(UsageError, match="holds images already"):
        model.evaluate_generation(photos, images=photos, steps=2)
    same = model.evaluate_generation(photos, images=photos, features=model.folder, metrics="fid")
    assert abs(same["frechet_inception_distance"]) < 1e-3

    shown = bigr("evaluate", "reconstruction", model.folder, "--data", photos, *both[4:])
    record = model.evaluate_reconstruction(photos, features=model.folder)
    assert {**json.loads(shown.out), "task": 0, "seconds": 0} == {**record, "task": 0, "seconds": 0}


# What is a method's receiver, its result in memory, or Python's own, has no option; the values are what help says.
_NAMED = {
    "generate": ("generate", {"labels", "progress", "sampling"}),
    "inpaint": ("inpaint", {"image", "options"}),
    "outpaint": ("outpaint", {"image", "options"}),
    "edit": ("edit", {"image", "options", "label"}),
    "enrich": ("enrich", {"image", "options"}),
    "interpolate": ("interpolate", {"stops", "options", "progress"}),
    "embed": ("embed", {"images", "progress"}),
    "search": ("search", {"query"}),
    "classify": ("classify", {"images"}),
    "probe": ("evaluate probe", {"progress"}),
}


def test_arguments_are_called_as_options(model: bigr_cli.Model) -> None:
    whole: Any = build(discover())

    def options(name: str) -> set[str]:
        command = whole
        for word in name.split():
            command = command.commands[word]
        return {word.strip("-").replace("-", "_") for option in command.params for word in option.opts}

    def arguments(function: Any, known: set[str]) -> set[str]:
        return set(inspect.signature(function).parameters) - known - {"self", "model"}

    for method, (name, known) in _NAMED.items():
        function = bigr_cli.Model.generate_iter if method == "generate" else getattr(bigr_cli.Model, method)
        assert arguments(function, known | {"files"}) <= options(name), method
    told = {"progress", "sampling", "images"}
    assert arguments(evaluations.generation, told) <= options("evaluate generation")
    assert arguments(evaluations.reconstruction, told) <= options("evaluate reconstruction")
    assert arguments(bigr_cli.train, {"images", "from_model", "settings"}) <= options("train")
    assert arguments(bigr_cli.pull_model, set()) <= options("models pull")
    assert arguments(bigr_cli.load, {"name_or_dir"}) <= options("generate")


def test_progress_is_shown_when_asked_for(model: bigr_cli.Model, photos: Path, capsys: Any) -> None:
    seen: list[tuple[float, float]] = []

    def note(done: float, total: float) -> None:
        seen.append((round(done, 6), total))

    for call, total in (
        (partial(model.generate, "cat", count=3, steps=2), 3),
        (partial(model.enrich, [photos / "dark" / "00.png"] * 2, steps=2), 2),
        (partial(model.interpolate, ["cat", "dog"], frames=4, steps=2), 4),
        (partial(model.embed, [photos / "dark" / "00.png"] * 5), 5),
        (partial(model.evaluate_reconstruction, photos, features=model.folder), 16),
    ):
        call(progress=note)
        assert seen[-1] == (total, total) and seen == sorted(seen)
        seen.clear()
    capsys.readouterr()
    model.generate("cat", steps=2)
    assert capsys.readouterr().err == ""
    model.generate("cat", steps=2, progress=True)
    assert "generating" in capsys.readouterr().err


def test_arguments_that_there_are_not(model: bigr_cli.Model, photos: Path, tmp_path: Path) -> None:
    for call, message in (
        (partial(model.generate, "cat", gidance=2), "generate: has no argument 'gidance'; did you mean guidance"),
        (partial(model.enrich, photos / "dark" / "00.png", foo=1), "enrich: has no argument 'foo'"),
        (partial(bigr_cli.train, photos, tmp_path / "run", size="huge"), "unknown size 'huge'"),
        (partial(bigr_cli.train, photos, tmp_path / "run", steps=0), "steps: expected at least 1, got 0"),
        (partial(bigr_cli.train, photos, tmp_path / "run", time=-3), "time: expected seconds above 0, got -3"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            call()
    assert not (tmp_path / "run").exists()
    away = model.generate("cat", negative="dog", guidance=3, **FAST)
    assert levels(model.generate("cat", negative_prompt="dog", guidance_scale=3, **FAST)[0]) == levels(away[0])


def test_a_model_shows_itself(model: bigr_cli.Model) -> None:
    assert repr(model) == "<Model tiny, 16 px, 16 tokens of 6 bits, 4 labels, 0.0 M parameters, cpu in float32>"
    assert "<tr><th>labels</th><td>cat, dog, house, tree</td></tr>" in model._repr_html_()


def test_models_by_name(tiny_model: Path, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "mine").symlink_to(tiny_model)
    entry = bigr_cli.list_models()[0]
    assert (entry.name, entry.state, entry.config and entry.config.name) == ("mine", "ready", "tiny")
    with pytest.raises(UsageError, match="dtype: expected float16, bfloat16, float32, got 'int8'"):
        bigr_cli.pull_model("bigr-l-d24", dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected the name of a model"):
        bigr_cli.pull_model("not/a/repository")
