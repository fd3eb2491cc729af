"""`bigr search` as its users meet it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigr_cli.zoo.folder import load_model, save_model

Run = Callable[..., object]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))


@pytest.mark.parametrize(
    ("pool", "suffix", "best"),
    [("mean", "npz", 1), ("tokens", "npz", 1), ("grid3", "npz", 1), ("codes", "safetensors", 0)],
)
def test_an_image_is_nearest_to_itself(bigr: Run, pool: str, suffix: str, best: int) -> None:
    index = f"i.{suffix}"
    exact = ("--dtype", "float32")
    assert bigr("embed", "scenes", "--count", 12, "--pool", pool, "-o", index, *exact).code == 0
    done = bigr("search", "scenes:0:7", "--index", index, "-n", 4, "--json", *exact)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["path"] == "scenes:0:7"
    key = "distance" if pool == "codes" else "similarity"
    assert rows[0][key] == pytest.approx(best, abs=1e-5)
    scores = [row[key] for row in rows]
    assert scores == sorted(scores, reverse=pool != "codes")


def test_a_file_a_table_and_a_sheet(bigr: Run) -> None:
    for index in range(3):
        levels = np.random.default_rng(index).integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(levels).save(f"p{index}.png")
    assert bigr("embed", "p*.png", "-o", "i.npz", "--layer", 1).code == 0
    Path("p2.png").unlink()
    done = bigr("search", "p1.png", "--index", "i.npz", "--grid", "sheet.png")
    assert done.code == 0, done.err
    assert done.out.split()[:2] == ["rank", "similarity"]
    assert "p1.png" in done.out.splitlines()[1]
    assert "left blank" in done.err
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 250
    assert bigr("search", "p1.png", "--index", "i.npz", "--grid", "sheet.png").code == 2


def test_another_model_is_an_error(bigr: Run, tiny_model: Path, tmp_path: Path) -> None:
    network, config = load_model(tiny_model)
    for parameter in network.parameters():
        parameter.data += 0.01
    save_model(tmp_path / "other", config, network.tokenizer, network.generator)
    bigr("embed", "scenes", "--count", 2, "-o", "i.npz")
    done = bigr("search", "scenes:0:0", "--index", "i.npz", "-m", "other")
    assert done.code == 2
    assert "i.npz" in done.err
    assert "other" in done.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x00" * 64])
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_damaged_index(bigr: Run, content: bytes, suffix: str) -> None:
    Path(f"i.{suffix}").write_bytes(content)
    done = bigr("search", "scenes:0:0", "--index", f"i.{suffix}")
    assert done.code == 2, done.err
    assert f"i.{suffix}" in done.err
    assert "Traceback" not in done.err


def test_an_index_of_another_make(bigr: Run) -> None:
    np.savez("i.npz", features=np.zeros((2, 3)), paths=["a", "b"])
    assert bigr("search", "scenes:0:0", "--index", "i.npz").code == 2
    assert bigr("search", "scenes:0:0", "--index", "nowhere.npz").code == 2
    assert bigr("search", "scenes:0:0", "--index", "i.jsonl").code == 2
