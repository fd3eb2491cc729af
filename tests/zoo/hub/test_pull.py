"""Pulling published models from a hub on this machine."""

import errno
import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from bigr_cli.zoo import find
from bigr_cli.zoo.config import ModelConfig, dump_config, read_config
from bigr_cli.zoo.folder import load_model
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.published.convert import import_published
from bigr_cli.zoo.source import Source

GIVEN = Path(__file__).parents[2] / "data" / "published"
REPOSITORY = "lab/Tiny"
SOURCE = Source(repository=REPOSITORY, tokenizer="bae/t.th", generator="gpt/g.pt", size=5_000_000)
T, G = f"{REPOSITORY}/bae/t.th", f"{REPOSITORY}/gpt/g.pt"
Bigr = Callable[..., Any]
Hub = Any


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """What a card of the given checkpoints says."""
    config = import_published(
        GIVEN / "binaryae_ema_1000.th",
        GIVEN / "bigr_tiny.pt",
        heads=4,
        image_size=16,
        output=tmp_path_factory.mktemp("card") / "tiny",
        licence="MIT",
    )
    return replace(config, sha256={}, source=SOURCE)


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: ModelConfig, hub: Hub) -> Path:
    """A place of packaged models with the card of one, whose weights the hub has."""
    place = tmp_path / "packaged"
    (place / "tiny").mkdir(parents=True)
    (place / "tiny" / "config.yaml").write_text(dump_config(card))
    monkeypatch.setattr(find, "packaged_models", lambda: place)
    hub.files[T] = (GIVEN / "binaryae_ema_1000.th").read_bytes()
    hub.files[G] = (GIVEN / "bigr_tiny.pt").read_bytes()
    return place


def nothing_left(home: Path) -> bool:
    """No model, and nothing hidden beside where it would be."""
    return not (home / "models").exists() or not any((home / "models").iterdir())


