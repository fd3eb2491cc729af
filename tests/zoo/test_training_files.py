"""Tokenizer files as the published training saves them: of a whole training the autoencoder alone is used."""

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bigr_cli.errors import CheckpointError
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.published.convert import import_published

GIVEN = Path(__file__).parents[1] / "data" / "published"
TOKENIZER, GENERATOR = GIVEN / "binaryae_ema_1000.th", GIVEN / "bigr_tiny.pt"
State = dict[str, Any]
Bigr = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(training_files: ModuleType) -> State:
    """The state of a whole training, with the autoencoder of the given tokenizer and narrow networks around it."""
    autoencoder = torch.load(TOKENIZER, weights_only=True)
    state: State = training_files.training_state(autoencoder, channels=4, stages=(2, 2, 4, 4, 4))
    counters = {key for key, value in state.items() if value.dtype == torch.int64}
    assert counters == {f"disc.main.{place}.num_batches_tracked" for place in (3, 6, 9)}
    assert {key.partition(".")[0] for key in state} == {"ae", "disc", "perceptual"}
    return state


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """What an import of the autoencoder alone makes."""
    place = tmp_path_factory.mktemp("bare")
    state = {key: value for key, value in torch.load(TOKENIZER, weights_only=True).items() if key.startswith("ae.")}
    torch.save(state, place / "bare.th")
    return imported(place / "bare.th", place / "model")


def imported(tokenizer: Path, output: Path, generator: Path = GENERATOR) -> ModelConfig:
    return import_published(tokenizer, generator, heads=4, image_size=16, output=output)


def leftovers(state: State) -> State:
    """What else a training script saves: an optimizer, counters, its arguments, NumPy's numbers and arrays, a path."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=np.float64(1e-4))
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    arguments = argparse.Namespace(lr=np.float32(1), out=Path("logs"), sizes=[1, 2], seed=np.int64(3))
    more = {"optim": optimizer.state_dict(), "step": 1_000_000, "args": arguments, "losses": np.ones(3), "rng": None}
    return {**state, **more}


@pytest.mark.parametrize("form", ["whole", "leftovers", "model", "ema", "old"])
def test_a_whole_training_gives_the_same_bytes_as_the_autoencoder_alone(
    tmp_path: Path, training_files: ModuleType, whole: State, bare: ModelConfig, form: str
) -> None:
    file = tmp_path / "binaryae_ema_1000000.th"
    content = {
        "leftovers": lambda: leftovers(whole),
        "model": lambda: {"model": whole, **leftovers({})},
        "ema": lambda: {"model": {"ae.x": torch.ones(1)}, "ema": whole, "step": 3},
    }.get(form, lambda: whole)()
    if form == "old":
        torch.save(content, file, _use_new_zipfile_serialization=False)
    else:
        training_files.save(content, file)
        assert b"cuda:0" in file.read_bytes()
    assert imported(file, tmp_path / "out").sha256 == bare.sha256


def test_what_is_left_is_said(tmp_path: Path, home: Path, bigr: Bigr, training_files: ModuleType, whole: State) -> None:
    training_files.save(leftovers(whole), tmp_path / "t.th")
    words = ["--tokenizer", tmp_path / "t.th", "--generator", GENERATOR, "--heads", 4, "--name", "new"]
    outcome = bigr("models", "import", *words, "--verbose")
    assert outcome.code == 0
    said = " ".join(outcome.err.split())
    assert "t.th: " in said and " tensors used, " in said
    for part in ("22 under disc", "33 under perceptual", "1 under optim"):
        assert part in said
    assert "left:" not in bigr("models", "import", *words, "--overwrite").err


def is_used(name: str, state: State) -> bool:
    """Whether a conversion needs a tensor: the autoencoder's, but for what its networks hold and never use."""
    if not name.startswith("ae.") or ".logsigma." in name:
        return False
    block, shortcut, _ = name.partition(".conv_out.")
    if not shortcut:
        return True
    made, given = state[f"{block}.conv1.weight"].shape[:2]
    return bool(made != given)


