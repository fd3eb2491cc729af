"""Mutated checkpoints through `bigr models import`: file and tensor are named, nothing is run, nothing is left."""

import argparse
import builtins
import importlib
import os
import pickle
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

GIVEN = Path(__file__).parents[1] / "data" / "published"
FILES = {"tokenizer": GIVEN / "binaryae_ema_1000.th", "generator": GIVEN / "bigr_tiny.pt"}
Bigr = Callable[..., Any]
State = dict[str, Any]

ODD = (float("nan"), float("inf"), float("-inf"))
NAMES = ("x", "", "tok_embeddings.weights", "module.{}", "{}.", "{}x", "ae.{}", "layers.9.{}", "../../{}", "é\n{}")


class Gadget:
    """Calls a function when it is unpickled by a careless reader."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def gadget(rng: random.Random, mark: Path) -> Gadget:
    """One of the ways in which reading a pickle could leave a file."""
    return rng.choice(
        [
            Gadget(os.system, f"touch {mark}"),
            Gadget(builtins.eval, f"open({str(mark)!r}, 'w').close()"),
            Gadget(builtins.exec, f"open({str(mark)!r}, 'w').close()"),
            Gadget(builtins.open, str(mark), "w"),
            Gadget(os.mkdir, str(mark)),
            Gadget(importlib.import_module, "this"),
            Gadget(getattr, str, "join"),
            Gadget(torch.save, {"a": 1}, str(mark)),
            Gadget(pickle.loads, pickle.dumps(Gadget(os.mkdir, str(mark)))),
        ]
    )


def used(role: str, state: State) -> list[str]:
    """Tensors that the model needs; others may be missing or anything."""
    if role == "generator":
        return [name for name in state if not name.startswith("diffusion_processor.")]
    return [
        name
        for name in state
        if name.startswith("ae.") and ".logsigma." not in name and (".conv_out." not in name or widens(name, state))
    ]


def widens(name: str, state: State) -> bool:
    """Whether the residual block of a tensor changes the number of channels, so that its conv_out acts."""
    made, given = state[f"{name.partition('.conv_out.')[0]}.conv1.weight"].shape[:2]
    return bool(made != given)


def reshaped(tensor: Tensor, rng: random.Random) -> Tensor:
    """The tensor in another shape."""
    axis = rng.randrange(tensor.ndim)
    ways = [
        lambda: torch.cat([tensor, tensor.narrow(axis, 0, 1)], dim=axis),
        lambda: tensor[None].clone(),
        lambda: torch.zeros(()),
        lambda: torch.zeros(0, *tensor.shape[1:]),
        lambda: torch.zeros(3, 1, 4, 1, 5),
        lambda: torch.cat([tensor] * 2, dim=axis),
    ]
    return rng.choice(ways)()


def mutate(kind: str, role: str, state: State, rng: random.Random, mark: Path) -> str:
    """Change a state in place; returns the name of the tensor that an error should name."""
    name = rng.choice(used(role, state))
    if kind == "missing":
        del state[name]
    elif kind == "extra":
        name = f"{'ae.' if role == 'tokenizer' else ''}{rng.choice(('more', 'layers.x', 'norm.bias', 'é', 'a' * 200))}"
        state[name] = torch.ones(rng.randrange(4), 2)
    elif kind == "reshaped":
        state[name] = reshaped(state[name], rng)
    elif kind == "not a number":
        state[name] = state[name].clone()
        state[name].view(-1)[rng.randrange(state[name].numel())] = rng.choice(ODD)
    elif kind == "renamed":
        state[rng.choice(NAMES).format(name)] = state.pop(name)
    elif kind == "no tensor":
        odd = (
            None,
            3,
            "x",
            [1.0],
            {},
            torch.ones(2).int(),
            torch.ones(2, dtype=torch.float64),
            torch.ones(2).to_sparse(),
        )
        state[name] = rng.choice(odd)
    return name


def written(content: Any, path: Path, rng: random.Random) -> None:
    """Save in one of the forms in which such files come."""
    way = rng.randrange(5)
    if way < 3 and isinstance(content, dict):
        extra = {"args": argparse.Namespace(lr=1e-4), "opt": {"step": 3}}
        content = ({"ema": content}, {"model": content, **extra}, content)[way]
    torch.save(content, path, _use_new_zipfile_serialization=way != 3)


def hostile(kind: str, place: Path, rng: random.Random, mark: Path) -> tuple[str, Path, str]:
    """A checkpoint with something wrong: whose role it plays, the file, and the tensor that should be named, if any."""
    role = rng.choice(list(FILES))
    path = place / f"hostile{FILES[role].suffix}"
    content = torch.load(FILES[role], weights_only=True)
    state = dict(content.get("ema", content))
    if kind == "truncated":
        whole = FILES[role].read_bytes()
        path.write_bytes(whole[: rng.randrange(len(whole))])
        return role, path, ""
    if kind == "code":
        evil: Any = gadget(rng, mark)
        where = rng.randrange(4)
        if where == 0:
            state[rng.choice(list(state))] = evil
        whole_content = (state, {"ema": state, "args": evil}, {"model": state, "opt": [evil]}, evil)[where]
        if rng.random() < 0.3:
            path.write_bytes(pickle.dumps(whole_content, protocol=rng.choice((0, 2, 4))))
        else:
            torch.save(whole_content, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        return role, path, ""
    name = mutate(kind, role, state, rng, mark)
    written(state, path, rng)
    return role, path, name


KINDS = ("missing", "extra", "reshaped", "not a number", "renamed", "no tensor", "truncated", "code")


def attack(bigr: Bigr, home: Path, place: Path, count: int, seed: int) -> Counter[str]:
    """Import so many mutated checkpoints; returns how many there were of each kind. Fails if any is taken badly."""
    rng, done, mark, bad = random.Random(seed), Counter[str](), place / "mark", list[str]()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        role, path, tensor = hostile(kind, place, rng, mark)
        files = {**FILES, role: path}
        words = [word for part, file in files.items() for word in (f"--{part}", file)]
        output = ["--name", "new"] if rng.random() < 0.5 else ["-o", place / "new"]
        outcome = bigr("models", "import", *words, "--heads", 4, *output)
        wanted = {
            "exit code 2": outcome.code == 2,
            "nothing on stdout": outcome.out == "",
            "no traceback": "Traceback" not in outcome.err,
            "an error": outcome.err.startswith("error: "),
            "the file's name": str(path) in outcome.err,
            "the tensor's name": tensor.removeprefix("ae.") in outcome.err,
            "no code run": not mark.exists(),
            "nothing left": list(home.rglob("*")) == [] and list(place.iterdir()) == [path],
        }
        bad += [f"{seed}.{number} {kind} {tensor}: {what}: {outcome}" for what, holds in wanted.items() if not holds]
        path.unlink()
        done[kind] += 1
    assert bad == []
    return done


def test_mutated_checkpoints(bigr: Bigr, home: Path, tmp_path: Path) -> None:
    assert len(attack(bigr, home, tmp_path, 24, seed=1)) == len(KINDS)


@pytest.mark.slow
def test_hundreds_of_mutated_checkpoints(bigr: Bigr, home: Path, tmp_path: Path) -> None:
    assert sum(attack(bigr, home, tmp_path, 304, seed=2).values()) == 304
