"""Pulls that are interrupted anywhere: no folder is corrupted, and the same command goes on."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from bigr_cli.zoo import find
from bigr_cli.zoo.config import dump_config, read_config
from bigr_cli.zoo.folder import check_model
from bigr_cli.zoo.published.convert import import_published
from bigr_cli.zoo.source import Source

GIVEN = Path(__file__).parents[1] / "data" / "published"
REPOSITORY = "lab/Tiny"
T, G = f"{REPOSITORY}/bae/t.th", f"{REPOSITORY}/gpt/g.pt"
Bigr = Callable[..., Any]
Hub = Any


@pytest.fixture
def cards(tmp_path: Path, hub: Hub) -> Path:
    """A place of packaged models with the card of one, whose weights the hub has."""
    files = GIVEN / "binaryae_ema_1000.th", GIVEN / "bigr_tiny.pt"
    config = import_published(*files, heads=4, image_size=16, output=tmp_path / "imported")
    source = Source(repository=REPOSITORY, tokenizer="bae/t.th", generator="gpt/g.pt", size=5_000_000)
    place = tmp_path / "cards"
    (place / "tiny").mkdir(parents=True)
    (place / "tiny" / "config.yaml").write_text(dump_config(replace(config, name="tiny", sha256={}, source=source)))
    hub.files[T], hub.files[G] = (file.read_bytes() for file in files)
    return place


def interrupted(hub: Hub, cards: Path, home: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Interrupt so many pulls by signals; returns what was left after each, and after one that was let to its end."""
    script = Path(__file__).with_name("interrupted_pulls.py")
    places = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    one_thread = {"OMP_NUM_THREADS": "1"}  # what forks inherits no other threads
    environment = {**os.environ, **places, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, script, str(count), str(seed), cards],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def attack(hub: Hub, cards: Path, home: Path, count: int, seed: int) -> None:
    """Interrupt pulls, and fail if a model is ever damaged, something fetched is lost, or anything left in the end."""
    *steps, last = interrupted(hub, cards, home, count, seed)
    stopped = [step for step in steps if step["code"] != 0]
    assert len(stopped) == count
    assert {step["code"] for step in stopped} <= {-9, -15, 130, 143}
    assert [step for step in (*steps, last) if step["problems"]] == []
    # A download is kept until the model is there, and grows.
    lost = [step for step in stopped if step["fetched"] < step["before"] and not step["there"]]
    assert lost == []
    assert (last["code"], last["there"], last["fetched"], last["hidden"]) == (0, True, 0, [])
    made, expected = read_config(home / "models" / "tiny"), read_config(cards.parent / "imported")
    assert made.sha256 == expected.sha256
    assert made.source is not None
    assert made.source.sha256["gpt/g.pt"] == hashlib.sha256(hub.files[G]).hexdigest()


def cut(bigr: Bigr, hub: Hub, home: Path, count: int, seed: int) -> None:
    """Let connections break after random numbers of bytes, and fail if more than a chunk is fetched twice."""
    rng = random.Random(seed)
    sizes = {name: len(hub.files[name]) for name in (T, G)}
    for _ in range(count):
        hub.sent.clear()
        name = rng.choice((T, G))
        hub.cuts[name], hub.falls_with = [rng.randrange(sizes[name])], name
        assert bigr("models", "pull", "tiny", "--overwrite").code == 1
        folder = home / "models" / "tiny"
        assert not folder.exists() or check_model(folder) == []
        assert list((home / "models").glob(".*")) == []
        hub.down, hub.falls_with = False, ""
        hub.cuts.clear()
        assert bigr("models", "pull", "tiny", "--overwrite").code == 0
        assert check_model(folder) == []
        assert all(0 <= hub.sent[file] - size < constants.DOWNLOAD_CHUNK_SIZE for file, size in sizes.items())


@pytest.fixture
def shown(cards: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(find, "packaged_models", lambda: cards)
    return cards


@pytest.mark.usefixtures("shown")
def test_connections_that_break_anywhere(bigr: Bigr, hub: Hub, home: Path) -> None:
    cut(bigr, hub, home, 5, seed=0)


@pytest.mark.slow
@pytest.mark.usefixtures("shown")
def test_a_hundred_connections_that_break_anywhere(bigr: Bigr, hub: Hub, home: Path) -> None:
    cut(bigr, hub, home, 100, seed=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="interrupts forks")
def test_signals_at_any_moment(hub: Hub, cards: Path, home: Path) -> None:
    attack(hub, cards, home, 4, seed=0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="interrupts forks")
def test_a_hundred_signals_at_any_moment(hub: Hub, cards: Path, home: Path) -> None:
    attack(hub, cards, home, 100, seed=1)
