"""What the server answers is what the command that it prints writes, byte for byte."""

import base64
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CASES: dict[str, dict[str, Any]] = {
    "inpaint": {"class": "cat", "seed": 3},
    "inpaint, more": {
        "guess_class": True,
        "best_of": 3,
        "blend": "none",
        "mask_grow": 2,
        "invert_mask": True,
        "steps": 2,
    },
    "outpaint": {"right": "10", "top": "25%", "seed": 4, "gumbel": 0.5},
    "edit": {"class": "dog", "from_class": "cat", "strength": 0.7, "seed": 1},
    "edit, masked": {"class": "house", "mask": True, "seed": 1, "guidance_interval": [0.1, 0.8]},
    "edit, searched": {"class": "house", "mask_class": "cat", "mask_box": ["2,2,9,9"], "seed": 1},
    "mask": {"mask_class": "cat", "mask_box": ["2,2,9,9"], "mask_grow": 3},
    "enrich": {"scale": 2, "sharpen_only": True, "seed": 9, "order": "halton"},
    "generate": {"prompts": ["tree"], "negative": "dog", "seed": 12, "steps": 3},
    "interpolate": {"stops": ["cat", "tree"], "frames": 3, "seed": 2},
    "interpolate, gif": {"stops": ["cat", "tree"], "frames": 3, "loop": True, "format": "gif", "fps": 5, "seed": 2},
    "interpolate, webp": {"stops": ["cat", "tree"], "mixed": "even", "frames": 3, "format": "webp", "seed": 2},
    "interpolate, mp4": {"stops": [0, "3"], "strength": 0.5, "frames": 3, "format": "mp4", "seed": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_the_printed_command_writes_the_same_bytes(
    server: Any, bigr: Callable[..., Any], photo: bytes, mask: bytes, tmp_path: Path, monkeypatch: Any, case: str
) -> None:
    task, values = case.partition(",")[0], dict(CASES[case])
    body: dict[str, Any] = dict(values)
    masked = body.pop("mask", False) or task == "inpaint"
    if task not in ("generate", "interpolate"):
        body |= {"image": base64.b64encode(photo).decode(), "image_name": "my photo.png"}
    if masked:
        body |= {"mask": base64.b64encode(mask).decode(), "mask_name": "mask.png"}
    answer = server.client.post(f"/api/v1/{task}", json=body)
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["images"]
    monkeypatch.chdir(tmp_path)
    Path("my photo.png").write_bytes(photo)
    Path("mask.png").write_bytes(mask)
    words = shlex.split(made["command"])
    outcome = bigr(*words[1:])
    assert outcome.code == 0, outcome.err
    assert Path(made["name"]).read_bytes() == base64.b64decode(made["b64_json"])


def test_images_between_which_is_interpolated(
    server: Any, bigr: Callable[..., Any], photo: bytes, mask: bytes, tmp_path: Path, monkeypatch: Any
) -> None:
    files = [("images", ("a.png", photo)), ("images", ("b.png", mask))]
    answer = server.client.post("/api/v1/interpolate", data={"frames": "3", "seed": "1"}, files=files)
    (made,) = answer.json()["images"]
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(photo)
    Path("b.png").write_bytes(mask)
    assert bigr(*shlex.split(made["command"])[1:]).code == 0
    assert Path(made["name"]).read_bytes() == base64.b64decode(made["b64_json"])


def test_outside_the_mask_it_is_bit_for_bit_the_same(server: Any, photo: bytes, mask: bytes, tmp_path: Path) -> None:
    files = {"image": ("photo.png", photo), "mask": ("mask.png", mask)}
    answer = server.client.post("/api/v1/inpaint", data={"count": "2"}, files=files)
    before, levels = (np.asarray(_opened(data, tmp_path)) for data in (photo, mask))
    results = [np.asarray(_opened(base64.b64decode(one["b64_json"]), tmp_path)) for one in answer.json()["images"]]
    for result in results:
        assert np.array_equal(result[levels == 0], before[levels == 0])
        assert not np.array_equal(result[levels > 0], before[levels > 0])
    assert not np.array_equal(*results)


def test_variants_have_the_seeds_that_follow(server: Any) -> None:
    three = server.client.post("/api/v1/generate", json={"prompts": ["cat"], "count": 3, "seed": 5}).json()["images"]
    last = server.client.post("/api/v1/generate", json={"prompts": ["cat"], "seed": 7}).json()["images"]
    assert [one["seed"] for one in three] == [5, 6, 7]
    assert three[2]["b64_json"] == last[0]["b64_json"]


def test_a_seed_is_sampled_and_said(server: Any) -> None:
    one, other = (server.client.post("/api/v1/generate", json={"prompts": ["cat"]}).json() for _ in range(2))
    assert one["images"][0]["seed"] != other["images"][0]["seed"]
    assert one["images"][0]["recipe"]["seed"] == one["images"][0]["seed"]


def _opened(data: bytes, folder: Path) -> Image.Image:
    path = folder / "opened.png"
    path.write_bytes(data)
    with Image.open(path) as opened:
        opened.load()
        return opened.copy()
