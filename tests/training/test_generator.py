from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.familiarity import held_out_statistics
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.loading import Positions, all_batches, as_floats
from bigr_cli.data.sources import ScenesSource, Source
from bigr_cli.errors import ConfigError
from bigr_cli.training.config import DataConfig, GeneratorTraining
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.objective import start_from
from bigr_cli.training.sizes import GeneratorShape
from bigr_cli.zoo.config import GENERATOR_FILE
from bigr_cli.zoo.folder import check_model, load_model, load_tokenizer

HELD_OUT = ScenesSource(16, start=100, count=12)


def objective(training: GeneratorTraining, held_out: Source = HELD_OUT) -> GeneratorObjective:
    tokenizer, base = load_tokenizer(Path(training.tokenizer))
    return GeneratorObjective(training, tokenizer, base, held_out)


def test_sizes_come_from_tokenizer_and_data(generator_training: GeneratorTraining) -> None:
    made = objective(generator_training)
    assert (made.sizes.grid, made.sizes.bits, made.sizes.classes) == (4, 6, 16)
    assert not any("tokenizer" in name for name in made.state_dict())


def test_a_flat_folder_is_one_class(generator_training: GeneratorTraining, tmp_path: Path) -> None:
    made = objective(generator_training, FolderSource(tmp_path, ("a.png",), (0,), (), 16))
    assert (made.sizes.classes, made.labels) == (1, ("picture",))
    made.write(made.model, tmp_path / "run", 3, {})
    _, config = load_model(tmp_path / "run")
    assert config.labels == ("picture",)


@pytest.fixture(autouse=True)
def _run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()


def test_codes_are_drawn_anew_and_images_decide(generator_training: GeneratorTraining) -> None:
    made = objective(generator_training)
    batch = next(all_batches(ScenesSource(16), 8))
    torch.manual_seed(0)
    one = made._sample_codes(batch)
    other = made._sample_codes(batch)
    assert one.shape == (8, 16, 6) and one.dtype == torch.bool
    assert not torch.equal(one, other)
    torch.manual_seed(0)
    assert torch.equal(made._sample_codes(batch), one)


def test_cached_codes_stand_for_images(generator_training: GeneratorTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataConfig(count=12, validation=4, workers=0, cache_codes=2)
    made = objective(replace(generator_training, data=data))
    source = ScenesSource(16, count=12)
    batches = made.batches(source, Positions(12, 4, seed=0), workers=0)
    monkeypatch.setattr(made, "_sample_codes", lambda batch: pytest.fail("encoded anew"))
    for _ in range(7):  # more than two passes
        batch = next(batches)
        assert batch.codes is not None and batch.codes.shape == (4, 16, 6)
        loss, values = made(batch, "model", 0)
        assert float(loss.detach()) > 0 and set(values) == {"loss"}
    assert made.phases(0) == ["model"]


def test_validation_is_the_same_every_time(generator_training: GeneratorTraining) -> None:
    made = objective(generator_training).eval()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with torch.inference_mode():
        first, second = made.validate(made.model), made.validate(made.model)
        image = made.preview(made.model)
    assert first == second
    assert image.size == (8 * 16 + 7 * 2, 4 * 16 + 3 * 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())


def test_statistics_of_the_held_out_images_are_noted_if_they_are_enough(
    generator_training: GeneratorTraining, tmp_path: Path
) -> None:
    for count, noted in ((31, False), (40, True)):
        made = objective(generator_training, ScenesSource(16, 0, 0, count)).eval()
        with torch.inference_mode():
            measures = made.validate(made.model)
        (tmp_path / str(count)).mkdir()
        made.write(made.model, tmp_path / str(count), 5, measures)
        model, config = load_model(tmp_path / str(count))
        assert (config.held_out is not None) is noted
    assert config.held_out is not None and config.held_out.images == 40
    batches = [as_floats(batch.images) for batch in all_batches(ScenesSource(16, 0, 0, 40), 7)]
    again = held_out_statistics(model, batches)  # the weights in the folder are rounded to half precision
    assert again is not None
    assert again.psnr == pytest.approx(config.held_out.psnr, abs=0.05)
    assert "## Images that it knows" in (tmp_path / "40" / "README.md").read_text()


def test_what_is_written_is_a_model(generator_training: GeneratorTraining, tmp_path: Path) -> None:
    made = objective(generator_training)
    made.write(made.model, tmp_path / "run", 5, {"loss": 0.25})
    assert check_model(tmp_path / "run") == []
    model, config = load_model(tmp_path / "run")
    assert (config.provenance.steps, config.provenance.pictures, len(config.labels)) == (5, 40, 16)
    assert config.sampling == generator_training.sampling
    codes = model.sample_codes(torch.tensor([0, 1]), [1, 2], steps=2, timesteps=2)
    assert codes.shape == (2, 16, 6)
    again = objective(generator_training)
    start_from(str(tmp_path / "run"), GENERATOR_FILE, again.model)
    assert torch.equal(again.model.positions, made.model.positions.half().float())


def test_what_is_wrong_shows_before_training(generator_training: GeneratorTraining) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.timesteps: the generator has 16, got 100"):
        objective(replace(generator_training, sampling=SamplingConfig()))
    with pytest.raises(ConfigError, match="dim"):
        objective(replace(generator_training, generator=GeneratorShape(heads=3, dim=32)))
    with pytest.raises(ConfigError, match="name"):
        objective(replace(generator_training, name="../up"))
