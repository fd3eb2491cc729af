"""`bigr evaluate probe` and `bigr classify` as their users meet them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

Run = Callable[..., object]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))


def colours(root: Path, classes: dict[str, tuple[int, int, int]], count: int) -> Path:
    """Images of one colour each, a little noisy: easy to tell apart."""
    rng = np.random.default_rng(len(str(root)))
    for name, colour in classes.items():
        folder = root / name
        folder.mkdir(parents=True)
        for index in range(count):
            levels = np.clip(np.array(colour) + rng.normal(size=(16, 16, 3)) * 10, 0, 255).astype(np.uint8)
            Image.fromarray(levels).save(folder / f"{index}.png")
    return root


RGB = {"red": (220, 20, 20), "green": (20, 200, 30), "blue": (30, 20, 230)}


def test_a_table_of_layers_and_baselines_and_a_classifier(bigr: Run, tmp_path: Path) -> None:
    colours(tmp_path / "train", RGB, 12)
    colours(tmp_path / "val", RGB, 4)
    done = bigr("evaluate", "probe", "--data", "train", "--test", "val", "--save", "p.safetensors", "--json")
    assert done.code == 0, done.err
    (line,) = map(json.loads, done.out.splitlines())
    assert (line["train"], line["test"], line["classes"]) == (36, 12, 3)
    rows = {(row["features"], row["layer"]): row for row in line["rows"]}
    assert list(rows) == [(name, None) for name in ("pixels", "codes", "encoder", "random")] + [
        ("generator", 0),
        ("generator", 1),
    ]
    assert rows["pixels", None]["top1"] == 1
    assert rows["pixels", None]["top5"] is None
    assert line["best"]["features"] == "generator"
    known = bigr("classify", "val", "--recursive", "--probe", "p.safetensors", "--json")
    assert known.code == 0, known.err
    said = [json.loads(row) for row in known.out.splitlines()]
    right = [Path(row["path"]).parent.name == row["label"] for row in said]
    assert len(said) == 12
    assert sum(right) / 12 == pytest.approx(line["best"]["top1"])
    assert all(1 / 3 <= row["probability"] <= 1 for row in said)


def sides(root: Path, count: int) -> Path:
    """A light square in the left half of the image, or in the right one, on noise."""
    rng = np.random.default_rng(len(str(root)))
    for name, start in (("left", 0), ("right", 8)):
        (root / name).mkdir(parents=True)
        for index in range(count):
            levels = rng.integers(0, 90, (16, 16, 3), dtype=np.uint8)
            row = rng.integers(0, 10)
            levels[row : row + 6, start + 1 : start + 7] = 250
            Image.fromarray(levels).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize(("pool", "layer"), [("grid2", "0,1"), ("attention", "1"), ("attention", None)])
def test_pools_and_several_layers_are_kept_and_used(bigr: Run, tmp_path: Path, pool: str, layer: str | None) -> None:
    sides(tmp_path / "train", 120)
    sides(tmp_path / "val", 20)
    options = ("--data", "train", "--test", "val", "--pool", pool, *(("--layer", layer) if layer else ()))
    done = bigr("evaluate", "probe", *options, "--save", "p.safetensors", "--json", "--dtype", "float32")
    assert done.code == 0, done.err
    line = json.loads(done.out)
    (row,) = (row for row in line["rows"] if row["features"] == "generator")
    assert line["pool"] == pool
    assert str(row["layer"]) == (layer or "0")
    assert row["top1"] > 0.9
    said = bigr("classify", "val", "--recursive", "--probe", "p.safetensors", "--json", "--dtype", "float32")
    assert said.code == 0, said.err
    found = [json.loads(each) for each in said.out.splitlines()]
    assert sum(Path(each["path"]).parent.name == each["label"] for each in found) == round(40 * row["top1"])
    assert sum(each["none_of_these"] for each in found) <= 4

    with safe_open("p.safetensors", framework="numpy") as file:
        texts = file.metadata()
    tensors = load_file("p.safetensors")
    damaged = dict(tensors, weight=tensors["weight"][:, :-1])
    save_file(damaged, "q.safetensors", metadata=texts)
    assert bigr("classify", "val/left/0.png", "--probe", "q.safetensors").code == 2
    damaged = dict(tensors, mean=tensors["mean"][:5], whitener=tensors["whitener"][:5, :5])
    save_file(damaged, "r.safetensors", metadata=texts)
    wrong = bigr("classify", "val/left/0.png", "--probe", "r.safetensors")
    assert wrong.code == 2 and "training images" in wrong.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pool", "attention", "--layer", "all"), "name one block"),
        (("--pool", "tokens"), "attention"),
        (("--layer", "0,1", "--plot", "a.svg"), "leave --layer out"),
        (("--layer", "0,1", "--set-default"), "one layer"),
        (("--layer", "5"), "0 to 1 or all"),
    ],
)
def test_layers_and_pools_that_cannot_be(bigr: Run, words: tuple[str, ...], message: str) -> None:
    done = bigr("evaluate", "probe", "--data", "scenes", "--count", 40, *words)
    assert done.code == 2
    assert message in done.err
    assert not list(Path().iterdir())


def test_scenes_and_a_table(bigr: Run) -> None:
    done = bigr("evaluate", "probe", "--data", "scenes", "--count", 60, "--test-count", 40)
    assert done.code == 0, done.err
    assert "best layer: " in done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["features", "layer"]
    assert len(lines) == 7
    assert done.out.count("*") == 1


def test_a_part_is_kept_apart_without_a_test_set(bigr: Run, tmp_path: Path) -> None:
    colours(tmp_path / "d", RGB, 5)
    line = json.loads(bigr("evaluate", "probe", "--data", "d", "--json").out)
    assert (line["train"], line["test"]) == (12, 3)


def test_none_of_these(bigr: Run, tmp_path: Path) -> None:
    """What is unlike all training images is none of the classes, however likely one of them is."""
    colours(tmp_path / "d", RGB, 60)
    assert bigr("evaluate", "probe", "--data", "d", "--save", "p.safetensors").code == 0
    colours(tmp_path / "few", RGB, 5)
    assert bigr("evaluate", "probe", "--data", "few", "--save", "few.safetensors").code == 0
    checks = np.indices((16, 16)).sum(0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save("odd.png")
    lines = [
        line.split("\t")
        for line in bigr("classify", "odd.png", "d/red/0.png", "--probe", "p.safetensors").out.splitlines()
    ]
    assert [line[1] for line in lines] == ["none of these", "red"]
    assert float(lines[0][3]) > 1 >= float(lines[1][3])
    always = bigr("classify", "odd.png", "--probe", "p.safetensors", "--threshold", 0, "--json")
    record = json.loads(always.out)
    assert record["label"] in RGB and record["none_of_these"] is False and record["distance"] > 1
    assert len(bigr("classify", "odd.png", "--probe", "few.safetensors").out.split("\t")) == 3
    refused = bigr("classify", "odd.png", "--probe", "few.safetensors", "--threshold", 2)
    assert refused.code == 2 and "100 images or more" in refused.err


def test_classify_leaves_out_what_is_broken(bigr: Run, tmp_path: Path) -> None:
    colours(tmp_path / "d", RGB, 5)
    assert bigr("evaluate", "probe", "--data", "d", "--save", "p.safetensors").code == 0
    assert bigr("evaluate", "probe", "--data", "d", "--save", "p.safetensors").code == 2
    Path("d/red/1.png").write_bytes(b"no image")
    done = bigr("classify", "d", "--recursive", "--probe", "p.safetensors")
    assert done.code == 1
    assert len(done.out.splitlines()) == 14
    assert "1 image of 15 failed" in done.err
    assert bigr("classify", "d/red/1.png", "--probe", "p.safetensors").code == 2
    Path("q.safetensors").write_bytes(b"no probe")
    wrong = bigr("classify", "d/red/0.png", "--probe", "q.safetensors")
    assert wrong.code == 2
    assert "q.safetensors" in wrong.err


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({}, None, "holds no images"),
        ({"red": 5}, None, "one class only"),
        ({"red": 5, "blue": 2}, None, "too few images of blue (2)"),
        ({"red": 5, "blue": 1}, {"red": 2, "blue": 2}, "too few images of blue (1)"),
        ({"red": 5, "blue": 5, "green": 5}, {"red": 2, "blue": 2}, "no image of green"),
        ({"red": 5, "blue": 5}, {"red": 2, "blue": 2, "green": 2}, "training images lack: green"),
    ],
)
def test_bad_data(bigr: Run, tmp_path: Path, train: dict[str, int], test: dict[str, int] | None, message: str) -> None:
    for where, counts in (("train", train), ("test", test or {})):
        (tmp_path / where).mkdir()
        for name, count in counts.items():
            colours(tmp_path / where, {name: RGB[name]}, count)
    words = ("--test", "test") if test else ()
    done = bigr("evaluate", "probe", "--data", "train", *words)
    assert done.code == 2
    assert message in done.err


def test_flat_folders_missing_ones_and_broken_images(bigr: Run, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (16, 16)).save("flat/a.png")
    assert "no classes" in bigr("evaluate", "probe", "--data", "flat").err
    assert bigr("evaluate", "probe", "--data", "nowhere").code == 2
    colours(tmp_path / "d", RGB, 4)
    Path("d/red/1.png").write_bytes(b"no image")
    done = bigr("evaluate", "probe", "--data", "d")
    assert done.code == 2
    assert "1.png" in done.err
    assert bigr("evaluate", "probe", "--data", "scenes", "--count", 20).code == 2


def test_a_plot_by_layer(bigr: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    colours(tmp_path / "d", RGB, 5)
    for name in ("a.svg", "b.svg", "c.png"):
        done = bigr("evaluate", "probe", "--data", "d", "--plot", name)
        assert done.code == 0, done.err
        assert f"wrote {name}" in done.err
    text = Path("a.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert text == Path("b.svg").read_text(encoding="utf-8")
    with Image.open("c.png") as image:
        assert image.width > 900
    again = bigr("evaluate", "probe", "--data", "d", "--plot", "c.png")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_plots_of_other_kinds(bigr: Run, tmp_path: Path) -> None:
    colours(tmp_path / "d", RGB, 5)
    assert ".svg or .png" in bigr("evaluate", "probe", "--data", "d", "--plot", "a.jpg").err


def test_the_best_layer_becomes_the_default(bigr: Run, tmp_path: Path, tiny_model: Path) -> None:
    colours(tmp_path / "d", RGB, 5)
    shutil.copytree(tiny_model, tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    done = bigr("evaluate", "probe", "--data", "d", "-m", "mine", "--set-default", "--json")
    assert done.code == 0, done.err
    line = json.loads(done.out)
    assert line["default_layer"] == line["best"]["layer"]
    after = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["config.yaml"]
    assert bigr("models", "verify", "mine").code == 0
    made = bigr("embed", "d", "--recursive", "-m", "mine", "-o", "f.npz", "--json")
    assert json.loads(made.out)["layer"] == line["default_layer"]


def test_features_that_are_not_finite(bigr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigr_cli.core import network

    colours(tmp_path / "d", RGB, 4)
    block = network.Block.forward
    monkeypatch.setattr(network.Block, "forward", lambda *words: block(*words) * float("nan"))
    done = bigr("evaluate", "probe", "--data", "d")
    assert done.code == 2
    assert "not finite" in done.err
