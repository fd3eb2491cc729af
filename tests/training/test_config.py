from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli import schema
from bigr_cli.core.architectures import CompactConfig
from bigr_cli.core.config import SamplingConfig
from bigr_cli.errors import ConfigError
from bigr_cli.training.config import DataConfig, GeneratorTraining, OptimizerConfig, RunConfig, TokenizerTraining
from bigr_cli.training.loss_config import (
    AdversarialConfig,
    AlignmentConfig,
    MaskingConfig,
    SamplesConfig,
    TokenizerLosses,
)
from bigr_cli.training.sizes import GeneratorShape

positive, share = st.integers(1, 10**6), st.floats(0, 1)
weight = st.floats(0, 100)
rate = st.floats(1e-8, 1)

data = st.builds(
    DataConfig,
    source=st.sampled_from(["scenes", "photos/", "no"]),
    seed=positive,
    count=st.none() | positive,
    validation=positive,
    workers=st.integers(0, 8),
    flip=st.booleans(),
    crop=st.floats(0.01, 1),
)
optimizer = st.builds(
    OptimizerConfig,
    name=st.sampled_from(["adamw", "muon"]),
    learning_rate=rate,
    matrix_learning_rate=rate,
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    momentum=st.floats(0, 0.99),
    weight_decay=weight,
    warmup=st.integers(0, 9999),
    schedule=st.sampled_from(["constant", "cosine", "trapezoid"]),
    decay=st.floats(0.01, 1),
    final=share,
    clip=st.floats(0.01, 10),
)
accumulated = st.tuples(st.integers(1, 99), st.integers(1, 8)).map(lambda pair: (pair[0] * pair[1], pair[1]))
run = st.tuples(accumulated, positive, st.floats(0, 0.99999), st.booleans()).map(
    lambda drawn: RunConfig(
        batch=drawn[0][0], accumulate=drawn[0][1], steps=drawn[1], ema=drawn[2], tensorboard=drawn[3]
    )
)
adversarial = st.builds(AdversarialConfig, weight=weight, start=positive, layers=st.just(1), cap=st.floats(0.1, 9))
losses = st.builds(
    TokenizerLosses, l1=weight, l2=weight, foreground_weight=weight, usage=weight, adversarial=adversarial
)
tokenizer_training = st.builds(
    TokenizerTraining,
    tokenizer=st.just(CompactConfig(16, 8)),
    name=st.text(max_size=9),
    data=data,
    losses=losses,
    optimizer=optimizer,
    run=run,
)
generator_training = st.builds(
    GeneratorTraining,
    tokenizer=st.text(),
    generator=st.builds(GeneratorShape, layers=positive, dropout=st.floats(0, 0.9)),
    sampling=st.builds(SamplingConfig, steps=st.integers(1, 100_000), guidance=weight),
    data=data,
    masking=st.builds(
        MaskingConfig,
        share=st.sampled_from(["batch", "image"]),
        label_dropout=share,
        corrupt_bits=st.floats(0, 0.5),
    ),
    alignment=st.builds(AlignmentConfig, early=st.none() | st.integers(0, 9), revealed=st.floats(0.01, 1)),
    optimizer=optimizer,
    run=run,
)


@given(tokenizer_training | generator_training)
def test_configs_come_back_from_yaml(tmp_path_factory: pytest.TempPathFactory, training: Any) -> None:
    path = tmp_path_factory.mktemp("configs") / "training.yaml"
    path.write_text(schema.dump_yaml(training), encoding="utf-8")
    assert schema.load_yaml(type(training), path) == training


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (DataConfig, {"validation": 0}),
        (DataConfig, {"workers": -1}),
        (DataConfig, {"count": 0}),
        (DataConfig, {"crop": 0.0}),
        (DataConfig, {"crop": 1.5}),
        (DataConfig, {"cache_codes": -1}),
        (DataConfig, {"cache_codes": 2}),  # of scenes without end
        (MaskingConfig, {"corrupt_bits": 0.6}),
        (MaskingConfig, {"corrupt_bits": float("nan")}),
        (AlignmentConfig, {"weight": -1.0}),
        (AlignmentConfig, {"revealed": 0.0}),
        (OptimizerConfig, {"learning_rate": 0.0}),
        (OptimizerConfig, {"learning_rate": float("nan")}),
        (OptimizerConfig, {"clip": float("inf")}),
        (OptimizerConfig, {"betas": (0.9, 1.0)}),
        (OptimizerConfig, {"momentum": -0.1}),
        (OptimizerConfig, {"weight_decay": -1.0}),
        (OptimizerConfig, {"warmup": -1}),
        (OptimizerConfig, {"decay": 0.0}),
        (OptimizerConfig, {"final": 1.1}),
        (RunConfig, {"steps": 0}),
        (RunConfig, {"keep": 0}),
        (RunConfig, {"checkpoint_every": 0}),
        (RunConfig, {"batch": 10, "accumulate": 4}),
        (RunConfig, {"ema": 1.0}),
        (RunConfig, {"seed": -1}),
        (AdversarialConfig, {"channels": 12}),
        (AdversarialConfig, {"layers": 0}),
        (AdversarialConfig, {"cap": 0.0}),
        (AdversarialConfig, {"weight": -1.0}),
        (SamplesConfig, {"count": -1}),
        (SamplesConfig, {"count": 1 << 30}),
        (SamplesConfig, {"iterations": 0}),
        (TokenizerLosses, {"l1": -1.0}),
        (TokenizerLosses, {"edges": float("inf")}),
        (TokenizerLosses, {"usage": float("nan")}),
        (MaskingConfig, {"timesteps_per_token": 0}),
        (MaskingConfig, {"label_dropout": 1.1}),
    ],
)
def test_values_out_of_range_are_named(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**settings)
    assert any(name in str(caught.value) for name in settings)


