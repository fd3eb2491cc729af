"""Indexes, probes, references and manifests that are damaged, or that somebody else made."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bigr_cli import yaml_text
from bigr_cli.evaluation.report import Report, Table, write_report
from bigr_cli.plain_text import in_markdown

Run = Callable[..., Any]
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    monkeypatch.setenv("BIGR_DEVICE", "cpu")


def npy(array: "np.ndarray[Any, Any]", **header: object) -> bytes:
    """An array as a file; `header` says something else of it."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    if header:
        data, stream = stream.getvalue(), io.BytesIO()
        described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
        np.lib.format.write_array_header_1_0(stream, described)  # type: ignore[arg-type]
        stream.write(data[-array.nbytes :] if array.nbytes else b"")
    return stream.getvalue()


def zipped(parts: dict[str, bytes], path: str = "i.npz", **how: Any) -> None:
    with zipfile.ZipFile(path, "w", how.get("kind", zipfile.ZIP_STORED)) as archive:
        for name, data in parts.items():
            archive.writestr(f"{name}.npy", data)


@pytest.fixture
def parts(bigr: Run) -> dict[str, bytes]:
    """The arrays of an index, as files."""
    assert bigr("embed", "scenes", "--count", 3, "-o", "good.npz").code == 0
    with zipfile.ZipFile("good.npz") as archive:
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


def refused(bigr: Run, *words: object, says: str = "") -> str:
    done = bigr(*words)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err and "error: " in done.err
    assert not any(name in done.err for name in ("run with --debug", "weights_only", "MemoryError: "))
    assert says in done.err
    assert len(done.err) < 3000
    return str(done.err)


