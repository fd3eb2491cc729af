import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import ModelError
from bigr_cli.runtime import device
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models
from bigr_cli.zoo.loading import random_model

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _steady(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, on the CPU in float32, whose rate is known."""
    monkeypatch.setenv("BIGR_DEVICE", "cpu")
    monkeypatch.setenv("BIGR_DTYPE", "float32")
    monkeypatch.setattr(device, "measure", lambda which: {"float32": 50.0})


def measured(bigr: Run, *words: object) -> dict[str, Any]:
    done = bigr("bench", "--json", *words)
    assert (done.code, done.out.count("\n")) == (0, 1), done.err
    record: dict[str, Any] = json.loads(done.out)
    return record


def test_every_part_is_told(bigr: Run) -> None:
    record = measured(bigr, "--batch-sizes", "4,1")
    assert (record["model"], record["device"], record["dtype"], record["random_weights"]) == (
        "tiny",
        "cpu",
        "float32",
        False,
    )
    assert (record["rates"], record["training"]) == ({"float32": 50.0}, None)
    assert [each["batch"] for each in record["batches"]] == [1, 4]
    for each in record["batches"]:
        parts = each["iteration_seconds"]
        assert min(parts["transformer"], parts["transcoder"], each["decode_seconds"], each["write_seconds"]) > 0
        assert parts["all"] == pytest.approx(
            sum(parts[name] for name in ("transformer", "transcoder", "rest")), abs=5e-6
        )
        whole = record["sampling"]["steps"] * parts["all"]
        whole += each["batch"] * (each["decode_seconds"] + each["write_seconds"])
        assert each["pictures_per_second"] == pytest.approx(each["batch"] / whole, rel=0.05)
        assert each["share"] == pytest.approx(each["gflops"] / 50, abs=1e-3)
        assert each["memory"] > record["weights"] > 0


def test_a_table_for_people_and_nothing_left_behind(bigr: Run, workplace: Path) -> None:
    before = sorted(workplace.iterdir())
    done = bigr("bench", "--batch-sizes", "2", "--training-steps", 1)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("matrix products: float32 50 GFLOP/s; ")
    assert lines[1].endswith("64 at once by default")
    assert lines[2].split()[:3] == ["at", "once", "s/iteration"]
    assert lines[3].split()[0] == "2" and "%" in lines[3]
    assert lines[4].startswith("training: ") and "images/s" in lines[4]
    assert sorted(workplace.iterdir()) == before


def test_sizes_grow_up_to_the_models_own(bigr: Run) -> None:
    assert [each["batch"] for each in measured(bigr, "--steps", 1, "--timesteps", 1)["batches"]] == [1, 4, 16, 64]


def test_settings_are_the_samplers(bigr: Run) -> None:
    record = measured(bigr, "--batch-sizes", 1, "--steps", 2, "--timesteps", 3, "--guidance", 1, "--order", "raster")
    assert {name: record["sampling"][name] for name in ("steps", "timesteps", "guidance", "order")} == {
        "steps": 2,
        "timesteps": 3,
        "guidance": 1.0,
        "order": "raster",
    }
    assert bigr("bench", "--timesteps", 1000).code == 2


def test_training(bigr: Run) -> None:
    training = measured(bigr, "--batch-sizes", 3, "--training-steps", 2)["training"]
    assert (training["batch"], training["steps"]) == (3, 2)
    assert training["pictures_per_second"] == pytest.approx(3 / training["step_seconds"], rel=0.01)
    assert 0 < training["share"] == pytest.approx(training["gflops"] / 50, abs=1e-3)


def test_a_model_that_reads_texts(bigr: Run, tiny_text_model: Path) -> None:
    record = measured(bigr, "-m", tiny_text_model, "--batch-sizes", 2, "--training-steps", 1)
    assert record["model"] == "tiny-text" and record["training"]["batch"] == 2


def test_a_card_gets_random_weights_and_says_so(bigr: Run, workplace: Path, tiny_model: Path) -> None:
    (workplace / "card").mkdir()
    (workplace / "card" / "config.yaml").write_text((tiny_model / "config.yaml").read_text())
    done = bigr("bench", "-m", "card", "--batch-sizes", 1, "--json")
    assert (done.code, json.loads(done.out)["random_weights"]) == (0, True)
    assert done.err == "tiny on cpu in float32, with random weights: its own are not here\n"
    assert sorted(path.name for path in (workplace / "card").iterdir()) == ["config.yaml"]


def test_batches_without_room_are_halved_and_the_last(bigr: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = BinaryModel.sample_codes

    def crowded(self: BinaryModel, labels: Any, seeds: Any, **more: Any) -> torch.Tensor:
        if len(seeds) > 5:
            torch.empty(10**15)
        return sample(self, labels, seeds, **more)

    monkeypatch.setattr(BinaryModel, "sample_codes", crowded)
    done = bigr("bench", "--json", "--batch-sizes", "2,8,16")
    assert (done.code, [each["batch"] for each in json.loads(done.out)["batches"]]) == (0, [2, 4])
    assert done.err.count("warning: there is too little memory for 8 images at once; going on with 4") == 1


@pytest.mark.parametrize("sizes", ["0", "1,", "a", "1;2", "-4", "1.5", ""])
def test_no_batch_sizes(bigr: Run, sizes: str) -> None:
    done = bigr("bench", f"--batch-sizes={sizes}")
    assert (done.code, done.out) == (2, "")
    assert "whole numbers of at least 1" in done.err


@pytest.mark.parametrize("model", ["tiny", "bigr-l-d24"])
def test_a_cpu_is_not_compiled_for(bigr: Run, tiny_model: Path, model: str) -> None:
    shown = bigr("bench", "-m", tiny_model if model == "tiny" else model, "--compile", "--device", "cpu")
    assert shown.code == 2
    assert "cpu cannot compile networks" in shown.err


def test_a_tokenizer_alone_draws_nothing(bigr: Run) -> None:
    config = read_config(packaged_models() / "scenes-64")
    alone = replace(config, generator=None, labels=(), representation=None, painting=None)
    with pytest.raises(ModelError, match="without a generator"):
        random_model(alone, device=torch.device("cpu"), dtype=torch.float32)


def test_random_weights_are_the_same_every_time(tiny_model: Path) -> None:
    config = read_config(tiny_model)
    one, other = (random_model(config, device=torch.device("cpu"), dtype=torch.bfloat16) for _ in range(2))
    assert one.generator.positions.dtype == torch.bfloat16 and one.tokenizer.embed.dtype == torch.float32
    assert one.generator.rope.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    codes = one.sample_codes(torch.tensor([0, 1]), [0, 1], steps=2, timesteps=3)
    assert codes.float().mean() not in (0, 1)
