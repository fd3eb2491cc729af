"""Data as people have them: tables, arrays and lists as the formats' own libraries write them."""

import csv
import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigr_cli.data.file_source import FileSource
from bigr_cli.data.sources import open_source
from bigr_cli.errors import UsageError

FORMATS = Path(__file__).resolve().parents[1] / "data" / "formats"
Run = Callable[..., Any]


def opened(where: Path | str, *, captions: bool = False, size: int = 8) -> FileSource:
    source = open_source(str(where), size, captions=captions)
    assert isinstance(source, FileSource)
    return source


def classes(source: FileSource) -> list[str]:
    return [source.labels[source.label(index)] for index in range(len(source))]


def images(root: Path, count: int = 6) -> list[str]:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (12, 12), (number * 20, 0, 0)).save(root / f"{number}.png")
    return [f"{number}.png" for number in range(count)]


def rows(names: list[str]) -> list[dict[str, str]]:
    return [{"file_name": name, "text": f"number {name[0]}", "label": "ab"[int(name[0]) % 2]} for name in names]


def write_metadata(path: Path, entries: list[dict[str, str]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, entries[0])
            writer.writeheader()
            writer.writerows(entries)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(entries), path)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("below", ["", "train"])
def test_metadata_of_image_folders(tmp_path: Path, kind: str, below: str) -> None:
    folder = tmp_path / below
    write_metadata(folder / f"metadata.{kind}", rows(images(folder)))
    source = opened(tmp_path)
    assert (source.labels, classes(source)) == (("a", "b"), list("ababab"))
    source = opened(tmp_path, captions=True)
    assert [source.caption(index) for index in range(6)] == [f"number {index}" for index in range(6)]


def test_a_broken_row_of_metadata_is_named(tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "metadata.csv").write_text("name,text\n0.png,zero\n")
    with pytest.raises(UsageError, match=r"metadata\.csv:2: not a caption entry"):
        opened(tmp_path, captions=True)


def test_captions_beside_images(tmp_path: Path) -> None:
    for number, name in enumerate(images(tmp_path)):
        (tmp_path / name).with_suffix((".txt", ".caption")[number % 2]).write_text(f"image {number}\n")
    source = opened(tmp_path, captions=True)
    assert [source.caption(index) for index in range(6)] == [f"image {index}" for index in range(6)]


def test_parquet_as_datasets_writes_it() -> None:
    pytest.importorskip("pyarrow")
    source = opened(FORMATS / "classes.parquet", size=10)
    assert len(source) == 12
    assert source.labels == ("red cat", "dog", "owl")
    assert classes(source) == ["red cat", "dog", "owl"] * 4
    colours = [source.image(index).pixels[5, 5].tolist() for index in range(12)]
    assert colours == [[20 * number, 255 - 20 * number, 128] for number in range(12)]
    source = opened(FORMATS, captions=True)
    assert [source.caption(index) for index in range(12)] == [f"number {index}" for index in range(12)]


def png(colour: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 9), (colour, colour, colour)).save(stream, "PNG")
    return stream.getvalue()


def write_table(path: Path, values: list[dict[str, Any]], **more: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(values), path, **more)