def test_a_card_is_pulled(bigr: Bigr, home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "to be pulled" in bigr("models", "list").out
    outcome = bigr("models", "pull", "tiny")
    folder = home / "models" / "tiny"
    assert (outcome.code, outcome.out) == (0, "")
    lines = outcome.err.splitlines()
    assert lines[0] == "tiny: licence MIT"
    assert lines[1].endswith("MB from lab/Tiny")
    assert lines[2:] == [f"made {folder}"]
    assert bigr("models", "verify", "tiny").out == f"{folder}: ok\n"
    assert load_model(folder)[1].generator is not None
    source = read_config(folder).source
    assert source is not None
    assert source.revision == ("c0ffee" * 7)[:40]
    assert source.sha256["gpt/g.pt"] == hashlib.sha256(hub.files[G]).hexdigest()
    assert (hub.sent[T], hub.sent[G]) == (len(hub.files[T]), len(hub.files[G]))
    assert not any(path.is_file() for path in (home / "cache").rglob("*"))
    assert hub.tokens == {"hub": "Bearer hf_secret", "cdn": None}


def test_weights_can_be_kept_smaller(bigr: Bigr, home: Path) -> None:
    outcome = bigr("models", "pull", "tiny", "--dtype", "bfloat16", "--name", "half", "--json", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    record = json.loads(outcome.out)
    assert (record["path"], record["state"]) == (str(home / "models" / "half"), "ready")
    assert record["bytes"] < 2.2 * record["parameters"]
    assert bigr("models", "pull", "tiny", "--dtype", "int8").code == 2


def test_a_broken_connection_is_taken_up_at_once(bigr: Bigr, hub: Hub) -> None:
    hub.cuts[G] = [1 << 17, 1 << 16]
    assert bigr("models", "pull", "tiny").code == 0
    assert hub.sent[G] == len(hub.files[G])


def test_a_server_that_sends_no_parts(bigr: Bigr, hub: Hub) -> None:
    hub.ranges, hub.cuts[G] = False, [1 << 17]
    assert bigr("models", "pull", "tiny").code == 0
    assert hub.sent[G] == len(hub.files[G]) + (1 << 17)


def test_a_later_run_goes_on(bigr: Bigr, home: Path, hub: Hub) -> None:
    hub.cuts[G] = [1 << 17]
    hub.falls_with = G
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 1
    assert outcome.err.count("error: ") == 1
    assert "lab/Tiny/gpt/g.pt: the hub cannot be reached" in outcome.err
    assert "hint: run the same command again: it goes on where this one stopped" in outcome.err
    assert nothing_left(home)
    hub.down, hub.falls_with = False, ""
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 0
    assert "of it still to come" in outcome.err
    assert (hub.sent[T], hub.sent[G]) == (len(hub.files[T]), len(hub.files[G]))


def test_wrong_hash_and_size(bigr: Bigr, home: Path, hub: Hub) -> None:
    size = len(hub.files[T])
    hub.claims[T] = ("0" * 64, size)
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 1
    assert "lab/Tiny/bae/t.th: has SHA-256 " in outcome.err
    hub.claims[T] = (hashlib.sha256(hub.files[T]).hexdigest(), size + 10)
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 1
    assert f"the hub promised {size + 10:,} bytes and {size:,} came" in outcome.err
    assert nothing_left(home)
    assert not [path for path in (home / "cache").rglob("*.part")]
    hub.claims.clear()
    assert bigr("models", "pull", "tiny").code == 0


def test_hash_of_the_card(bigr: Bigr, home: Path, packaged: Path, card: ModelConfig) -> None:
    wanted = replace(card, source=replace(SOURCE, sha256={SOURCE.generator: "1" * 64}))
    (packaged / "tiny" / "config.yaml").write_text(dump_config(wanted))
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 2
    assert "its config says 111111111111…" in outcome.err
    assert nothing_left(home)


def test_a_card_of_another_architecture(bigr: Bigr, home: Path, packaged: Path, card: ModelConfig) -> None:
    assert card.generator is not None
    other = replace(card, generator=replace(card.generator, layers=9))
    (packaged / "tiny" / "config.yaml").write_text(dump_config(other))
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 2
    assert "g.pt: layers is " in outcome.err
    assert "the card says 9" in outcome.err
    assert nothing_left(home)


def test_a_download_is_kept_when_what_follows_fails(
    bigr: Bigr, home: Path, hub: Hub, packaged: Path, card: ModelConfig
) -> None:
    """With the card corrected, or a newer version, nothing is fetched again."""
    assert card.generator is not None
    config = packaged / "tiny" / "config.yaml"
    config.write_text(dump_config(replace(card, generator=replace(card.generator, layers=9))))
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == 2
    kept = [path for path in (home / "cache" / "downloads").iterdir() if any(path.glob("*.*"))]
    assert len(kept) == 2
    said = " ".join(outcome.err.split())
    assert "is kept, and the same command goes on with it; to remove it, delete " in said
    assert all(str(folder) in said for folder in kept)
    assert nothing_left(home)
    config.write_text(dump_config(card))
    hub.sent.clear()
    outcome = bigr("models", "pull", "tiny")
    assert (outcome.code, "nothing of it still to come" in outcome.err) == (0, True)
    assert sum(hub.sent.values()) == 0
    assert not any(path.is_file() for path in (home / "cache").rglob("*"))


def test_a_download_is_kept_when_the_disk_is_full(
    bigr: Bigr, home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bigr_cli.zoo.folder.write_tensors", full)
        outcome = bigr("models", "pull", "tiny")
    assert (outcome.code, "is kept, and the same command goes on" in " ".join(outcome.err.split())) == (1, True)
    assert nothing_left(home)
    hub.sent.clear()
    assert bigr("models", "pull", "tiny").code == 0
    assert sum(hub.sent.values()) == 0


def test_no_more_is_written_than_was_promised(bigr: Bigr, home: Path, hub: Hub) -> None:
    """A server that sends more, or a small body that unpacks to more, is stopped at the promised size."""
    content = hub.files[G]
    for promised, body in ((2000, b""), (len(content), content + bytes(50_000_000))):
        hub.compressed.clear()
        if body:
            hub.compressed[G] = gzip.compress(body, 1)
        hub.claims[G] = (hashlib.sha256(content).hexdigest(), promised)
        outcome = bigr("models", "pull", "tiny")
        written = [path.stat().st_size for path in (home / "cache").rglob("g.pt*")]
        assert (outcome.code, written) == (1, [])
        assert f"lab/Tiny/gpt/g.pt: the hub promised {promised:,} bytes and sends more" in outcome.err


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "message"),
    [
        (404, "RepoNotFound", 2, "there is no such repository"),
        (404, "EntryNotFound", 2, "the repository has no such file"),
        (404, "RevisionNotFound", 2, "the repository has no such branch or commit"),
        (401, "RepoNotFound", 2, "there is no such repository, or it needs a login"),
        (401, "", 2, "there is no such repository, or it needs a login"),
        (403, "GatedRepo", 2, "its owner asks for a login and for agreement to terms"),
        (403, "", 2, "the hub does not allow it to this login"),
        (500, "", 1, "the hub answered with status 500"),
    ],
)
def test_refusals(bigr: Bigr, home: Path, hub: Hub, status: int, code: str, exit_code: int, message: str) -> None:
    hub.refusals[REPOSITORY] = (status, code)
    outcome = bigr("models", "pull", "tiny")
    assert outcome.code == exit_code
    assert f"error: lab/Tiny/bae/t.th: {message}" in " ".join(outcome.err.split())
    assert ("hf auth login, or put a token in HF_TOKEN" in outcome.err) == (status in (401, 403) or "Repo" in code)
    assert nothing_left(home)


def test_no_hub_answers(bigr: Bigr, hub: Hub) -> None:
    hub.nameless = True
    outcome = bigr("models", "pull", "tiny")
    assert (outcome.code, "is no model hub" in outcome.err) == (1, True)
    hub.down = True
    outcome = bigr("models", "pull", "tiny")
    assert (outcome.code, "the hub cannot be reached" in outcome.err) == (1, True)


def test_offline(bigr: Bigr, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = bigr("models", "pull", "tiny", "--offline")
    assert outcome.code == 2
    assert "lab/Tiny/bae/t.th: is not in the hub's cache" in outcome.err
    for file in (SOURCE.tokenizer, SOURCE.generator):
        hf_hub_download(REPOSITORY, file)
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert bigr("models", "pull", "tiny").code == 0
    assert hub.asked == []


def test_the_cache_of_the_hub_is_used(bigr: Bigr, hub: Hub) -> None:
    cached = Path(hf_hub_download(REPOSITORY, SOURCE.generator))
    hub.sent.clear()
    assert bigr("models", "pull", "tiny").code == 0
    assert hub.sent[G] == 0
    assert cached.is_file()


def test_existing_models_stay(bigr: Bigr, home: Path, hub: Hub, tmp_path: Path) -> None:
    assert bigr("models", "pull", "tiny").code == 0
    hub.asked.clear()
    outcome = bigr("models", "pull", "tiny")
    assert (outcome.code, hub.asked) == (2, [])
    assert "hint: --overwrite replaces it" in outcome.err
    assert bigr("models", "pull", "tiny", "--overwrite").code == 0
    (tmp_path / "elsewhere").mkdir()
    (home / "models" / "linked").symlink_to(tmp_path / "elsewhere")
    outcome = bigr("models", "pull", "tiny", "--name", "linked", "--overwrite")
    assert (outcome.code, "is a link" in outcome.err) == (2, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../tiny", "..", "a/../b", "/etc/passwd", "a/b/c", "a\\b", "a/.b", "-x/y", "", "owner/", "/x", "a--b/c"]
)
def test_hostile_names(bigr: Bigr, home: Path, hub: Hub, name: str) -> None:
    assert bigr("models", "pull", "--", name).code == 2
    assert bigr("models", "pull", "tiny", "--name", name or "..").code == 2
    assert hub.asked == []
    assert nothing_left(home)


def test_unknown_cards(bigr: Bigr, packaged: Path, save: Callable[[Path], Path]) -> None:
    assert "did you mean tiny?" in bigr("models", "pull", "tinny").err
    save(packaged / "whole")
    outcome = bigr("models", "pull", "whole")
    assert (outcome.code, "nothing to pull" in outcome.err) == (2, True)


def test_a_full_disk(bigr: Bigr, home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(home)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        outcome = bigr("models", "pull", "tiny")
        assert outcome.code == 1
        assert "the disk has 1.0 MB free" in outcome.err
        assert sum(hub.sent.values()) == 0

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bigr_cli.zoo.hub.client._Counted.write", full)
        outcome = bigr("models", "pull", "tiny")
        assert (outcome.code, "bae/t.th: the disk is full" in outcome.err) == (1, True)
    assert nothing_left(home)


def test_weights_that_are_not_here(bigr: Bigr, tmp_path: Path) -> None:
    outcome = bigr("generate", "0", "-m", "tiny", "-o", tmp_path / "x.png")
    assert outcome.code == 2
    assert "the weights of tiny are not here" in outcome.err
    assert "hint: bigr models pull tiny brings them (5.0 MB)" in outcome.err


def test_pulled_weights_are_those_of_an_import(bigr: Bigr, home: Path) -> None:
    assert bigr("models", "pull", "tiny").code == 0
    words = ["--tokenizer", GIVEN / "binaryae_ema_1000.th", "--generator", GIVEN / "bigr_tiny.pt"]
    assert bigr("models", "import", *words, "--heads", 4, "--image-size", 16, "--name", "imported").code == 0
    one, other = (load_model(home / "models" / name)[0].state_dict() for name in ("tiny", "imported"))
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def test_a_tokenizer_saved_with_all_of_its_training(
    bigr: Bigr, home: Path, hub: Hub, tmp_path: Path, training_files: ModuleType
) -> None:
    """The published form: the discriminator, whose counters are int64, and the perceptual network lie beside it."""
    assert bigr("models", "pull", "tiny", "--name", "bare").code == 0
    state = training_files.training_state(torch.load(GIVEN / "binaryae_ema_1000.th", weights_only=True), channels=8)
    training_files.save(state, tmp_path / "t.th")
    hub.files[T] = (tmp_path / "t.th").read_bytes()
    assert bigr("models", "pull", "tiny").code == 0
    assert hub.sent[T] > 60_000_000
    one, other = (read_config(home / "models" / name).sha256 for name in ("bare", "tiny"))
    assert one == other


def test_a_file_has_a_place_of_its_own(home: Path) -> None:
    one, other = hub.HubFile("a/b", "x/w.pt", "1", 3, "5" * 64), hub.HubFile("a/b", "w.pt", "1", 3, "5" * 64)
    assert one.path != other.path
    assert one.path.is_relative_to(home / "cache" / "downloads")
    assert one.missing == 3
