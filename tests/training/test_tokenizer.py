from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bigr_cli.data.folders import FolderSource
from bigr_cli.data.loading import Batch, all_batches
from bigr_cli.data.sources import ScenesSource, Source
from bigr_cli.errors import ConfigError, ModelFormatError, UsageError
from bigr_cli.training.config import TokenizerTraining
from bigr_cli.training.loss_config import AdversarialConfig, TokenizerLosses
from bigr_cli.training.objective import start_from
from bigr_cli.training.optim import Optimizers
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.config import TOKENIZER_FILE
from bigr_cli.zoo.folder import check_model, load_tokenizer

HELD_OUT = ScenesSource(16, start=100, count=12)
ADVERSARIAL = AdversarialConfig(weight=0.5, start=3, layers=2, channels=8)
ALL = TokenizerLosses(1, 1, 1, 1, 2, 0, "scenes", 0.1, 0.1, adversarial=ADVERSARIAL)


@pytest.fixture
def batch() -> Batch:
    return next(all_batches(ScenesSource(16), 6))


def objective(
    training: TokenizerTraining, losses: TokenizerLosses = ALL, held_out: Source = HELD_OUT
) -> TokenizerObjective:
    return TokenizerObjective(replace(training, losses=losses), held_out)


def test_parts_with_weight_add_up(tokenizer_training: TokenizerTraining, batch: Batch) -> None:
    made = objective(tokenizer_training)
    torch.manual_seed(0)
    loss, values = made(batch, "model", 5)
    parts = {name: float(value.detach()) for name, value in values.items() if name != "loss"}
    assert set(parts) == {"l1", "l2", "log_l2", "edges", "usage", "certainty", "adversarial"}
    assert float(loss.detach()) == pytest.approx(sum(parts.values()), rel=1e-5)
    alone = objective(tokenizer_training, TokenizerLosses())
    assert set(alone(batch, "model", 5)[1]) == {"loss", "l1"}


def test_every_weight_learns(tokenizer_training: TokenizerTraining, batch: Batch) -> None:
    made = objective(tokenizer_training)
    for name, parameter in made.model.named_parameters():  # blocks start as the identity, and gradients end there
        if "conv2.weight" in name or "out.weight" in name or "w2.weight" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    made(batch, "model", 5)[0].backward()
    assert not [name for name, p in made.model.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_discriminator_is_trained_from_its_step_on(tokenizer_training: TokenizerTraining, batch: Batch) -> None:
    made = objective(tokenizer_training)
    assert [made.phases(step) for step in (0, 1, 2, 9)] == [
        ["model"],
        ["model"],
        ["model", "critic"],
        ["model", "critic"],
    ]
    assert set(made.optimizers()) == {"model", "critic"}
    made(batch, "model", 2)[0].backward()
    assert made.critic is not None
    assert all(parameter.grad is None for parameter in made.critic.parameters())
    made.zero_grad()
    loss, values = made(batch, "critic", 2)
    loss.backward()
    assert set(values) == {"critic"}
    assert all(parameter.grad is not None for parameter in made.critic.parameters())
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_without_a_discriminator_there_is_one_phase(tokenizer_training: TokenizerTraining) -> None:
    made = objective(tokenizer_training, TokenizerLosses())
    assert set(made.optimizers()) == {"model"}
    assert made.phases(10**6) == ["model"]
    assert not any(name.startswith("critic") for name in made.state_dict())


def test_frozen_networks_are_not_saved(tokenizer_training: TokenizerTraining) -> None:
    made = objective(tokenizer_training)
    assert {name.split(".")[0] for name in made.state_dict()} == {"model", "critic"}


def test_the_seed_decides_the_start(tokenizer_training: TokenizerTraining) -> None:
    one, other = objective(tokenizer_training), objective(tokenizer_training)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    seeded = objective(replace(tokenizer_training, run=replace(tokenizer_training.run, seed=1)))
    assert not torch.equal(one.model.embed, seeded.model.embed)


def test_validation_measures_and_leaves_everything_alone(tokenizer_training: TokenizerTraining) -> None:
    made = objective(tokenizer_training)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with torch.inference_mode():
        first = made.validate(made.model)
        second = made.validate(made.model)
        image = made.preview(made.model)
    assert first == second
    assert set(first) == {"psnr", "psnr_object", "bits_used", "bits_entropy", "bits_duplicated"}
    assert image.width == 8 * 16 + 7 * 2
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())


