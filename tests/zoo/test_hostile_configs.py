"""Model folders that somebody else made: whatever a config says, it is told what is wrong with it, at once."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bigr_cli import yaml_text
from bigr_cli.zoo import find

Bigr = Callable[..., Any]
Save = Callable[[Path], Path]

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save) -> Path:
    """The place of packaged models, with one that is as it should be."""
    place = tmp_path / "packaged"
    place.mkdir()
    monkeypatch.setattr(find, "packaged_models", lambda: place)
    save(place / "scenes-64")
    return place


def changed(folder: Path, key: str, value: object) -> str:
    """The text of a folder's config with one key, by its dotted name, set anew."""
    config = yaml_text.read_mapping(folder / "config.yaml")
    *above, last = key.split(".")
    inner = config
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return yaml_text.dump(config)


HUGE = 10**9
SIZES = {
    "generator.layers": HUGE,
    "generator.transcoder_layers": HUGE,
    "generator.transcoder_width": HUGE,
    "generator.diffusion_timesteps": HUGE,
    "generator.dim": 4 * HUGE,
    "generator.ffn_multiple": HUGE,
    "generator.classes": HUGE,
    "generator.norm_eps": float("nan"),
    "generator.rope_base": float("inf"),
    "generator.dropout": float("nan"),
    "tokenizer.decoder_blocks": [HUGE, HUGE],
    "tokenizer.encoder_blocks": [-1, 1],
    "tokenizer.channels": [8] * 40,
    "tokenizer.image_size": 10**30,
    "tokenizer.bits": -(10**30),
    "image_size": 10**300,
    "sampling.steps": HUGE,
    "sampling.guidance": float("nan"),
    "sampling.temperature": 0.0,
    "painting": {"steps": HUGE},
    "presets": {"fast": {"timesteps": 10**30}, "x" * 100_000: {}},
    "refine": HUGE,
    "representation": {"layer": 10**20},
    "name": "\x1b]0;owned\x07" * 10_000,
    "labels": ["a"] * 5_000,
    "sha256": {"\x1b[2J" * 1000: "f"},
    "licence": {"deep": [[[[1]]]]},
    "source": {"repository": "../../x", "tokenizer": "/etc/passwd", "generator": "b"},
    "x" * 500_000: 1,
}
MORE = {"generator.norm_eps": (0.0, -1e-5, float("inf"), 2.0), "generator.rope_base": (0.0, -1.0, float("nan"))}


def hostile(folder: Path) -> Iterator[tuple[str, str]]:
    """Configs to be refused, each made of that of a good folder, with the key that the message should name."""
    for key, value in SIZES.items():
        yield key.rpartition(".")[2][:12], changed(folder, key, value)
    for key, values in MORE.items():
        for value in values:
            yield key.rpartition(".")[2], changed(folder, key, value)
    good = (folder / "config.yaml").read_text()
    yield "5,002 digits", good.replace("layers: 2", f"layers: 0x{'f' * 5000}")
    yield "digits", good.replace("layers: 2", f"layers: {'9' * 6000}")
    yield "values", good + BOMB
    yield "alias", good + "b: &b [*b]\n"
    yield "nest", good + f"b: {'[' * 10_000}{']' * 10_000}\n"
    yield "4 MB", good + "#" * 5_000_000
    yield "text (byte", good.replace("small", "\udcff")
    autoencoder = {
        "architecture": "autoencoder",
        "image_size": 16,
        "bits": 6,
        "channels": 32,
        "multipliers": [1, 1],
        "embedding": 32,
    }
    for key, value in {
        "res_blocks": HUGE,
        "multipliers": [1] * 5_000,
        "attention_resolutions": [1] * 5_000,
        "embedding": 32 * HUGE,
        "channels": 32 * HUGE,
    }.items():
        yield key, changed(folder, "tokenizer", {**autoencoder, key: value})
    text = {"encoder": "bytes", "tokens": 8 * HUGE, "width": 16, "layers": 1, "heads": 2, "group": 8}
    for given, key in ((text, "tokens"), (text | {"tokens": 32, "layers": HUGE}, "layers")):
        generator = yaml_text.parse(changed(folder, "generator.text", given), source="x")["generator"]
        yield key, changed(folder, "generator", generator | {"classes": 0, "condition": "text"})