def test_every_weight_of_the_loss_is_checked() -> None:
    for each in fields(TokenizerLosses):
        if each.type == "float":
            with pytest.raises(ConfigError, match=each.name):
                TokenizerLosses(**{each.name: -0.1})


def test_a_finite_number_of_scenes_can_be_cached() -> None:
    assert DataConfig(count=10, cache_codes=2).cache_codes == 2
    assert DataConfig("photos/", cache_codes=2).cache_codes == 2


def test_what_a_tokenizer_cannot_be_trained_on() -> None:
    small = CompactConfig(24, 8)
    with pytest.raises(ConfigError, match=r"data\.cache_codes"):
        TokenizerTraining(small, data=DataConfig("photos/", cache_codes=1))
    with pytest.raises(ConfigError, match=r"losses\.adversarial\.layers.*images of 48, not 24"):
        TokenizerTraining(small, losses=TokenizerLosses(adversarial=AdversarialConfig(weight=1, layers=4)))
    with pytest.raises(ConfigError, match=r"losses\.perceptual.*16 divides, got 24"):
        TokenizerTraining(small, losses=TokenizerLosses(perceptual=1))
    TokenizerTraining(small, losses=TokenizerLosses(adversarial=AdversarialConfig(weight=1, layers=3)))
    of_features = TokenizerLosses(adversarial=AdversarialConfig(weight=1, layers=9, discriminator="features"))
    with pytest.raises(ConfigError, match=r"losses\.perceptual.*16 divides, got 24"):
        TokenizerTraining(small, losses=of_features)
    TokenizerTraining(CompactConfig(32, 8), losses=of_features)
    with pytest.raises(ConfigError, match=r"samples\.count: needs freeze_encoder"):
        TokenizerTraining(small, samples=SamplesConfig(8))
    with pytest.raises(ConfigError, match=r"samples\.count: needs losses\.adversarial\.weight"):
        TokenizerTraining(small, init="m", freeze_encoder=True, samples=SamplesConfig(8))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.stepz=3", "unknown key 'run.stepz'; did you mean steps"),
        ("losses.adverserial.weight=1", "unknown key 'losses.adverserial'; did you mean adversarial"),
        ("optimizer.name=moun", "did you mean muon"),
        ("run.steps=many", "run.steps: expected a whole number"),
        ("run.steps", "expected key=value"),
    ],
)
def test_wrong_settings_are_explained(tokenizer_training: TokenizerTraining, setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema.override(tokenizer_training, [setting], "command line")
    assert message in str(caught.value)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("tokenizer: scenes-64\nmaskin: {share: batch}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key 'maskin'; did you mean masking"):
        schema.load_yaml(GeneratorTraining, path)


def test_completed_sizes() -> None:
    sizes = GeneratorShape(layers=3, heads=2, dim=32).complete(grid=4, bits=8, classes=5)
    assert (sizes.layers, sizes.tokens, sizes.bits, sizes.classes) == (3, 16, 8, 5)
    with pytest.raises(ConfigError, match="dim"):
        GeneratorShape(heads=3, dim=32).complete(grid=4, bits=8, classes=5)


def test_augmented() -> None:
    assert not DataConfig().augmented
    assert DataConfig(flip=True).augmented
    assert replace(DataConfig(), crop=0.9).augmented


def test_former_keys_go_on_working(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "generator.yaml"
    old.write_text(
        "tokenizer: x\nmasking: {share: picture, focus: 2.0}\ndata: {count: 9, cache_pictures: true, check: pictures}\n"
        "optimizer: {rate: 0.01, matrix_rate: 0.02}\n"
    )
    found = schema.load_yaml(GeneratorTraining, old)
    assert found.masking == MaskingConfig("image", foreground_weight=2.0)
    assert found.data == DataConfig(count=9, cache_images=True, check="images")
    assert found.optimizer == OptimizerConfig(learning_rate=0.01, matrix_learning_rate=0.02)
    assert capsys.readouterr().err.count("now\n") == 6
    assert "rate:" not in schema.dump_yaml(found).replace("learning_rate:", "")
    changed = schema.override(found, ["optimizer.rate=0.5"], "command line")
    assert changed.optimizer.learning_rate == 0.5
    assert "command line: optimizer.rate: is called learning_rate now" in capsys.readouterr().err
