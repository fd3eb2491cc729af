"""`bigr embed` as its users meet it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

Run = Callable[..., object]

DIES = """
import os, signal
from bigr_cli.representation import embedding, parts
embedding.PART = 8
write = parts.Parts.write
def dying(self, number, part):
    write(self, number, part)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
parts.Parts.write = dying
"""

SMALL_PARTS = """
from bigr_cli.representation import embedding
embedding.PART = 8
"""
BOTH_SMALL = {0: SMALL_PARTS, 1: SMALL_PARTS}
# The second of two processes, which makes parts 1, 3 and 5; it waits until the first has made its own.
DIES_LATER = DIES.replace("if number == 2:", "if number == 1:").replace(
    "os.kill", "import time\n        while not self.path_of(4).exists(): time.sleep(0.01)\n        os.kill"
)
WORK = ("embed", "scenes", "--count", "45", "--batch-size", "4", "--device", "cpu", "--dtype", "float32")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(6):
        path = tmp_path / "data" / ("cat", "dog")[index % 2] / f"p{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(16 + index, 20, index).save(path)
    return tmp_path / "data"


def test_features_paths_and_labels(bigr: Run, data: Path) -> None:
    done = bigr("embed", "data", "--recursive", "-o", "new/f.npz", "--json")
    assert done.code == 0, done.err
    (line,) = map(json.loads, done.out.splitlines())
    assert line["shape"] == [6, 16]
    assert line["task"] == "embed"
    assert line["layer"] == 0
    assert line["failed"] == []
    file = np.load("new/f.npz")
    assert file["features"].shape == (6, 16)
    assert file["features"].dtype == np.float32
    assert file["paths"].tolist()[0] == "data/cat/p0.png"
    assert file["labels"].tolist() == ["cat"] * 3 + ["dog"] * 3
    assert [path.name for path in Path("new").iterdir()] == ["f.npz"]


@pytest.mark.parametrize("suffix", ["npy", "safetensors", "jsonl", "parquet"])
def test_every_kind_of_file_holds_the_same(bigr: Run, data: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    options = ("data/*/*.png", "--layer", "all")
    assert bigr("embed", *options, "-o", "f.npz").code == 0
    done = bigr("embed", *options, "-o", f"f.{suffix}")
    assert done.code == 0, done.err
    expected = np.load("f.npz")
    features = expected["features"]
    paths, labels = expected["paths"].tolist(), expected["labels"].tolist()
    assert features.shape == (6, 2, 16)
    assert labels[0] == "cat"
    if suffix == "npy":
        assert np.array_equal(np.load("f.npy"), features)
    elif suffix == "safetensors":
        with safe_open("f.safetensors", framework="numpy") as file:
            assert np.array_equal(file.get_tensor("features"), features)
            assert json.loads(file.metadata()["paths"]) == paths
            assert json.loads(file.metadata()["labels"]) == labels
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
        assert np.array_equal(np.float32([row["features"] for row in rows]), features)
        assert [(row["path"], row["label"]) for row in rows] == list(zip(paths, labels, strict=True))
    else:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table("f.parquet")
        assert table["path"].to_pylist() == paths
        assert np.array_equal(np.float32(table["features"].to_pylist()).reshape(features.shape), features)


def test_parquet_without_pyarrow_says_so(bigr: Run, data: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        done = bigr("embed", "data", "--recursive", "-o", "f.parquet")
        assert done.code == 2
        assert "pyarrow" in done.err
    else:
        pytest.skip("it is installed")


def test_scenes_and_codes(bigr: Run) -> None:
    done = bigr("embed", "scenes", "--count", 5, "--seed", 3, "--pool", "codes", "-o", "c.npz")
    assert done.code == 0, done.err
    file = np.load("c.npz")
    assert file["features"].shape == (5, 12)
    assert file["features"].dtype == np.uint8
    assert file["paths"].tolist() == [f"scenes:3:{number}" for number in range(5)]
    assert all(file["labels"])


def test_a_killed_run_goes_on_to_the_same_bits(bigr: Run, together: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (killed,) = together(1, *WORK, "-o", "killed.npz", before={0: DIES})
    assert killed.code < 0
    assert not Path("killed.npz").exists()
    assert len(list(Path(".killed.npz.features").glob("*.npz"))) == 3
    monkeypatch.setattr("bigr_cli.representation.embedding.PART", 8)
    done = bigr(*WORK, "-o", "killed.npz")
    assert done.code == 0, done.err
    assert "24 of 45 images were done before" in done.err
    assert bigr(*WORK, "-o", "whole.npz").code == 0
    assert Path("killed.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["killed.npz", "whole.npz"]


def test_processes_share_the_work(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "whole.npz").code == 0
    first, second = together(2, *WORK, "-o", "shared.npz", "--json", before=BOTH_SMALL)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["count"] == 45
    assert second.out == ""
    assert Path("shared.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["shared.npz", "whole.npz"]


@pytest.mark.slow
def test_a_lost_share_is_done_later(bigr: Run, together: Run) -> None:
    assert bigr(*WORK, "-o", "whole.npz").code == 0
    first, lost = together(2, *WORK, "-o", "shared.npz", before=BOTH_SMALL | {1: DIES_LATER})
    assert lost.code < 0
    assert first.code == 1, first.err
    assert "another process has ended" in first.err
    assert not Path("shared.npz").exists()
    done = {int(path.stem) for path in Path(".shared.npz.features").glob("*.npz")}
    assert done == {0, 2, 4, 1}
    first, second = together(2, *WORK, "-o", "shared.npz", before=BOTH_SMALL)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "32 of 45 images were done before" in first.err
    assert Path("shared.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["shared.npz", "whole.npz"]


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("0", "0"), ("one", "2")])
def test_numbers_of_processes_that_make_no_sense(
    bigr: Run, monkeypatch: pytest.MonkeyPatch, rank: str, count: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    done = bigr("embed", "scenes", "--count", 3, "-o", "f.npz")
    assert done.code == 2
    assert "WORLD_SIZE" in done.err


def test_the_number_of_threads_does_not_matter(bigr: Run) -> None:
    """A batch is embedded on one core, and several batches together; torch has as many threads afterwards as before."""
    import torch

    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            assert bigr(*WORK, "--threads", count, "-o", f"{count}.npz").code == 0
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert Path("1.npz").read_bytes() == Path("3.npz").read_bytes()


def test_other_settings_do_not_go_on_from_the_parts(bigr: Run, data: Path) -> None:
    Path(".f.npz.features").mkdir()
    Path(".f.npz.features/00000000.npz").write_bytes(b"anything")
    Path(".f.npz.features/identity").write_text("another run")
    done = bigr("embed", "data", "--recursive", "-o", "f.npz")
    assert done.code == 0, done.err
    assert "before" not in done.err
    assert not Path(".f.npz.features").exists()


def test_a_broken_image_is_left_out_and_listed(bigr: Run, data: Path) -> None:
    (data / "cat/p2.png").write_bytes(b"no image")
    done = bigr("embed", "data", "--recursive", "-o", "f.npz", "--json", "--failures", "failed.jsonl")
    assert done.code == 1
    assert "p2.png" in done.err
    assert "1 image of 6 failed" in done.err
    line = json.loads(done.out)
    assert line["count"] == 5
    assert line["failed"][0]["source"] == "data/cat/p2.png"
    assert "data/cat/p2.png" not in np.load("f.npz")["paths"]
    assert json.loads(Path("failed.jsonl").read_text())["source"] == "data/cat/p2.png"


def test_nothing_is_written_if_no_image_can_be_read(bigr: Run, tmp_path: Path) -> None:
    Path("a.png").write_bytes(b"x")
    Path("b.png").write_bytes(b"")
    assert bigr("embed", "a.png", "-o", "f.npz").code == 2
    assert bigr("embed", "a.png", "b.png", "-o", "f.npz").code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("layer", ["0", "1", "all"])
def test_features_that_are_not_finite(bigr: Run, data: Path, monkeypatch: pytest.MonkeyPatch, layer: str) -> None:
    from bigr_cli.core import network

    block = network.Block.forward
    monkeypatch.setattr(network.Block, "forward", lambda *words: block(*words) * float("nan"))
    done = bigr("embed", "data", "--recursive", "--layer", layer, "-o", "f.npz")
    assert done.code == 2
    assert f"layer {layer.replace('all', '0')}: features are not finite" in done.err
    assert [path.name for path in Path().iterdir()] == ["data"]


def test_an_empty_folder_and_one_image(bigr: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = bigr("embed", "empty", "-o", "f.npz")
    assert done.code == 2
    assert "empty" in done.err
    assert not Path("f.npz").exists()
    noise(30, 20).save("one.png")
    assert bigr("embed", "one.png", "-o", "f.npz").code == 0
    assert np.load("f.npz")["features"].shape == (1, 16)
    found = bigr("search", "one.png", "--index", "f.npz", "--json")
    assert json.loads(found.out)["path"] == "one.png"


def test_nothing_is_overwritten_unasked(bigr: Run, data: Path) -> None:
    Path("f.npz").write_bytes(b"mine")
    assert bigr("embed", "data", "--recursive", "-o", "f.npz").code == 2
    assert Path("f.npz").read_bytes() == b"mine"
    assert bigr("embed", "data", "--recursive", "-o", "f.npz", "--overwrite").code == 0
    assert np.load("f.npz")["features"].shape == (6, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.png", "-o", "f.npz"), "no such file"),
        (("-", "-o", "f.npz"), "stdin"),
        (("data/*/*.png", "-o", "f.txt"), "unknown kind of file"),
        (("data/*/*.png", "-o", "f.npz", "--layer", "7"), "0 to 1 or all"),
        (("data/*/*.png", "-o", "f.npz", "--label", "catt"), "did you mean cat"),
        (("data/*/*.png", "-o", "f.npz", "--pool", "codes", "--layer", "0"), "no layer"),
        (("data/*/*.png", "-o", "f.npz", "--count", "3"), "scenes"),
    ],
)
def test_wrong_usage(bigr: Run, data: Path, words: tuple[str, ...], message: str) -> None:
    done = bigr("embed", *words)
    assert done.code == 2
    assert message in done.err
    assert [path.name for path in Path().iterdir()] == ["data"]
