"""Model folders to a hub on this machine, and back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from bigr_cli.zoo import find

Bigr = Callable[..., Any]
Hub = Any


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Path:
    """An empty place for packaged models, and a login."""
    monkeypatch.setattr(find, "packaged_models", lambda: tmp_path / "packaged")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return tmp_path / "packaged"


def test_there_and_back(bigr: Bigr, home: Path, hub: Hub, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine alone")
    outcome = bigr("models", "push", folder, "me/small-one", "--private")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{hub.url}/me/small-one\n"
    names = {"config.yaml", "README.md", "tokenizer.safetensors", "generator.safetensors"}
    assert set(hub.files) == {f"me/small-one/{name}" for name in names}
    outcome = bigr("models", "pull", "me/small-one")
    assert outcome.code == 0, outcome.err
    pulled = home / "models" / "small-one"
    for name in names - {"config.yaml"}:
        assert (pulled / name).read_bytes() == (folder / name).read_bytes()
    assert bigr("models", "verify", "small-one").code == 0
    assert not any(path.is_file() for path in (home / "cache").rglob("*"))
    record = json.loads(bigr("models", "push", pulled, "me/again", "--json").out)
    assert (record["repository"], record["path"]) == ("me/again", str(pulled))


def test_what_is_not_pushed(
    bigr: Bigr, hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bigr("models", "push", folder, "just-a-name").code == 2
    assert bigr("models", "push", folder, "../x").code == 2
    assert bigr("models", "push", tmp_path, "me/x").code == 2
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "needs the network" in bigr("models", "push", folder, "me/x").err
    assert hub.asked == []
    with monkeypatch.context() as patch:
        patch.delenv("HF_TOKEN")
        outcome = bigr("models", "push", folder, "me/x")
        assert (outcome.code, "hf auth login" in outcome.err) == (2, True)
    hub.asked.clear()
    card = folder / "README.md"
    card.unlink()
    card.symlink_to("/etc/passwd")
    assert "README.md: is a link" in bigr("models", "push", folder, "me/x").err
    card.unlink()
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "is truncated or damaged" in bigr("models", "push", folder, "me/x").err
    weights.unlink()
    assert "is missing" in bigr("models", "push", folder, "me/x").err
    assert (hub.asked, hub.files) == ([], {})


def test_damaged_repositories(bigr: Bigr, home: Path, hub: Hub, folder: Path) -> None:
    hub.files["me/other/pytorch_model.bin"] = b"x"
    outcome = bigr("models", "pull", "me/other")
    assert outcome.code == 2
    assert "me/other: holds no model folder: it has no config.yaml" in outcome.err
    hub.add("me/small", folder)
    name = "me/small/generator.safetensors"
    hub.files[name] = hub.files[name][:-1] + b"\0"
    outcome = bigr("models", "pull", "me/small")
    assert outcome.code == 2
    assert "me/small/generator.safetensors: has SHA-256 " in outcome.err
    hub.files["me/small/config.yaml"] += b"\nextra: 1\n"
    assert "me/small/config.yaml: unknown key 'extra'" in bigr("models", "pull", "me/small").err
    hub.files["me/small/config.yaml"] = b"x" * 10_000_001
    assert "me/small/config.yaml: is too long" in bigr("models", "pull", "me/small").err
    assert not (home / "models").exists()


def test_the_endpoint_is_a_variable(bigr_process: Bigr, home: Path, hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.add("me/small", folder)
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1,localhost"}
    outcome = bigr_process("models", "pull", "me/small", env=env)
    assert outcome.code == 0, outcome.err
    assert outcome.err.endswith(f"made {home / 'models' / 'small'}\n")
    assert hub.tokens["hub"] == "Bearer hf_secret"
    outcome = bigr_process("models", "pull", "me/small", "--overwrite", env={**env, "HF_HUB_OFFLINE": "1"})
    assert (outcome.code, "this is offline" in outcome.err) == (2, True)


def test_a_packaged_model_is_not_hidden(bigr: Bigr, hub: Hub, folder: Path, packaged: Path) -> None:
    shutil.copytree(folder, packaged / "small")
    hub.add("me/small", folder)
    outcome = bigr("models", "pull", "me/small")
    assert outcome.code == 2
    assert "small: is the name of a model that comes with bigr" in outcome.err
    assert bigr("models", "pull", "me/small", "--name", "mine").code == 0
    assert bigr("models", "show", "mine").code == 0
