"""Images sampled to be evaluated: the same in any batch, any number of processes, and after a stop."""

from pathlib import Path

import pytest
import torch

from bigr_cli.errors import UsageError
from bigr_cli.evaluation.samples import CHUNK, Samples, balanced, samples_of
from bigr_cli.model import Model, load


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return load(tiny_model, device="cpu", dtype="float32")


def pixels(samples: Samples) -> torch.Tensor:
    return torch.cat(list(samples.images().batches(50)))


def test_classes_in_turn_and_seeds_by_number(model: Model) -> None:
    jobs = balanced(model.config, 6, 10)
    assert [job.prompt for job in jobs] == [0, 1, 2, 3, 0, 1]
    assert [job.seed for job in jobs] == list(range(10, 16))
    with pytest.raises(UsageError):
        balanced(model.config, 5, 2**63 - 2)


def test_the_same_images_whatever_the_batch_and_the_processes(model: Model, home: Path) -> None:
    jobs, settings = balanced(model.config, CHUNK + 7, 0), model.settings(steps=2, timesteps=2)
    alone = samples_of(model, jobs, settings, 64)
    wanted = pixels(alone)
    alone.discard()
    assert not alone.folder.exists()
    shared = samples_of(model, jobs, settings, 5)
    assert shared.folder == alone.folder
    done: list[int] = []
    for rank in (1, 0):
        shared.share(rank, 2, done.append)
    assert sorted(done) == [7, CHUNK]
    assert torch.equal(pixels(shared), wanted)
    images = model.generate([job.label for job in jobs[:5]], seed=0, steps=2, timesteps=2)
    for index, image in enumerate(images):
        assert image.tobytes() == wanted[index].permute(1, 2, 0).contiguous().numpy().tobytes()


def test_what_is_kept_is_not_drawn_again_and_what_is_damaged_is(
    model: Model, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = samples_of(model, balanced(model.config, CHUNK + 3, 0), model.settings(steps=2, timesteps=2), 64)
    wanted = pixels(samples)
    first, second = sorted(samples.folder.iterdir())
    second.write_bytes(first.read_bytes()[:200])
    calls: list[int] = []
    sample = model.sample_codes
    monkeypatch.setattr(
        model, "sample_codes", lambda *words, **more: calls.append(len(words[1])) or sample(*words, **more)
    )
    assert torch.equal(pixels(samples), wanted)
    assert calls == [3]


def test_other_settings_are_kept_elsewhere(model: Model, home: Path) -> None:
    jobs = balanced(model.config, 4, 0)
    folders = {
        samples_of(model, each, model.settings(**sampling), None).folder
        for each, sampling in [(jobs, {}), (jobs, {"steps": 2}), (jobs[:3], {}), (balanced(model.config, 4, 1), {})]
    }
    assert len(folders) == 4