def test_hostile_configs_are_listed_as_broken_and_nothing_else_is(
    bigr: Bigr, home: Path, packaged: Path, save: Save
) -> None:
    good = save(home / "models" / "good")
    bad = {}
    for number, (key, text) in enumerate(hostile(good)):
        folder = home / "models" / f"bad-{number}"
        folder.mkdir()
        (folder / "config.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
        bad[folder.name] = key
    (home / "models" / "odd").mkdir()
    os.mkfifo(home / "models" / "odd" / "config.yaml")
    began = time.perf_counter()
    shown = bigr("models", "list", "--json")
    entries = {entry["name"]: entry for entry in map(json.loads, shown.out.splitlines())}
    assert shown.code == 0
    assert {name for name, entry in entries.items() if entry["state"] == "broken"} == set(bad)
    assert entries.keys() - bad.keys() == {"good", "scenes-64"}
    assert [name for name, key in bad.items() if key not in entries[name]["problem"]] == []
    assert max(len(entry["problem"] or "") for entry in entries.values()) < 1200
    table = bigr("models", "list")
    assert (table.code, table.out.count("broken"), table.out.count("ready")) == (0, len(bad), 2)
    assert not set("\x1b\x07\x9b") & set(table.out + table.err)
    assert bigr("doctor").out.count("(broken)") == len(bad)
    assert bigr("models", "default").code == bigr("models", "verify", "good").code == 0
    assert time.perf_counter() - began < 60
    for name in list(bad)[::6]:
        for words in (("models", "show", name), ("models", "verify", name), ("generate", "a", "-m", name)):
            failed = bigr(*words)
            assert (failed.code, "Traceback" in failed.err, len(failed.err) < 3000) == (2, False, True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generator.layers", 300),
        ("generator.dim", 65_536),
        ("generator.transcoder_width", 65_536),
        ("generator.classes", 9_000_000),
        ("tokenizer.channels", [16_384, 16_384]),
    ],
)
def test_sizes_are_compared_with_the_files_before_a_model_is_laid_out(
    bigr: Bigr, home: Path, save: Save, key: str, value: object
) -> None:
    folder = save(home / "models" / "m")
    text = changed(folder, key, value)
    (folder / "config.yaml").write_text(text if key != "generator.classes" else text.replace("labels: [a, b, c]", ""))
    assert bigr("models", "list").code == 0
    for words in (
        ("generate", "0", "-m", "m"),
        ("models", "verify", "m"),
        ("embed", "scenes", "--count", 1, "-m", "m"),
    ):
        began = time.perf_counter()
        failed = bigr(*words, *(("-o", home / "x.npz") if words[0] == "embed" else ()))
        assert time.perf_counter() - began < 20
        assert failed.code == 2
        assert ".safetensors" in failed.err


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize(
    ("file", "tensor"),
    [("generator.safetensors", "blocks.1.ffn_norm.weight"), ("tokenizer.safetensors", "decoder.")],
)
def test_weights_that_are_not_finite(
    bigr: Bigr, tmp_path: Path, save: Save, file: str, tensor: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    folder = save(tmp_path / "m")
    state = load_file(folder / file)
    name = next(name for name in state if name.startswith(tensor))
    state[name].view(-1)[-1] = value
    save_file(state, folder / file, metadata={"format": "pt"})
    for dtype in ("float32", "int8"):
        failed = bigr("generate", "a", "-m", folder, "--dtype", dtype)
        assert (failed.code, list(tmp_path.glob("*.png"))) == (2, [])
        assert f"{file}: holds NaN or infinite numbers in {name}" in failed.err
    assert name in bigr("models", "verify", folder).err
    if file.startswith("tokenizer"):
        failed = bigr("evaluate", "reconstruction", folder, "--data", "scenes", "--count", 16)
        assert (failed.code, name in failed.err) == (2, True)


def test_damaged_headers(bigr: Bigr, tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path / "m")
    path = folder / "generator.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    good = json.loads(raw[8 : 8 + length])
    name = next(name for name in good if name != "__metadata__")
    for entry in (
        {"shape": [float("inf")]},
        {"shape": [10**400]},
        {"shape": [-1]},
        {"shape": [2.5]},
        {"shape": [[1]]},
        {"data_offsets": [0, float("inf")]},
        {"data_offsets": [float("nan")]},
        {"dtype": "\x1b[2J"},
        {"shape": [2**62, 2**62]},
    ):
        text = json.dumps({**good, name: {**good[name], **entry}}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
        for words in (("generate", "a"), ("models", "verify")):
            failed = bigr(*words, *(("-m",) if words[0] == "generate" else ()), folder)
            assert (failed.code, "Traceback" in failed.err) == (2, False)
            assert "generator.safetensors" in failed.err
            assert "\x1b" not in failed.err


@pytest.mark.parametrize(
    ("command", "text", "key"),
    [
        ("train-generator", "generator: {layers: 1000000000}", "layers: expected at most"),
        ("train-generator", "generator: {layers: 512, dim: 65536}", "parameters needs"),
        ("train-generator", "generator: {dim: 0x" + "f" * 5000 + "}", "digits"),
        ("train-generator", "sampling: {guidance: .nan}", "guidance"),
        ("train-generator", "masking: {timesteps_per_token: 1000000000}", "timesteps_per_token"),
        ("train-tokenizer", "losses: {adversarial: {layers: 1000000000, weight: 1}}", "layers: expected at most"),
        ("train-tokenizer", "data: {workers: 1000000000}", "workers"),
        ("train-tokenizer", "run: {batch: 1000000000000}", "batch"),
        ("train-tokenizer", "optimizer: {weight_decay: .inf}", "weight_decay"),
        ("train-tokenizer", BOMB, "values"),
        ("train-tokenizer", "name: &a [*a]", "alias"),
    ],
)
def test_hostile_training_configs(bigr: Bigr, tmp_path: Path, command: str, text: str, key: str) -> None:
    tokenizer = "" if command == "train-generator" else "tokenizer: {architecture: compact, image_size: 16, bits: 4}\n"
    (tmp_path / "t.yaml").write_text(f"{tokenizer or 'tokenizer: scenes-64'}\n{text}\n")
    began = time.perf_counter()
    failed = bigr(command, "--config", tmp_path / "t.yaml", "-o", tmp_path / "run")
    assert (failed.code, key in failed.err, "Traceback" in failed.err) == (2, True, False), failed.err
    assert not (tmp_path / "run").exists()
    assert time.perf_counter() - began < 30
