"""Models as files for other programs, and back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bigr_cli.errors import ModelFormatError, UsageError
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.export import FORMATS, export_model
from bigr_cli.zoo.published.convert import import_published

GIVEN = Path(__file__).parents[1] / "data" / "published"
Run = Callable[..., object]


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    folder = tmp_path / "imported"
    import_published(GIVEN / "binaryae_ema_1000.th", GIVEN / "bigr_tiny.pt", heads=4, image_size=16, output=folder)
    return folder


def test_the_published_form_is_what_the_published_code_loads(imported: Path, tmp_path: Path) -> None:
    first, second = export_model(imported, tmp_path / "out", "published")
    given, made = (torch.load(path, weights_only=True) for path in (GIVEN / "binaryae_ema_1000.th", first))
    given = {name: tensor for name, tensor in given.items() if name.startswith("ae.")}
    assert {name: tensor.shape for name, tensor in made.items()} == {name: t.shape for name, t in given.items()}
    unused = [name for name in made if ".conv_out." in name or ".logsigma." in name]
    acting = [name for name in unused if made[name].any()]
    assert acting  # where the channel count changes
    for name in set(made) - set(unused) | set(acting):
        assert torch.equal(made[name], given[name]), name
    given, made = (torch.load(path, weights_only=True)["ema"] for path in (GIVEN / "bigr_tiny.pt", second))
    assert given.keys() == made.keys()
    for name, tensor in given.items():
        assert made[name].shape == tensor.shape
        assert torch.allclose(made[name], tensor, atol=1e-6), name


def test_there_and_back(imported: Path, tmp_path: Path) -> None:
    first, second = export_model(imported, tmp_path / "out", "published")
    again = import_published(first, second, heads=4, image_size=16, output=tmp_path / "again")
    assert again.sha256 == read_config(imported).sha256


@pytest.mark.parametrize(("kind", "name"), [("safetensors", "m.safetensors"), ("torch-checkpoint", "m.pt")])
def test_one_file_holds_any_model(tiny_model: Path, tmp_path: Path, kind: str, name: str) -> None:
    from safetensors.torch import load_file

    (path,) = export_model(tiny_model, tmp_path / "new" / name, kind)
    wanted = {part: load_file(tiny_model / f"{part}.safetensors") for part in ("tokenizer", "generator")}
    if kind == "safetensors":
        with safe_open(path, framework="pt") as file:
            config = json.loads(file.metadata()["config"])
        loaded = load_file(path)
        found = {
            part: {key.removeprefix(f"{part}."): value for key, value in loaded.items() if key.startswith(f"{part}.")}
            for part in wanted
        }
    else:
        found = torch.load(path, weights_only=True)
        config = found.pop("config")
    assert config["name"] == read_config(tiny_model).name
    for part, state in wanted.items():
        assert found[part].keys() == state.keys()
        assert all(torch.equal(found[part][key], value) for key, value in state.items())


def test_what_cannot_be_exported(imported: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not know"):
        export_model(tiny_model, tmp_path / "out", "published")
    for kind in FORMATS:
        there = tmp_path / {"published": "full", "safetensors": "a.safetensors", "torch-checkpoint": "a.pt"}[kind]
        if kind == "published":
            there.mkdir()
            (there / "tokenizer.th").write_bytes(b"mine")
        else:
            there.write_bytes(b"mine")
        with pytest.raises(UsageError, match="exists already"):
            export_model(imported, there, kind)
        export_model(imported, there, kind, overwrite=True)
    with pytest.raises(UsageError, match="expected a name"):
        export_model(imported, tmp_path / "a.txt", "safetensors")
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        export_model(imported, tmp_path / "full", "published", overwrite=True)
    weights = imported / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelFormatError, match="generator"):
        export_model(imported, tmp_path / "out", "published")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "message"), [("head: masked_bits", "its head is masked_bits"), ("attention: causal", "attention is causal")]
)
def test_what_the_published_code_does_not_know(imported: Path, tmp_path: Path, key: str, message: str) -> None:
    config = imported / "config.yaml"
    config.write_text(config.read_text().replace("generator:\n", f"generator:\n  {key}\n", 1))
    with pytest.raises(UsageError, match=message) as caught:
        export_model(imported, tmp_path / "out", "published")
    assert "which the published code does not know" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert export_model(imported, tmp_path / "all.safetensors", "safetensors") == [tmp_path / "all.safetensors"]


def test_a_tokenizer_alone_is_no_model(tmp_path: Path, imported: Path) -> None:
    from dataclasses import replace

    from bigr_cli.zoo.config import dump_config

    config: ModelConfig = read_config(imported)
    (imported / "config.yaml").write_text(dump_config(replace(config, generator=None, labels=())))
    with pytest.raises(UsageError, match="no generator"):
        export_model(imported, tmp_path / "out", "published")


def test_the_command(bigr: Run, imported: Path, tmp_path: Path) -> None:
    done = bigr("models", "export", imported, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert [Path(json.loads(line)["path"]).name for line in done.out.splitlines()] == ["tokenizer.th", "generator.pt"]
    assert bigr("models", "export", imported, "-o", tmp_path / "out").code == 2
    assert bigr("models", "export", imported, "--format", "onnx", "-o", tmp_path / "o").code == 2
