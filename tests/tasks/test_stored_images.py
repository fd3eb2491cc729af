"""Tables, arrays, tar shards and data sets of the hub as arguments of the commands that read images."""

import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data_sets.test_formats import write_metadata, write_table

Run = Callable[..., Any]
COUNT = 8
FLOAT32 = ("--dtype", "float32")  # what else a processor is fast in has the batch show in the features
CLASSES = "ab"


def levels(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 256, (16, 16), dtype=np.uint8)


def png(index: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels(index)).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def write_all(root: Path) -> dict[str, str]:
    """The same images in every form, as its own library writes it: what to type for each."""
    rows = [{"file_name": f"{n}.png", "label": CLASSES[n % 2]} for n in range(COUNT)]
    for kind in ("jsonl", "csv", "parquet"):
        folder = root / kind
        folder.mkdir()
        for n in range(COUNT):
            (folder / f"{n}.png").write_bytes(png(n))
        write_metadata(folder / f"metadata.{kind}", rows)
    images = np.stack([levels(n) for n in range(COUNT)])
    labels = np.arange(COUNT, dtype=np.uint8) % 2
    idx = root / "idx"
    idx.mkdir()
    for name, array in (("train-images-idx3-ubyte.gz", images), ("train-labels-idx1-ubyte.gz", labels)):
        head = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
        (idx / name).write_bytes(gzip.compress(head + array.tobytes()))
    named = {"images": images, "labels": labels[:, None]}
    np.savez(
        root / "medmnist.npz", **{f"{part}_{name}": each for part in ("train", "test") for name, each in named.items()}
    )
    table = [{"image": {"bytes": png(n), "path": f"{n}.png"}, "label": CLASSES[n % 2]} for n in range(COUNT)]
    write_table(root / "train-00000-of-00002.parquet", table[:4])
    write_table(root / "train-00001-of-00002.parquet", table[4:])
    for number in range(2):
        with tarfile.open(root / f"part-{number}.tar", "w") as tar:
            for n in range(4 * number, 4 * number + 4):
                for suffix, data in (("png", png(n)), ("cls", CLASSES[n % 2].encode())):
                    member = tarfile.TarInfo(f"{n:06}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return {
        "a folder with metadata.jsonl": "jsonl",
        "metadata.csv": "csv/metadata.csv",
        "a folder with metadata.parquet": "parquet",
        "a folder of IDX files": "idx",
        "an IDX file": "idx/train-images-idx3-ubyte.gz",
        "MedMNIST": "medmnist.npz",
        "another split": "medmnist.npz/test",
        "parquet files": "train-*.parquet",
        "tar shards": "part-{0..1}.tar",
        "the hub": "hf://datasets/someone/letters",
    }


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> dict[str, str]:
    pytest.importorskip("pyarrow")
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    found = write_all(tmp_path)
    hub = tmp_path / "hub"
    hub.mkdir()
    for path in tmp_path.glob("train-*.parquet"):
        (hub / path.name).symlink_to(path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repository, **how: str(hub))
    return found


def rows(done: Any) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_same_features_of_every_form(bigr: Run, stored: dict[str, str]) -> None:
    """And a search finds an image by its name, wherever it lies, and shows it on a sheet."""
    first = None
    for number, (form, word) in enumerate(stored.items()):
        (made,) = rows(bigr("embed", word, "-o", f"{number}.npz", "--json", *FLOAT32))
        assert (made["count"], made["failed"]) == (COUNT, []), form
        found = np.load(f"{number}.npz")
        assert ["ab"["b1".find(label) >= 0] for label in found["labels"]] == ["a", "b"] * 4, form
        first = found["features"] if first is None else first
        assert np.allclose(found["features"], first, atol=1e-5), form
        if form not in ("a folder of IDX files", "another split", "parquet files", "tar shards"):
            continue
        name = str(found["paths"][5])
        grid = ("--grid", f"{number}.png")
        hits = rows(bigr("search", name, "--index", f"{number}.npz", "-n", 2, "--json", *grid, *FLOAT32))
        assert hits[0]["path"] == name, form
        assert hits[0]["similarity"] == pytest.approx(1, abs=1e-4), form


def test_probes_and_classes(bigr: Run, stored: dict[str, str]) -> None:
    saved = bigr("evaluate", "probe", "--data", "csv", "--test", "csv", "--save", "probe.safetensors", "--json")
    assert rows(saved)
    for form in ("an IDX file", "parquet files", "the hub"):
        told = rows(bigr("classify", stored[form], "--probe", "probe.safetensors", "--json"))
        assert len(told) == COUNT, form
    tested = bigr("evaluate", "probe", "--data", stored["tar shards"], "--test", stored["parquet files"], "--json")
    assert rows(tested)


