import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bigr_cli.training.config import AdversarialConfig
from bigr_cli.training.losses import PatchDiscriminator, adaptive_share, augmented, discriminator_loss


@given(layers=st.integers(1, 3), more=st.integers(0, 3), batch=st.integers(1, 2))
def test_critics_judge_patches(layers: int, more: int, batch: int) -> None:
    side = 3 * 2**layers + more  # 3 · 2^layers is the smallest, as the config knows
    critic = PatchDiscriminator(AdversarialConfig(layers=layers, channels=8))
    judged = critic(torch.rand(batch, 3, side, side))
    assert judged.shape == (batch, 1, side // 2**layers - 2, side // 2**layers - 2)


def test_the_published_critic() -> None:
    critic = PatchDiscriminator(AdversarialConfig())
    widths = [layer.out_channels for layer in critic.blocks if isinstance(layer, nn.Conv2d)]
    strides = [layer.stride[0] for layer in critic.blocks if isinstance(layer, nn.Conv2d)]
    assert (widths, strides) == ([64, 128, 256, 512, 1], [2, 2, 2, 1, 1])


class Mean(nn.Module):
    """Judges by brightness."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))


def test_hinge_loss() -> None:
    given_, made = torch.full((2, 3, 4, 4), 0.4), torch.full((2, 3, 4, 4), -0.5)
    assert float(discriminator_loss(Mean(), given_, made, augment=False)) == pytest.approx((0.6 + 0.5) / 2)
    assert float(discriminator_loss(Mean(), given_ + 5, made - 5, augment=False)) == 0  # sure enough
    assert float(discriminator_loss(Mean(), made, given_, augment=False)) == pytest.approx((1.5 + 1.4) / 2)


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
