from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.core.config import LARGEST_SEED
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.loading import Batch, Positions, all_batches
from bigr_cli.data.sources import ScenesSource
from bigr_cli.errors import ConfigError, ModelError, UnknownNameError, UsageError
from bigr_cli.training import samples
from bigr_cli.training.config import TokenizerTraining
from bigr_cli.training.launch import open_sampler
from bigr_cli.training.loss_config import AdversarialConfig, SamplesConfig, TokenizerLosses
from bigr_cli.training.objective import start_from
from bigr_cli.training.samples import Sampler, prompts_for, sampled_codes
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.config import TOKENIZER_FILE
from bigr_cli.zoo.folder import check_model, load_model

LOSSES = TokenizerLosses(adversarial=AdversarialConfig(weight=0.5, start=0, layers=2, channels=8))
SOURCE = ScenesSource(16, start=100, count=12)


@pytest.fixture
def training(tokenizer_training: TokenizerTraining, tiny_model: Path) -> TokenizerTraining:
    """The decoder of the tiny model, beside 20 sampled codes."""
    _, config = load_model(tiny_model)
    return replace(
        tokenizer_training,
        tokenizer=config.tokenizer,
        init=str(tiny_model),
        freeze_encoder=True,
        losses=LOSSES,
        samples=SamplesConfig(20, iterations=2),
    )


def opened(training: TokenizerTraining) -> Sampler:
    _, sampler = open_sampler(training)
    assert sampler is not None
    return sampler


def begun(training: TokenizerTraining) -> tuple[TokenizerObjective, Batch]:
    """The objective of a training with its first batch, once its codes are sampled."""
    made = TokenizerObjective(training, SOURCE, opened(training))
    start_from(training.init, TOKENIZER_FILE, made.model)
    batches = made.batches(SOURCE, Positions(len(SOURCE), 4, seed=0), workers=0)
    return made, next(batches)


def test_codes_follow_from_the_model_and_the_seed(training: TokenizerTraining) -> None:
    model, config = load_model(Path(training.init))
    settings = config.sampling
    prompts = prompts_for(model, SOURCE, 9)
    assert prompts == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    places = [(place, 0) for place in range(9)]
    once = sampled_codes(model, "digest", prompts, settings, seed=0).take(places)
    fewer = sampled_codes(model, "digest", prompts[:3], settings, seed=0).take(places[:3])
    other = sampled_codes(model, "digest", prompts, settings, seed=1).take(places)
    assert torch.equal(once[:3], fewer)
    assert not torch.equal(once, other)
    again = model.sample_codes(model.conditions(prompts), torch.arange(9) + (1 << 40), settings)
    assert torch.equal(once, again)
    largest = sampled_codes(model, "digest", prompts, settings, seed=LARGEST_SEED).take(places)
    assert not torch.equal(once, largest)


