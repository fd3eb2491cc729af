"""What is to be repainted, as it is asked for; `masks` reads it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from bigr_cli.setting import Setting

_setting = partial(Setting, panel="Mask")


@dataclass(frozen=True, kw_only=True)
class MaskRequest:
    """What is to be repainted: all that is asked for together, then inverted, then grown.

    `image` is a mask in memory, a PIL image or an array (H, W); `weights` (H, W) in [0, 1], 1 = repaint, is all of this
    read already.
    """

    path: Annotated[
        Path | None,
        _setting(
            "An image of the same size: white is repainted, black is kept. Grey is mixed; of colours, all but black.",
            option="--mask",
            metavar="FILE",
            aliases=("--mask-image",),
        ),
    ] = None
    boxes: Annotated[
        tuple[str, ...],
        _setting("A box to repaint, in pixels or %; may be repeated.", option="--mask-box", metavar="X,Y,W,H"),
    ] = ()
    alpha: Annotated[bool, _setting("Repaint what is transparent.", option="--mask-alpha")] = False
    invert: Annotated[bool, _setting("Repaint what the mask would keep.", option="--invert-mask")] = False
    grow: Annotated[
        int,
        _setting("Widen the mask by so many pixels.", option="--mask-grow", minimum=0, maximum=100_000, metavar="N"),
    ] = 0
    resize: Annotated[bool, _setting("Scale a mask of another size to the image's.", option="--mask-resize")] = False
    threshold: Annotated[
        float | None,
        _setting(
            "What is so near to black or white (0 to 1) counts as such. "
            "Without it 0.05, and 0.15 in JPEG, WebP and AVIF masks.",
            option="--mask-threshold",
            minimum=0,
            maximum=0.49,
            metavar="T",
        ),
    ] = None
    image: Any = None
    weights: Any = None

    @property
    def given(self) -> bool:
        """Whether there is any mask at all."""
        read = self.image is not None or self.weights is not None
        return read or self.path is not None or bool(self.boxes) or self.alpha
