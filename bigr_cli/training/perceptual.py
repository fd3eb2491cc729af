"""Networks whose features judge reconstructions; none is ever downloaded."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from bigr_cli.errors import UsageError

_VGG_STAGES = (3, 8, 15, 22, 29)  # the ReLU before each pooling of VGG16


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
