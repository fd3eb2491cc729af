"""The tokenizer's loss (reference section 1): its parts and the perceptual network."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigr_cli.errors import UsageError

_LEAST = 1e-5  # squared error, 50 dB: below it an image's logarithm would ask for ever more

_VGG_STAGES = (3, 8, 15, 22, 29)  # the ReLU before each pooling of VGG16


def pixel_weights(foreground: Tensor, strength: float) -> Tensor:
    """(B, 1, H, W) coverage of the object in [0, 1] → weights with mean 1 in each image.

    The mean over the background hides what matters; the object's pixels weigh 1 + strength.
    """
    weights = 1 + strength * foreground
    return weights / weights.mean(dim=(1, 2, 3), keepdim=True)


def log_squared_error(made: Tensor, given: Tensor, weights: Tensor) -> Tensor:
    """The mean over images of ln(weighted mean squared error): minus PSNR, but for a factor of 10 / ln 10."""
    squared = ((made - given).square() * weights).mean(dim=(1, 2, 3))
    return (squared + _LEAST).log().mean()


def edge_loss(made: Tensor, given: Tensor, weights: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels, along both axes."""
    rows = (made.diff(dim=2) - given.diff(dim=2)).abs() * weights[:, :, 1:]
    columns = (made.diff(dim=3) - given.diff(dim=3)).abs() * weights[:, :, :, 1:]
    return rows.mean() + columns.mean()


def usage_loss(probabilities: Tensor) -> Tensor:
    """How far the bits are from each being 1 half of the time, independently: (B, L, K) → scalar, 0 at best.

    The bits' entropy that is missing, in bits, plus the mean squared correlation between different bits.
    """
    flat = probabilities.flatten(0, 1)  # (B·L, K)
    share = flat.mean(dim=0).clamp(1e-6, 1 - 1e-6)
    missing = 1 + share * share.log2() + (1 - share) * (1 - share).log2()
    centred = flat - share
    covariance = centred.T @ centred / len(flat)
    deviation = covariance.diagonal().clamp_min(1e-6).sqrt()
    correlation = covariance / (deviation[:, None] * deviation)
    off_diagonal = correlation - torch.diag(correlation.diagonal())
    return missing.mean() + off_diagonal.square().mean()


def certainty_loss(probabilities: Tensor) -> Tensor:
    """How far the bits of each image are from certain: mean 4 P (1 − P), 0 at best, 1 when all are random.

    The straight-through gradient does not see that Bernoulli noise costs the decoder; without this term the bits stay
    undecided and carry less.
    """
    return (4 * probabilities * (1 - probabilities)).mean()


def feature_loss(network: nn.Module, made: Tensor, given: Tensor) -> Tensor:
    """Squared distance of unit-length features at every place and stage, as in LPIPS without its learned weights.

    `network.features(images)` returns a list of (B, C, h, w) maps.
    """
    with torch.no_grad():
        wanted = [F.normalize(stage, dim=1) for stage in network.features(given)]  # type: ignore[operator]
    found = [F.normalize(stage, dim=1) for stage in network.features(made)]  # type: ignore[operator]
    distances = [(a - b).square().sum(dim=1).mean() for a, b in zip(found, wanted, strict=True)]
    return torch.stack(distances).mean()


class StraightThrough(torch.autograd.Function):
    """Bernoulli bits forwards; the probabilities' gradient backwards: b + P − stop_gradient(P)."""

    @staticmethod
    def forward(ctx: object, probabilities: Tensor, numbers: Tensor) -> Tensor:
        return (numbers < probabilities).to(probabilities.dtype)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def perceptual_network(name: str) -> nn.Module:
    """`scenes`, or a file of torchvision's VGG16 weights (safetensors) → a frozen module with `features(images)`.

    Raises:
        UsageError: there is no such file, or it does not hold VGG16's weights.
        ModelError: the package comes without that classifier.
    """
    if name == "scenes":
        from bigr_cli.evaluation.classifier import load_classifier

        return load_classifier().eval().requires_grad_(False)
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"losses.perceptual_network: {name}: no such file",
            hint='nothing is downloaded: give a safetensors file of VGG16 weights, or "scenes", or losses.perceptual=0',
        )
    return VggFeatures(path).eval().requires_grad_(False)


class VggFeatures(nn.Module):
    """Feature maps of VGG16, normalised as LPIPS does."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from torchvision.models import vgg

        self.layers: nn.Sequential = vgg.make_layers(vgg.cfgs["D"])
        try:
            state = {name: weight.float() for name, weight in load_file(weights).items()}
            # The classifier behind the features is of no use here, and need not be in the file.
            prefix = "features."
            self.layers.load_state_dict({n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)})
        except (SafetensorError, RuntimeError) as error:
            raise UsageError(f"{weights}: not VGG16 weights ({str(error).splitlines()[0]})") from error

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] → five maps (B, C, h, w)."""
        mean, deviation = images.new_tensor([0.485, 0.456, 0.406]), images.new_tensor([0.229, 0.224, 0.225])
        x = (images - mean[:, None, None]) / deviation[:, None, None]
        stages = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in _VGG_STAGES:
                stages.append(x)
        return stages
