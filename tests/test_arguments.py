"""Arguments of Python: other names, types and paths, errors that name them, and what results show of themselves."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bigr_cli
from bigr_cli.arguments import with_arguments
from bigr_cli.errors import UnknownNameError, UsageError, WrongTypeError
from bigr_cli.representation.probe_files import load_probe

Run = Callable[..., Any]
FAST: dict[str, Any] = {"steps": 1, "timesteps": 2}


class Named(os.PathLike[str]):
    """A path that is neither a text nor a `Path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> bigr_cli.Model:
    return bigr_cli.load(Named(tiny_model), device="cpu", dtype="float32")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


def levels(images: list[Any]) -> list[list[int]]:
    return [np.asarray(image).ravel().tolist() for image in images]


@pytest.mark.parametrize("form", [str, Named])
def test_paths_in_every_form(model: bigr_cli.Model, image: Path, tmp_path: Path, form: Any) -> None:
    query, index, probe = form(image), form(tmp_path / "index.npz"), form(tmp_path / "probe.safetensors")
    made = model.inpaint(query, query, label="cat", seed=1, **FAST)
    assert "mask-in-memory" not in json.loads(made.info["bigr"])["options"]
    assert bigr_cli.save(made, form(tmp_path / "made.png")).is_file()
    model.embed(query, output=index)
    assert bigr_cli.read_index(index).paths == [str(image)]
    assert model.search(query, index)[0].path == str(image)
    for number, grey in enumerate((10, 20, 30, 40, 200, 210, 220, 230)):
        path = tmp_path / "photos" / ("dark", "light")[number // 4] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (grey, grey, grey)).save(path)
    model.probe(form(tmp_path / "photos"), save=probe)
    assert load_probe(probe).labels == ("dark", "light")
    assert len(model.classify(query, probe)) == 1
    assert len(model.interpolate([query, query], frames=2, seed=0, **FAST)) == 2
    record = model.evaluate_reconstruction(form(tmp_path / "photos"), features=form(Path(model.folder or "")))
    assert record["psnr"] > 0


def test_names_of_other_programs(model: bigr_cli.Model, image: Path, tmp_path: Path) -> None:
    usual = levels(model.generate("cat", count=2, seed=1, **FAST))
    for name in ("num_images", "num_images_per_prompt", "num_samples"):
        assert levels(model.generate(prompt="cat", seed=1, **{name: 2}, **FAST)) == usual
        assert len(model.enrich(image, **{name: 2}, **FAST)) == 2  # type: ignore[arg-type]
    several = levels(model.generate(["cat", "dog"], seed=1, **FAST))
    texts = tmp_path / "labels.txt"
    texts.write_text("cat\ndog\n", encoding="utf-8")
    for given in (["cat", "dog"], texts, str(texts)):
        assert levels(model.generate(prompts=given, seed=1, **FAST)) == several
    every = [made.label for made in model.generate_iter("all", seed=1, **FAST)]
    assert every == list(model.labels)
    for call, message in (
        (partial(model.generate), "labels: expected a label or a text"),
        (partial(model.generate, "cat", prompt="dog"), "labels and prompt exclude each other"),
        (partial(model.generate, "cat", count=2, num_images=3), "num_images: is count, which is given too"),
        (partial(model.generate, ["all", "cat"]), "all is every label, cat among them"),
        (partial(model.edit, image, "cat", prompt="dog"), "label and prompt exclude each other"),
        (partial(model.interpolate, "cat"), "stops: expected two or more labels or images, as a list, got one: 'cat'"),
    ):
        with pytest.raises(UsageError, match=message):
            call(**FAST)


def test_values_of_the_wrong_type(model: bigr_cli.Model, image: Path) -> None:
    for name, value in (
        *(("seed", "a"), ("seed", [1, 2]), ("seed", 1.5), ("count", "a"), ("count", 1.5), ("batch_size", "a")),
        *(("steps", "a"), ("guidance", "a")),
    ):
        for call in (partial(model.generate, "cat"), partial(model.enrich, image)):
            with pytest.raises(TypeError, match=f"{name}: expected a (whole )?number, got") as caught:
                call(**{**FAST, name: value})
            assert isinstance(caught.value, WrongTypeError | UsageError)
    for call in (
        *(partial(model.edit, image, "cat", strength="a"), partial(model.interpolate, ["cat", "dog"], frames="a")),
        *(partial(model.embed, image, batch_size="a"), partial(model.evaluate_generation, "scenes", num_samples="a")),
    ):
        with pytest.raises(TypeError, match=r"expected a (whole )?number, got 'a'"):
            call()
    numbers = {
        "seed": np.int64(1),
        "count": np.int32(2),
        "steps": np.int64(1),
        "timesteps": 2,
        "guidance": np.float32(2),
    }
    usual = model.generate("cat", seed=1, count=2, guidance=2.0, **FAST)
    assert levels(model.generate("cat", **numbers)) == levels(usual)


def test_errors_name_arguments(model: bigr_cli.Model, image: Path, bigr: Run) -> None:
    with pytest.raises(UsageError) as caught:
        bigr_cli.save(Image.new("RGB", (1, 1)), image)
    assert caught.value.hint == "pass overwrite=True to replace it"
    assert "hint: pass overwrite=True to replace it" in getattr(
        caught.value, "__notes__", [f"hint: {caught.value.hint}"]
    )
    with pytest.raises(UsageError) as caught:
        model.inpaint(image)
    assert caught.value.hint == "mask=FILE, mask_box=X,Y,W,H or mask_class=LABEL says what to repaint"
    with pytest.raises(UsageError, match=r"^mask_find: expected NAME=WORDS, got '--x'"):
        model.inpaint(image, mask_find="--x")
    with pytest.raises(UnknownNameError, match="unknown label '--mask'"):
        model.generate("--mask")
    assert "hint: --mask FILE, --mask-box" in bigr("inpaint", image, "-m", model.folder).err
    assert bigr_cli.save is bigr_cli.save


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("--mixed even has any", 'mixed="even" has any'),
        ("try --dtype float32; bigr embed --save FILE", 'try dtype="float32"; bigr embed --save FILE'),
        ("--prompt says what to paint", "label says what to paint"),
        ("choose --weights FILE, or --fetch-weights to", "choose weights=FILE, or fetch_weights=True to"),
        ("-m scenes-64-text reads texts", 'bigr_cli.load("scenes-64-text") reads texts'),
        ("unknown label '--mask'; a--b", "unknown label '--mask'; a--b"),
    ],
)
def test_options_as_arguments(said: str, expected: str) -> None:
    assert with_arguments(said) == expected


def test_results_show_themselves_in_short(model: bigr_cli.Model, image: Path, tmp_path: Path) -> None:
    entries = bigr_cli.list_models()
    assert len(entries) > 2 and max(len(repr(entry)) for entry in entries) < 400
    configs = [entry.config for entry in entries if entry.config]
    assert max(len(repr(config)) for config in configs) < 2500 and "name='scenes-64-text'" in repr(configs)
    model.embed([image] * 50, output=tmp_path / "index.npz")
    index = bigr_cli.read_index(tmp_path / "index.npz")
    assert f"features=<float32 of {len(index.paths)}×16>" in repr(index) and len(repr(index)) < 800


def test_a_manifest_takes_the_label_of_a_line_of_json(bigr: Run, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "jobs.jsonl"
    lines = [{"image": image.name, "label": "dog", "seed": 3}, {"image": image.name, "prompt": "dog", "seed": 3}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    words = ("-m", tiny_model, "--device", "cpu", "--steps", 1, "--timesteps", 2, "-o", tmp_path / "{index}.png")
    done = bigr("edit", "--manifest", manifest, *words, "--json")
    assert done.code == 0, done.err
    made = [json.loads(line) for line in done.out.splitlines()]
    assert [each["label"] for each in made] == ["dog", "dog"]
    first, second = (Image.open(each["path"]) for each in made)
    assert levels([first]) == levels([second])
    manifest.write_text(json.dumps({**lines[0], "class": "cat"}), encoding="utf-8")
    assert bigr("edit", "--manifest", manifest, *words).code == 2