def test_images_without_an_object_have_no_box(tokenizer_training: TokenizerTraining, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    held_out = FolderSource(tmp_path, ("a.png",), (0,), (), 16)
    made = objective(tokenizer_training, held_out=held_out)
    with torch.inference_mode():
        assert "psnr_object" not in made.validate(made.model)
        assert made.preview(made.model).size


def test_what_is_written_is_a_model(tokenizer_training: TokenizerTraining, tmp_path: Path) -> None:
    made = objective(tokenizer_training)
    made.write(made.model, tmp_path, 7, {"psnr": 12.5})
    assert check_model(tmp_path) == []
    tokenizer, config = load_tokenizer(tmp_path)
    assert (config.name, config.provenance.steps, config.provenance.pictures) == ("small", 7, 28)
    assert "12.5" in (tmp_path / "README.md").read_text(encoding="utf-8")
    for one, other in zip(tokenizer.parameters(), made.model.parameters(), strict=True):
        assert torch.equal(one, other.half().float())


def test_it_can_start_from_a_model(tokenizer_training: TokenizerTraining, tmp_path: Path) -> None:
    first = objective(replace(tokenizer_training, run=replace(tokenizer_training.run, seed=3)))
    first.write(first.model, tmp_path, 1, {})
    second = objective(tokenizer_training)
    start_from(str(tmp_path), TOKENIZER_FILE, second.model)
    assert torch.equal(second.model.embed, first.model.embed.half().float())
    fewer = replace(tokenizer_training.tokenizer, bits=tokenizer_training.tokenizer.bits - 1)
    with pytest.raises(ModelFormatError, match="wrong shapes"):
        start_from(str(tmp_path), TOKENIZER_FILE, objective(replace(tokenizer_training, tokenizer=fewer)).model)


def test_a_larger_one_starts_from_it_too_and_is_fresh_beyond(
    tokenizer_training: TokenizerTraining, tmp_path: Path
) -> None:
    first = objective(replace(tokenizer_training, run=replace(tokenizer_training.run, seed=3)))
    first.write(first.model, tmp_path, 1, {})
    bits = tokenizer_training.tokenizer.bits
    wider = replace(tokenizer_training, tokenizer=replace(tokenizer_training.tokenizer, bits=bits + 2))
    grown, fresh = objective(wider), objective(wider)
    start_from(str(tmp_path), TOKENIZER_FILE, grown.model)
    assert torch.equal(grown.model.embed[:bits], first.model.embed.half().float())
    assert torch.equal(grown.model.embed[bits:], fresh.model.embed[bits:])
    images = torch.rand(2, 3, 16, 16)
    before, after = (made.model.eval().bit_logits(images) for made in (first, grown))
    assert torch.allclose(after[..., :bits], before, atol=1e-2)  # the file has half precision


def test_a_frozen_encoder_keeps_its_codes(tokenizer_training: TokenizerTraining, batch: Batch) -> None:
    made = objective(replace(tokenizer_training, freeze_encoder=True, init="elsewhere"))
    loss, _ = made.forward(batch, "model", 0)
    loss.backward()
    learning = {name for name, parameter in made.model.named_parameters() if parameter.grad is not None}
    assert learning
    assert not any(name.startswith(("encoder.", "to_bits.")) for name in learning)
    optimizers = Optimizers(made.model, tokenizer_training.optimizer)
    moved = {id(p) for part, _ in optimizers.parts for group in part.param_groups for p in group["params"]}
    assert moved == {id(p) for p in made.model.parameters() if p.requires_grad}
    with pytest.raises(ConfigError, match="needs init"):
        replace(tokenizer_training, freeze_encoder=True, init="")


def test_what_is_wrong_shows_before_training(tokenizer_training: TokenizerTraining, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        objective(replace(tokenizer_training, name="two words"))
    missing = replace(ALL, perceptual=1.0, perceptual_network=str(tmp_path / "none.safetensors"))
    with pytest.raises(UsageError, match="no such file"):
        objective(tokenizer_training, missing)