def test_evaluations(bigr: Run, stored: dict[str, str], tiny_model: Path) -> None:
    """One image set is as good as another: the same figures, and no distance between two forms of the same images."""
    figures = set()
    for form in ("a folder with metadata.jsonl", "an IDX file", "another split", "tar shards", "the hub"):
        (found,) = rows(bigr("evaluate", "reconstruction", "--data", stored[form], "--metrics", "psnr", "--json"))
        figures.add(round(found["psnr"], 4))
    assert len(figures) == 1
    metrics = ("--features", tiny_model, "--metrics", "fid", "--json")
    for samples, reference in (("another split", "MedMNIST"), ("parquet files", "an IDX file")):
        (found,) = rows(bigr("evaluate", "generation", stored[samples], "--reference", stored[reference], *metrics))
        assert found["frechet_inception_distance"] == pytest.approx(0, abs=1e-3)
        assert found["samples"]["count"] == found["reference"]["count"] == COUNT


def test_recipes(bigr: Run, stored: dict[str, str]) -> None:
    assert bigr("generate", "cat", "-n", 2, "-o", "made/", "--steps", 1).code == 0
    made = sorted(Path("made").iterdir())
    with tarfile.open("made.tar", "w") as tar:
        for path in made:
            tar.add(path, path.name)
    write_table(Path("made.parquet"), [{"image": {"bytes": path.read_bytes(), "path": path.name}} for path in made])
    expected = [row["seed"] for row in rows(bigr("info", "made/", "--json"))]
    for word in ("made.tar", "made.parquet"):
        assert [row["seed"] for row in rows(bigr("info", word, "--json"))] == expected
    done = bigr("info", stored["an IDX file"])
    assert done.code == 2
    assert "arrays of pixels, which have no recipes" in done.err


def test_editing_names_what_would_do(bigr: Run, stored: dict[str, str]) -> None:
    commands = [
        ("inpaint", "--mask-box", "0,0,8,8"),
        ("outpaint", "--left", 4),
        ("edit", "--class", "dog"),
        ("enrich",),
    ]
    for form, word in list(stored.items()):
        if word in ("jsonl", "parquet"):  # folders of image files
            continue
        for command, *options in commands if form == "tar shards" else commands[3:]:
            done = bigr(command, word, *options, "-o", "out/")
            assert done.code == 2, (form, command)
            assert "here files of images are worked on" in done.err, (form, command, done.err)
            assert "folder" in done.err
        if form == "metadata.csv":
            assert "hint: name their folder: csv" in done.err
    for word in ("part-0.tar", stored["an IDX file"], stored["the hub"]):
        done = bigr("interpolate", "cat", word, "-o", "out/")
        assert done.code == 2
        assert "here files of images are worked on" in done.err, (word, done.err)
    assert not Path("out").exists()
    assert bigr("inpaint", "jsonl", "--mask-box", "0,0,8,8", "-o", "out/", "--steps", 1).code == 0


def test_pickles_are_refused(bigr: Run, stored: dict[str, str], tiny_model: Path) -> None:
    Path("data_batch_1").write_bytes(pickle.dumps({"data": [1, 2]}))
    Path("images.pkl").write_bytes(pickle.dumps([1]))
    assert bigr("embed", "jsonl", "-o", "index.npz").code == 0
    for name in ("data_batch_1", "images.pkl"):
        for command in (
            ("search", name, "--index", "index.npz"),
            ("embed", name, "-o", "x.npz"),
            ("info", name),
            ("enrich", name),
            ("evaluate", "reconstruction", "--data", name),
            ("evaluate", "generation", name, "--reference", "csv"),
            ("evaluate", "generation", "csv", "--reference", name, "--features", tiny_model),
            ("evaluate", "probe", "--data", name),
            ("train", name),
        ):
            done = bigr(*command)
            assert done.code == 2, command
            assert "is a pickle" in done.err, (command, done.err)


def test_what_is_not_one_image(bigr: Run, stored: dict[str, str]) -> None:
    """A search is for one; broken rows are named, and the others done."""
    assert bigr("embed", "jsonl", "-o", "index.npz").code == 0
    done = bigr("search", stored["an IDX file"], "--index", "index.npz")
    assert done.code == 2
    assert "holds 8 images, and one is wanted" in done.err
    assert "idx/train-images-idx3-ubyte.gz: images[0]" in done.err
    done = bigr("search", "medmnist.npz: train_images[8]", "--index", "index.npz")
    assert done.code == 2
    assert "no such image" in done.err
    write_table(Path("broken.parquet"), [{"image": {"bytes": data, "path": "x"}} for data in (png(0), b"none", png(1))])
    done = bigr("embed", "broken.parquet", "-o", "broken.npz")
    assert done.code == 1
    assert "broken.parquet: row 1: is not an image" in done.err
    assert len(np.load("broken.npz")["paths"]) == 2