def broken(value: Tensor, rng: random.Random) -> Any:
    """Something in place of a tensor that no network can use: its type, its number format, its shape, its values."""
    return rng.choice(
        [
            lambda: value.to(torch.int64),
            lambda: value.to(torch.complex64),
            lambda: value.double(),
            lambda: value.to(torch.bool),
            lambda: value.to_sparse(),
            lambda: value.to(torch.uint8),
            lambda: torch.full_like(value.float(), float("nan")),
            lambda: torch.full_like(value.float(), float("inf")),
            lambda: value[None].clone(),
            lambda: torch.zeros(0),
            lambda: torch.zeros(3, 1, 4, 1, 5),
            lambda: None,
            lambda: 7,
            lambda: "x",
            lambda: {"a": 1},
            lambda: [value],
        ]
    )()


def mutated(whole: State, *, used: bool, rng: random.Random) -> tuple[State, str]:
    """A copy with one thing broken, missing, renamed or added; the name of what is broken."""
    state = dict(whole)
    name = rng.choice([key for key in state if is_used(key, whole) == used])
    way = rng.randrange(5)
    if way == 0:
        del state[name]
    elif way == 1:
        state[f"old {name}" if used else rng.choice(("é\n", "a" * 300, "../x", "disc"))] = state.pop(name)
    elif way == 2 and not used:
        state[rng.choice((7, None, 2.5, ("ae.", 1), "extra", "optim.state"))] = broken(state[name], rng)  # type: ignore[index]
    else:
        state[name] = broken(state[name], rng)
    return state, name


def attack(place: Path, training_files: ModuleType, whole: State, bare: ModelConfig, count: int, seed: int) -> None:
    """Fail unless what is used and broken is named, and what is not used never matters, whatever it is."""
    rng, file = random.Random(seed), place / "t.th"
    for number in range(count):
        used = number % 2 == 0
        state, name = mutated(whole, used=used, rng=rng)
        training_files.save(state if number % 3 else {"ema": state, "step": 3}, file)
        output = place / f"out{number}"
        if used:
            with pytest.raises(CheckpointError) as caught:
                imported(file, output)
            said = str(caught.value)
            assert str(file) in said and name.removeprefix("ae.") in said, (number, name, said)
            assert not output.exists()
        else:
            assert imported(file, output).sha256 == bare.sha256, (number, name)


def test_mutated_training_files(tmp_path: Path, training_files: ModuleType, whole: State, bare: ModelConfig) -> None:
    attack(tmp_path, training_files, whole, bare, 24, seed=1)


@pytest.mark.slow
def test_a_hundred_mutated_training_files(
    tmp_path: Path, training_files: ModuleType, whole: State, bare: ModelConfig
) -> None:
    attack(tmp_path, training_files, whole, bare, 100, seed=0)


def test_a_generator_of_which_more_was_saved(tmp_path: Path, training_files: ModuleType, bare: ModelConfig) -> None:
    """As its training saves it: with the weights before averaging, the optimizer's and the arguments, from a GPU."""
    ema = torch.load(GENERATOR, weights_only=True)["ema"]
    model = {key: value + 1 for key, value in ema.items()}
    training_files.save({"model": model, "ema": ema, **leftovers({})}, tmp_path / "0050000.pt")
    assert imported(TOKENIZER, tmp_path / "out", tmp_path / "0050000.pt").sha256 == bare.sha256


@pytest.mark.parametrize("odd", [torch.ones(257, dtype=torch.int64), torch.zeros(3), None, 7])
def test_tables_that_nobody_reads_may_be_anything(tmp_path: Path, bare: ModelConfig, odd: Any) -> None:
    """`cumbeta` is computed by the published class and never used."""
    content = torch.load(GENERATOR, weights_only=True)
    content["ema"]["diffusion_processor.scheduler.cumbeta"] = odd
    torch.save(content, tmp_path / "g.pt")
    assert imported(TOKENIZER, tmp_path / "out", tmp_path / "g.pt").sha256 == bare.sha256