def test_codes_are_sampled_once(training: TokenizerTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = opened(training), opened(training)
    first.sample(SOURCE, torch.device("cpu"))
    monkeypatch.setattr(samples, "_packed", None)  # would be an error if it were called
    second.sample(SOURCE, torch.device("cpu"))
    assert torch.equal(first.first(99), second.first(99))


def test_without_a_cache_they_are_held_in_memory(
    training: TokenizerTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    there = opened(training)
    there.sample(SOURCE, torch.device("cpu"))
    monkeypatch.setenv("BIGR_HOME", str(tmp_path / "file" / "home"))
    sampler = opened(training)
    sampler.sample(SOURCE, torch.device("cpu"))
    assert torch.equal(sampler.first(99), there.first(99))
    assert "cannot be" in capsys.readouterr().err


@given(count=st.integers(1, 50))
def test_some_are_taken_at_random(count: int, tiny_model: Path) -> None:
    sampler = Sampler(tiny_model, SamplesConfig(12, iterations=1), seed=3)
    with pytest.raises(ValueError, match="nothing has been sampled"):
        sampler.take(count, torch.device("cpu"))
    sampler.sample(SOURCE, torch.device("cpu"))
    every = {tuple(code.flatten().tolist()) for code in sampler.first(12)}
    taken = sampler.take(count, torch.device("cpu"))
    assert (taken.shape, taken.dtype) == ((count, 16, 6), torch.bool)
    assert {tuple(code.flatten().tolist()) for code in taken} <= every


def test_texts_are_sampled_by_captions(tiny_text_model: Path) -> None:
    model, _ = load_model(tiny_text_model)
    assert prompts_for(model, SOURCE, 14)[11:] == [SOURCE.caption(11), SOURCE.caption(0), SOURCE.caption(1)]

    class Silent(ScenesSource):
        def caption(self, index: int, variant: int = 0) -> str:
            return "" if index % 2 else "a red house"

    with pytest.raises(UsageError, match="6 of 12 images have no caption"):
        prompts_for(model, Silent(16, count=100), 12)


def test_nothing_is_opened_unasked(tokenizer_training: TokenizerTraining) -> None:
    assert open_sampler(tokenizer_training) == (tokenizer_training, None)


def test_a_run_keeps_its_generator(training: TokenizerTraining) -> None:
    pinned, _ = open_sampler(training)
    assert len(pinned.generator_sha256) == 64
    assert open_sampler(pinned)[0] == pinned
    with pytest.raises(ConfigError, match=r"generator_sha256: expected 000000000000…"):
        open_sampler(replace(training, generator_sha256="0" * 64))


def test_a_model_that_cannot_sample(training: TokenizerTraining, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        open_sampler(replace(training, init="nowhere"))
    alone = TokenizerObjective(replace(training, samples=SamplesConfig()), SOURCE)
    alone.write(alone.model, tmp_path, 1, {})
    with pytest.raises(ModelError, match="no generator"):
        open_sampler(replace(training, init=str(tmp_path)))


def test_sizes_that_are_not_the_generators_show_at_once(training: TokenizerTraining) -> None:
    more = replace(training, tokenizer=replace(training.tokenizer, bits=7))
    with pytest.raises(ConfigError, match=r"generator\.bits"):
        TokenizerObjective(more, SOURCE, opened(more))


def test_the_discriminator_judges_what_is_made_of_sampled_codes(training: TokenizerTraining) -> None:
    made, batch = begun(training)
    torch.manual_seed(0)
    loss, shown = made(batch, "model", 0)
    assert set(shown) == {"loss", "l1", "adversarial"}
    torch.manual_seed(0)
    probabilities = made.model.bit_probabilities(batch.images.float() / 255)
    bits = torch.rand_like(probabilities) < probabilities
    assert made.sampler is not None
    codes = made.sampler.take(4, torch.device("cpu"))
    assert torch.allclose(made._made, made.model.decode(codes), atol=1e-5)
    error = (made.model.decode(bits) - batch.images.float() / 255).abs().mean()
    assert float(shown["l1"].detach()) == pytest.approx(float(error.detach()), rel=1e-4)
    loss.backward()
    moved = {name.split(".")[0] for name, parameter in made.model.named_parameters() if parameter.grad is not None}
    assert moved == {"decoder", "embed"}
    assert not [name for name in made.state_dict() if "sampler" in name or "generator" in name]


def test_the_model_that_is_written_is_whole(training: TokenizerTraining, tiny_model: Path, tmp_path: Path) -> None:
    made, _ = begun(training)
    with torch.no_grad():
        made.model.embed.add_(1)
        measures = made.validate(made.model)
        assert made.preview(made.model).height > 3 * 16
    made.write(made.model, tmp_path, 7, measures)
    assert check_model(tmp_path) == []
    (before, old), (after, config) = load_model(tiny_model), load_model(tmp_path)
    assert (config.name, config.labels, config.sampling) == ("small", old.labels, old.sampling)
    assert config.provenance.steps == 7
    for one, other in zip(before.generator.parameters(), after.generator.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(before.tokenizer.encode(images), after.tokenizer.encode(images))
    assert not torch.equal(before.tokenizer.embed, after.tokenizer.embed)


def test_statistics_of_held_out_images_follow_the_decoder(training: TokenizerTraining, tmp_path: Path) -> None:
    from bigr_cli.core.held_out import HeldOut

    held_out = ScenesSource(16, start=100, count=40)
    sampler = opened(training)
    sampler.config = replace(sampler.config, refine=3, held_out=HeldOut(images=9, psnr=(1.0, 2.0), likelihood=(-2, -1)))
    made = TokenizerObjective(training, held_out, sampler)
    start_from(training.init, TOKENIZER_FILE, made.model)
    sampler.sample(held_out, torch.device("cpu"))
    with torch.no_grad():
        measures = made.validate(made.model)
    made.write(made.model, tmp_path, 1, measures)
    _, config = load_model(tmp_path)
    assert config.held_out is not None
    assert config.held_out.psnr[0] < measures["psnr"] < config.held_out.psnr[1] + 3
    assert (config.held_out.likelihood, config.refine) == ((-2, -1), 3)


def test_a_decoder_alone_is_a_tokenizer_of_its_sizes(training: TokenizerTraining) -> None:
    made = TokenizerObjective(replace(training, samples=SamplesConfig()), SOURCE)
    assert isinstance(made.model, Tokenizer)
    assert made.sampler is None
    batch = next(all_batches(SOURCE, 4))
    made(batch, "model", 0)
    assert len(made._made) == 4  # the reconstructions themselves
