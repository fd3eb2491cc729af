"""Trainings that several processes share: the losses of one process, and checkpoints that any number goes on from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.training.checkpoint import list_checkpoints
from bigr_cli.training.config import RunConfig
from bigr_cli.training.sharding import Sharding, fill, shard_like, whole_tensor

Run = Callable[..., Any]
SETTINGS = """
tokenizer: {tokenizer}
name: small
generator: {{layers: 2, heads: 2, dim: 32, ffn_multiple: 8, transcoder_layers: 1, transcoder_width: 16{more}}}
sampling: {{steps: 2, timesteps: 3}}
data: {{validation: 8, workers: 0, source: scenes}}
optimizer: {{name: muon, learning_rate: 0.001, matrix_learning_rate: 0.003}}
run: {{steps: 50, batch: 8, micro_batch: 4, ema: 0.9, log_every: 1, validate_every: 50, checkpoint_every: 10, keep: 9}}
"""


@pytest.fixture
def train(tmp_path: Path, tiny_model: Path) -> list[str]:
    """The words of a small training with dropout, Muon and an average."""
    path = tmp_path / "generator.yaml"
    path.write_text(SETTINGS.format(tokenizer=tiny_model, more=""), "utf-8")
    return ["train-generator", "--config", str(path), "--device", "cpu"]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def alike(run: Path, other: Path) -> None:
    """The same losses, and the same averaged weights but for rounding."""
    assert losses(run) == pytest.approx(losses(other), rel=1e-3)
    one, two = (load_file(folder / "generator.safetensors") for folder in (run, other))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        assert torch.allclose(weights.float(), two[name].float(), atol=2e-3), name


def done(outcomes: list[Any]) -> None:
    assert [each.code for each in outcomes] == [0] * len(outcomes), "".join(each.err for each in outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_train_as_one(bigr: Run, together: Run, tmp_path: Path, train: list[str], shard: bool) -> None:
    assert bigr(*train, "-o", tmp_path / "one").code == 0
    done(together(2, *train, "-o", tmp_path / "two", f"run.shard={str(shard).lower()}"))
    assert len(losses(tmp_path / "one")) == 50
    alike(tmp_path / "two", tmp_path / "one")
    assert all(path.is_dir() == shard for path in list_checkpoints(tmp_path / "two"))


@pytest.mark.slow
def test_sharded_checkpoints_go_on_with_any_number(bigr: Run, together: Run, tmp_path: Path, train: list[str]) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert bigr(*train, "-o", whole, "run.steps=40", "run.validate_every=40").code == 0
    done(together(2, *train, "-o", run, "run.shard=true", "run.steps=10"))
    more = ("train-generator", "--resume", run, "--device", "cpu")
    done(together(2, *more, "run.steps=20"))
    assert bigr(*more, "run.steps=30").code == 0  # alone, the checkpoint is one file
    done(together(2, *more, "run.steps=40"))
    assert [path.name for path in list_checkpoints(run)] == [
        "step-00000010",
        "step-00000020",
        "step-00000030.safetensors",
        "step-00000040",
    ]
    alike(run, whole)
    assert not list((run / "checkpoints").glob(".*"))


def test_captions_and_checkpointed_blocks(
    bigr: Run, together: Run, tmp_path: Path, train: list[str], tiny_model: Path
) -> None:
    text = ", text: {tokens: 32, width: 16, layers: 1, heads: 2, group: 4}"
    Path(train[2]).write_text(SETTINGS.format(tokenizer=tiny_model, more=text), "utf-8")
    few = (*train, "run.steps=5", "run.log_every=1", "run.validate_every=5")
    assert bigr(*few, "-o", tmp_path / "one").code == 0
    done(together(2, *few, "-o", tmp_path / "two", "run.shard=true", "run.gradient_checkpointing=true"))
    alike(tmp_path / "two", tmp_path / "one")


def test_checkpointed_blocks_train_the_same_bits(bigr: Run, tmp_path: Path, train: list[str]) -> None:
    few = (*train, "run.steps=10", "run.validate_every=10")
    assert bigr(*few, "-o", tmp_path / "plain").code == 0
    assert bigr(*few, "-o", tmp_path / "twice", "run.gradient_checkpointing=true").code == 0
    for name in ("generator.safetensors", "checkpoints/step-00000010.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_a_micro_batch_is_a_part_of_the_batch(bigr: Run, tmp_path: Path, train: list[str]) -> None:
    few = (*train, "run.steps=2", "run.validate_every=2")
    assert bigr(*few, "-o", tmp_path / "micro", "run.micro_batch=2").code == 0
    assert bigr(*few, "-o", tmp_path / "parts", "run.micro_batch=null", "run.accumulate=4").code == 0
    one, two = (tmp_path / name / "generator.safetensors" for name in ("micro", "parts"))
    assert one.read_bytes() == two.read_bytes()


def test_batches_that_cannot_be_shared(bigr: Run, together: Run, tmp_path: Path, train: list[str]) -> None:
    first, _ = together(2, *train, "-o", tmp_path / "run", "run.micro_batch=8")
    assert first.code == 2
    assert "8 is not a multiple of micro_batch 8 × 2 processes" in first.err
    assert bigr(*train, "-o", tmp_path / "run", "run.micro_batch=3").code == 2
    with pytest.raises(ConfigError, match="follows from micro_batch"):
        RunConfig(batch=8, micro_batch=2, accumulate=2)
    with pytest.raises(ConfigError, match="not in float16"):
        RunConfig(shard=True, precision="float16")


def test_a_damaged_sharded_checkpoint(bigr: Run, together: Run, tmp_path: Path, train: list[str]) -> None:
    run = tmp_path / "run"
    done(together(2, *train, "-o", run, "run.shard=true", "run.steps=10"))
    more = ("train-generator", "--resume", run, "--device", "cpu", "run.steps=12")
    refused = bigr(*more, "optimizer.name=adamw")
    assert refused.code == 2
    assert "was saved with other optimisers" in refused.err
    part = next((run / "checkpoints/step-00000010").glob("shard-00002*"))
    part.write_bytes(part.read_bytes()[:-100])
    refused = bigr(*more)
    assert refused.code == 2
    assert "not a readable checkpoint" in refused.err
    part.unlink()
    refused = bigr(*more)
    assert refused.code == 2, "half of the weights would be missing"


def test_a_tokenizer_is_not_sharded(together: Run, tmp_path: Path) -> None:
    words = ("train-tokenizer", "--device", "cpu", "-o", tmp_path / "run", "data.validation=2", "run.shard=true")
    sizes = ("tokenizer.architecture=compact", "tokenizer.image_size=16", "tokenizer.bits=6")
    first, _ = together(2, *words, *sizes)
    assert first.code == 2, first.err
    assert "spreads the generator's weights" in first.err


def test_accelerates_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sharding.wanted(RunConfig(), 2) is None
    assert Sharding.wanted(RunConfig(shard=True), 1) is None
    for name, value in {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_RESHARD_AFTER_FORWARD": "false",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")
    found = Sharding.wanted(RunConfig(), 2)
    assert found is not None
    assert (found.reshard, found.checkpointing) == (False, True)
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UsageError, match="fsdp_offload_params"):
        Sharding.wanted(RunConfig(), 2)
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UsageError, match="expected 2, got 1"):
        Sharding.wanted(RunConfig(), 2)


def test_tensors_that_are_not_sharded_stay() -> None:
    tensor, other = torch.rand(3), torch.zeros(3)
    assert whole_tensor(tensor) is tensor
    assert shard_like(tensor, other) is tensor
    fill(other, tensor)
    assert torch.equal(other, tensor)