def test_several_parquet_files_and_rows_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [{"image": {"bytes": png(n), "path": f"{n}.png"}, "label": "xy"[n % 2]} for n in range(8)]
    empty = {"image": {"bytes": None, "path": "gone.png"}, "label": "x"}
    broken = {"image": {"bytes": b"no image", "path": "n.png"}, "label": "y"}
    write_table(tmp_path / "train-00000-of-00002.parquet", [*good[:4], empty])
    write_table(tmp_path / "train-00001-of-00002.parquet", [broken, *good[4:], {**good[0], "label": None}])
    source = opened(tmp_path)
    assert [int(source.image(index).pixels[0, 0, 0]) for index in range(len(source))] == list(range(8))
    assert classes(source) == list("xyxyxyxy")
    said = capsys.readouterr().err
    assert "1 without an image (" in said and "00000-of-00002.parquet: row 4" in said
    assert "1 without a class (" in said and "00001-of-00002.parquet: row 5" in said
    assert "1 unreadable (" in said and "00001-of-00002.parquet: row 0" in said
    assert source.called(4).endswith("00001-of-00002.parquet: row 1")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"PAR1 nothing PAR1"), "is no whole parquet file"),
        (lambda path: write_table(path, [{"a": 1, "b": "c"}]), r"has no images among its columns \(a, b\)"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    pytest.importorskip("pyarrow")
    write(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=message):
        opened(tmp_path / "a.parquet")


@pytest.mark.slow
def test_a_large_table_streams_in_bounded_memory(tmp_path: Path) -> None:
    import resource

    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    schema = pyarrow.schema([("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))])
    with parquet.ParquetWriter(tmp_path / "large.parquet", schema, compression="none") as writer:
        for start in range(0, 100_000, 1000):
            values = [
                {"image": {"bytes": png(n % 256) + rng.bytes(8_000), "path": None}} for n in range(start, start + 1000)
            ]
            writer.write_table(pyarrow.Table.from_pylist(values, schema=schema))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = opened(tmp_path / "large.parquet")
    assert len(source) == 100_000
    assert int(source.image(99_999).pixels[0, 0, 0]) == 99_999 % 256
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB, of 800 MB


def write_idx(path: Path, array: np.ndarray) -> None:  # type: ignore[type-arg]
    data = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(tmp_path: Path, suffix: str) -> None:
    array = np.arange(12 * 28 * 28, dtype=np.uint32).reshape(12, 28, 28).astype(np.uint8)
    write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", array)
    write_idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", np.array([3, 1, 9] * 4, dtype=np.uint8))
    write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", array[:2])
    for where in (tmp_path, tmp_path / f"train-images-idx3-ubyte{suffix}"):
        source = opened(where, size=28)
        assert (len(source), source.labels, classes(source)) == (12, ("1", "3", "9"), ["3", "1", "9"] * 4)
        assert np.array_equal(source.image(7).pixels, np.stack([array[7]] * 3, axis=-1))
    source = opened(tmp_path / f"t10k-images-idx3-ubyte{suffix}", size=28)
    assert (len(source), source.labels) == (2, ())


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_as_debian_has_it() -> None:
    source = opened(FASHION, size=28)
    assert len(source) == 60_000
    assert source.labels == tuple(map(str, range(10)))
    assert classes(source)[:5] == ["9", "0", "0", "3", "0"]


def test_damaged_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    array = np.zeros((3, 4, 4), np.uint8)
    write_idx(path, array)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UsageError, match="is cut off"):
        opened(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="is no IDX file"):
        opened(path)
    zipped = tmp_path / "t10k-images-idx3-ubyte.gz"
    zipped.write_bytes(gzip.compress(bytes(99))[:-9])
    with pytest.raises(UsageError, match=r"is no IDX file|is damaged"):
        opened(zipped)
    write_idx(path, array)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(UsageError, match="has 2 labels for 3 images"):
        opened(path)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist_files(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 12), ("val", 3), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 3
    path = tmp_path / "pathmnist.npz"
    np.savez_compressed(path, **arrays)
    source = opened(path, size=28)
    assert (len(source), source.labels, classes(source)[:4]) == (12, ("0", "1", "2"), ["0", "1", "2", "0"])
    expected = arrays["train_images"][5]
    assert np.array_equal(source.image(5).pixels, expected if expected.ndim == 3 else np.stack([expected] * 3, -1))
    assert len(opened(f"{path}/test", size=28)) == 4
    with pytest.raises(UsageError, match="no images of the split 'extra'") as caught:
        opened(f"{path}/extra")
    assert "train, val, test" in str(caught.value.hint)


def test_arrays_that_are_no_images(tmp_path: Path) -> None:
    volumes = tmp_path / "organmnist3d.npz"
    np.savez(volumes, train_images=np.zeros((3, 28, 28, 28), np.uint8), train_labels=np.zeros((3, 1), np.uint8))
    with pytest.raises(UsageError, match=r"expected \(N, H, W\)"):
        opened(volumes)
    pickled = tmp_path / "objects.npz"
    np.savez(pickled, train_images=np.array([{}, {}], dtype=object))
    with pytest.raises(UsageError, match="read safely"):
        opened(pickled)
    with pytest.raises(UsageError, match="has no captions"):
        several = tmp_path / "chestmnist.npz"
        np.savez(several, train_images=np.zeros((3, 28, 28), np.uint8), train_labels=np.zeros((3, 14), np.uint8))
        assert opened(several).labels == ()
        opened(several, captions=True)


def test_pickles_are_refused_with_the_way_out_named(tmp_path: Path) -> None:
    for name in ("data_batch_1", "batches.meta.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps({"data": [1, 2]}))
    for where in (tmp_path, tmp_path / "data_batch_1", tmp_path / "batches.meta.pkl"):
        with pytest.raises(UsageError, match="is a pickle") as caught:
            opened(where)
        assert "hf://datasets/uoft-cs/cifar10" in str(caught.value.hint)


def test_data_sets_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    import huggingface_hub

    table, asked = (FORMATS / "classes.parquet").read_bytes(), []
    names = ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]

    def fetch(repository: str, **how: Any) -> str:
        asked.append((repository, how["revision"], how["repo_type"], how["allow_patterns"]))
        for name in how["allow_patterns"] or names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(table if name.endswith("parquet") else b"")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, repository, **how: names)
    source = opened("hf://datasets/someone/animals@v2/test")
    assert (len(source), source.labels) == (12, ("red cat", "dog", "owl"))
    assert asked == [("someone/animals", "v2", "dataset", ["data/test-00000-of-00001.parquet"])]
    with pytest.raises(UsageError, match="has no split 'validation'") as caught:
        opened("hf://datasets/someone/animals/validation")
    assert "test, train" in str(caught.value.hint)
    with pytest.raises(UsageError, match="expected hf://datasets/OWNER/NAME"):
        opened("hf://someone/animals")