def test_damaged_indexes(bigr: Run, parts: dict[str, bytes]) -> None:
    search = ("search", "scenes:0:0", "--index", "i.npz")
    features = np.zeros((3, 16), np.float32)
    empty = np.zeros((0,), "<U1")
    objects = np.empty(3, object)
    cases: dict[str, dict[str, bytes]] = {
        "claims": parts | {"features": npy(features, shape=(10**9, 16))},
        "claims ": parts | {"features": npy(features, shape=(2**62, 2**62))},
        "claims  ": parts | {"paths": npy(np.zeros(1, "<U1"), descr="<U100000000", shape=(10**6,))},
        "objects": parts | {"features": npy(objects)},
        "objects ": parts | {"labels": npy(objects)},
        "no images": parts | {"features": npy(features[:0]), "paths": npy(empty), "labels": npy(empty)},
        "i.npz": parts | {"about": npy(np.array(DEEP))},
        "i.npz ": parts | {"about": npy(np.array(json.dumps({"model": "\x1b[2J"})))},
        "i.npz  ": {name: data for name, data in parts.items() if name != "paths"},
        "do not fit": parts | {"features": npy(np.zeros((3,), np.float32))},
        "no texts": parts | {"paths": npy(np.zeros(3))},
        "i.npz   ": parts | {"features": b"\x93NUMPY\x09\x00junk"},
        "finite": parts | {"features": npy(np.full((3, 16), np.nan, np.float32))},
    }
    for says, content in cases.items():
        zipped(content)
        assert "\x1b" not in refused(bigr, *search, says=says.strip())
    zipped(parts, kind=zipfile.ZIP_DEFLATED)
    raw = bytearray(Path("i.npz").read_bytes())
    raw[60:90] = os.urandom(30)
    Path("i.npz").write_bytes(raw)
    refused(bigr, *search, says="i.npz")
    zipped(parts)
    raw = bytearray(Path("i.npz").read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption, in both headers
        start = -1
        while (start := raw.find(mark, start + 1)) >= 0:
            raw[start + place] |= 1
    Path("i.npz").write_bytes(raw)
    refused(bigr, *search, says="encrypted")


def test_damaged_indexes_of_safetensors(bigr: Run) -> None:
    assert bigr("embed", "scenes", "--count", 3, "-o", "good.safetensors").code == 0
    raw = Path("good.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    texts = header["__metadata__"]
    for changed in (
        header | {"features": header["features"] | {"shape": [float("inf")]}},
        header | {"features": header["features"] | {"shape": [2**60, 16]}},
        header | {"features": header["features"] | {"dtype": "BF16"}},
        header | {"__metadata__": texts | {"paths": DEEP}},
        header | {"__metadata__": texts | {"paths": "[1, 2, 3]"}},
        header | {"__metadata__": texts | {"about": DEEP}},
        header | {"__metadata__": texts | {"labels": '{"a": 1}'}},
        header | {"__metadata__": {}},
    ):
        text = json.dumps(changed).encode()
        Path("i.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
        refused(bigr, "search", "scenes:0:0", "--index", "i.safetensors", says="i.safetensors")


def test_a_folder_that_an_index_names_counts_by_its_weights(
    bigr: Run, parts: dict[str, bytes], tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, "evil")
    config = yaml_text.read_mapping(Path("evil/config.yaml"))
    Path("evil/config.yaml").write_text(yaml_text.dump(config | {"name": "evil"}))
    weights = Path("evil/generator.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    about = json.loads(str(np.load(io.BytesIO(parts["about"]))))
    for names in ({"folder": "evil"}, {"folder": None, "model": "evil"}, {"folder": "./evil", "model": "tiny"}):
        zipped(parts | {"about": npy(np.array(json.dumps(about | names)))})
        refused(bigr, "search", "scenes:0:0", "--index", "i.npz", says="whose weights are not those of")
    shutil.copytree(tiny_model, "copy")
    zipped(parts | {"about": npy(np.array(json.dumps(about | {"folder": "copy"})))})
    assert bigr("search", "scenes:0:0", "--index", "i.npz").code == 0


def test_references(bigr: Run, tmp_path: Path) -> None:
    assert bigr("data", "scenes", "--count", 2, "-o", "imgs").code == 0
    evaluate = ("evaluate", "generation", "imgs", "--features", "scenes", "--reference")
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    torch.save({"mu": Evil(), "sigma": 1}, "pickle.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    Path("junk.pt").write_bytes(os.urandom(200))
    Path("empty.pt").touch()
    torch.save({"mu": np.zeros(3), "sigma": "x"}, "odd.pt")
    for name in ("pickle.pt", "plain.pt", "junk.pt", "empty.pt", "odd.pt"):
        refused(bigr, *evaluate, name, says=name)
    for number, content in enumerate(
        (
            {"mu": npy(np.zeros(3), shape=(10**12,)), "sigma": npy(np.eye(3))},
            {"mu": npy(np.zeros(3)), "sigma": npy(np.empty((3, 3), object))},
            {"mu": npy(np.array(["a"])), "sigma": npy(np.eye(1))},
            {"arr_0": npy(np.zeros((1, 4, 4, 3), np.uint8), shape=(10**9, 4, 4, 3))},
            {"mu": npy(np.zeros(3)), "sigma": npy(np.eye(3)), "count": npy(np.array("many"))},
        )
    ):
        zipped(content, f"{number}.npz")
        refused(bigr, *evaluate, f"{number}.npz", says=f"{number}.npz")
    assert not mark.exists()


def test_probes(bigr: Run) -> None:
    from safetensors.numpy import save_file

    weight, bias, about = np.zeros((2, 16), np.float32), np.zeros(2, np.float32), json.dumps({"model": "x"})
    for arrays, texts in (
        ({"weight": weight, "bias": bias}, {"labels": DEEP, "about": about}),
        ({"weight": weight, "bias": bias}, {"labels": '["a", "b"]', "about": DEEP}),
        ({"weight": weight + np.float32(np.nan), "bias": bias}, {"labels": '["a", "b"]', "about": about}),
        ({"weight": weight.astype(np.int64), "bias": bias}, {"labels": '["a", "b"]', "about": about}),
    ):
        save_file(arrays, "p.safetensors", metadata=texts)
        refused(bigr, "classify", "scenes", "--count", 1, "--probe", "p.safetensors", says="p.safetensors")


@pytest.mark.parametrize("key", ["output", "image", "mask", "class", "mask-box", "recipe"])
@pytest.mark.parametrize("value", ["a\0b.png", "\x1b]0;owned\x07", "a" * 5000, "a/\ud800.png"])
def test_manifests(bigr: Run, key: str, value: str) -> None:
    from PIL import Image

    Image.new("RGB", (16, 16)).save("a.png")
    line = {"image": "a.png", "mask-box": "0,0,4,4", key: value}
    Path("jobs.jsonl").write_text(json.dumps(line) + "\n")
    done = bigr("inpaint", "--manifest", "jobs.jsonl", "--steps", 1, "--timesteps", 1)
    assert done.code in (0, 1, 2) and "Traceback" not in done.err and "--debug" not in done.err
    assert done.code == 2 or (key == "output" and "\0" not in value)
    assert not set("\x1b\x07\0") & set(done.err + done.out)


def test_tables_in_markdown(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> ![x](http://a/b.png) | &lt;b&gt; \x1b[2J\n# x"
    table = Table((evil, "c"), ((evil, "<4> & 5"),), frozenset({(0, 0)}))
    report = Report(evil, evil, table, [(evil, evil)], {}, {}, [], command=f"bigr '```\n{evil}'")
    write_report(tmp_path / "r", report)
    text = (tmp_path / "r" / "table.md").read_text()
    outside = text.partition("````\n")[0]
    assert "<script" not in outside and "</script" not in outside and "](" not in outside and "\x1b" not in outside
    assert "| <4> & 5 |" in outside and "&amp;lt;b&amp;gt;" in outside
    assert text.rstrip().endswith("````")
    page = (tmp_path / "r" / "index.html").read_text()
    assert "<script" not in page and "alert(1)" in page
    assert in_markdown("a <b> c") == "a &lt;b> c"
