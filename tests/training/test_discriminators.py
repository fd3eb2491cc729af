from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import ScenesSource
from bigr_cli.training.discriminators import (
    FeatureDiscriminator,
    PatchDiscriminator,
    adaptive_share,
    augmented,
    deception_loss,
    discriminator_for,
    discriminator_loss,
)
from bigr_cli.training.loss_config import AdversarialConfig
from bigr_cli.training.tokenizer_loss import perceptual_network


@given(layers=st.integers(1, 3), more=st.integers(0, 3), batch=st.integers(1, 2))
def test_critics_judge_patches(layers: int, more: int, batch: int) -> None:
    side = 3 * 2**layers + more  # 3 · 2^layers is the smallest, as the config knows
    critic = PatchDiscriminator(AdversarialConfig(layers=layers, channels=8))
    (judged,) = critic(torch.rand(batch, 3, side, side))
    assert judged.shape == (batch, 1, side // 2**layers - 2, side // 2**layers - 2)


def test_the_published_critic() -> None:
    critic = PatchDiscriminator(AdversarialConfig())
    widths = [layer.out_channels for layer in critic.blocks if isinstance(layer, nn.Conv2d)]
    strides = [layer.stride[0] for layer in critic.blocks if isinstance(layer, nn.Conv2d)]
    assert (widths, strides) == ([64, 128, 256, 512, 1], [2, 2, 2, 1, 1])


class Mean(nn.Module):
    """Judges by brightness, in as many ways as it is told, of which each trusts it half as much."""

    def __init__(self, parts: int = 1) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images.mean(dim=(1, 2, 3)) / 2**part for part in range(self.parts)]


def test_hinge_loss() -> None:
    given_, made = torch.full((2, 3, 4, 4), 0.4), torch.full((2, 3, 4, 4), -0.5)
    assert float(discriminator_loss(Mean(), given_, made, augment=False)) == pytest.approx((0.6 + 0.5) / 2)
    assert float(discriminator_loss(Mean(), given_ + 5, made - 5, augment=False)) == 0  # sure enough
    assert float(discriminator_loss(Mean(), made, given_, augment=False)) == pytest.approx((1.5 + 1.4) / 2)
    assert float(deception_loss(Mean(), made)) == pytest.approx(0.5)


def test_parts_count_alike() -> None:
    given_, made = torch.full((2, 3, 4, 4), 0.4), torch.full((2, 3, 4, 4), -0.5)
    of_both = discriminator_loss(Mean(2), given_, made, augment=False)
    assert float(of_both) == pytest.approx(((0.6 + 0.5) / 2 + (0.8 + 0.75) / 2) / 2)
    assert float(deception_loss(Mean(2), made)) == pytest.approx((0.5 + 0.25) / 2)


SCENES: Any = perceptual_network("scenes")


@pytest.mark.parametrize(("which", "maps"), [("patches", 1), ("features", 3), ("both", 4)])
def test_what_discriminators_look_at(which: Literal["patches", "features", "both"], maps: int) -> None:
    critic = discriminator_for(AdversarialConfig(discriminator=which, layers=2, channels=8), SCENES)
    logits = critic(torch.rand(2, 3, 32, 32))
    assert len(logits) == maps
    assert all(each.shape[:2] == (2, 1) for each in logits)
    torch.stack([each.mean() for each in logits]).sum().backward()
    assert all(parameter.grad is not None for parameter in critic.parameters())
    assert all(parameter.grad is None for parameter in SCENES.parameters())


def test_a_frozen_network_is_not_in_the_state() -> None:
    critic = discriminator_for(AdversarialConfig(discriminator="features"), SCENES)
    assert {name.split(".")[0] for name in critic.state_dict()} == {"scales", "heads"}


def test_maps_are_scaled_alike_each_time() -> None:
    one, other = FeatureDiscriminator(SCENES), FeatureDiscriminator(SCENES)
    assert torch.equal(one.scales, other.scales)
    scaled = [scale * each for scale, each in zip(one.scales, SCENES.features(torch.rand(4, 3, 64, 64)), strict=True)]
    assert all(0.2 < float(each.std()) < 5 for each in scaled)


def test_features_need_a_network() -> None:
    with pytest.raises(ValueError, match="needs a network"):
        discriminator_for(AdversarialConfig(discriminator="both"), None)


@pytest.mark.parametrize("which", ["patches", "features"])
def test_a_discriminator_learns_to_tell_blurred_scenes(which: Literal["patches", "features"]) -> None:
    torch.manual_seed(0)
    critic = discriminator_for(AdversarialConfig(discriminator=which, layers=2, channels=16), SCENES)
    given_ = as_floats(next(all_batches(ScenesSource(32), 16)).images)
    made = F.avg_pool2d(given_, 3, stride=1, padding=1)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(40):
        loss = discriminator_loss(critic, given_, made, augment=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.8  # 1 says nothing
    with torch.no_grad():
        assert float(deception_loss(critic, made)) > float(deception_loss(critic, given_))


@given(ratio=st.floats(0.01, 20), cap=st.floats(0.1, 5))
def test_the_share_is_the_ratio_of_gradients(ratio: float, cap: float) -> None:
    weight = nn.Parameter(torch.ones(5))
    share = adaptive_share(ratio * weight.sum(), weight.sum(), weight, cap)
    assert float(share) == pytest.approx(min(ratio, cap), rel=1e-3)
    assert not share.requires_grad


def test_augmentation_is_the_same_for_both() -> None:
    images = torch.rand(3, 3, 16, 16)
    torch.manual_seed(0)
    one, other = augmented(images, images.clone())
    assert torch.equal(one, other)
    assert one.shape == images.shape
    assert not torch.allclose(one, images, atol=0.05)
    torch.manual_seed(0)
    assert torch.equal(augmented(images)[0], one)


def test_augmentation_lets_gradients_through() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    augmented(images)[0].square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
