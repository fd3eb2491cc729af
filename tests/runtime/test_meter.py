from pathlib import Path

import pytest
import torch

import bigr_cli
from bigr_cli.core.architectures import GeneratorConfig, TextConfig
from bigr_cli.core.schedule import masked_count
from bigr_cli.model import Model
from bigr_cli.runtime.meter import TRANSCODER, TRANSFORMER, Meter, PeakMemory, operations

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return bigr_cli.load(tiny_model, device="cpu", dtype="float32")


def drawn(model: Model, steps: int, timesteps: int, guidance: float) -> torch.Tensor:
    sampling = {"steps": steps, "timesteps": timesteps, "guidance": guidance, "order": "entropy"}
    return model.sample_codes(torch.tensor([0, 1, 2]), [5, 6, 7], **sampling)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_meter_counts_and_changes_nothing(model: Model, guidance: float) -> None:
    steps, timesteps = 4, 5
    plain, meter = drawn(model, steps, timesteps, guidance), Meter(CPU)
    with meter.attached(model.generator):
        assert torch.equal(drawn(model, steps, timesteps, guidance), plain)
    halves, tokens = 1 if guidance == 1 else 2, model.generator.config.tokens
    left = [tokens, *(masked_count(tokens, step, steps) for step in range(steps - 1))]
    assert meter.rows[TRANSFORMER] == 3 * halves * steps
    assert meter.rows[TRANSCODER] == 3 * halves * timesteps * sum(left)
    assert min(meter.seconds.values()) > 0
    before = dict(meter.rows)
    drawn(model, steps, timesteps, guidance)
    assert meter.rows == before


def test_a_meter_lets_go_after_an_error(model: Model) -> None:
    with pytest.raises(RuntimeError, match="stop"), Meter(CPU).attached(model.generator):
        raise RuntimeError("stop")
    assert "condition" not in vars(model.generator) and "denoise" not in vars(model.generator.transcoder)


def test_peak_memory_sees_what_was_there_for_a_moment() -> None:
    with PeakMemory(CPU) as idle:
        pass
    with PeakMemory(CPU) as busy:
        block = torch.ones(50_000_000)  # 200 MB
        del block
    assert 150e6 < busy.bytes - idle.bytes < 400e6


@pytest.mark.parametrize("prefix", [1, 7])
def test_operations_are_those_of_the_equations(prefix: int) -> None:
    sizes = {"grid": 4, "bits": 6, "layers": 3, "heads": 2, "dim": 32, "transcoder_layers": 2}
    text = TextConfig(tokens=32, group=4)
    config = (
        GeneratorConfig(classes=4, **sizes)
        if prefix == 1
        else GeneratorConfig(classes=0, condition="text", text=text, **sizes)
    )
    tokens, dim, width, bits = config.tokens + prefix, config.dim, config.transcoder_width, config.bits
    block = tokens * (4 * dim**2 + 3 * dim * config.ffn_width) + 2 * tokens**2 * dim
    transformer = 2 * (config.layers * block + config.tokens * bits * dim + 6 * dim**2)
    transcoder = 2 * (config.transcoder_layers * 5 * width**2 + 2 * width**2 + 2 * bits * width)
    assert operations(config, prefix) == (transformer, transcoder)


def test_training_costs_about_three_times_as_much() -> None:
    config = GeneratorConfig(grid=4, bits=6, classes=4, layers=3, heads=2, dim=32, transcoder_layers=2)
    for once, trained in zip(operations(config), operations(config, training=True), strict=True):
        assert 2.8 * once < trained <= 3 * once  # codes need no gradients
