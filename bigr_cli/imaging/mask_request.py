"""What is to be repainted, as it is asked for; `masks` reads it, `editing.mask_finders` finds what is searched for."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from bigr_cli.core.config import Guide
from bigr_cli.errors import UsageError
from bigr_cli.setting import Setting

CLASS, TEXT = "class", "text"  # the finders that --mask-class and --mask-text ask

_setting = partial(Setting, panel="Mask")
_rare = partial(Setting, panel="Rarely needed")


@dataclass(frozen=True, kw_only=True)
class MaskRequest:
    """What is to be repainted: all that is asked for together, then inverted, then grown.

    `image` is a mask in memory, a PIL image or an array (H, W); `weights` (H, W) in [0, 1], 1 = repaint, is what has
    been read already.
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
    label: Annotated[
        Guide,
        _setting(
            "Where the model sees this label. Its own likelihoods say so.",
            option="--mask-class",
            metavar="LABEL",
            variable=False,
        ),
    ] = None
    text: Annotated[
        str | None,
        _setting(
            "Where CLIPSeg sees these words. It needs bigr-cli[text].",
            option="--mask-text",
            metavar="WORDS",
            variable=False,
        ),
    ] = None
    searches: Annotated[
        tuple[str, ...],
        _rare(
            "Where a mask finder sees it. Plugins bring others; may be repeated.",
            option="--mask-find",
            metavar="NAME=WORDS",
            variable=False,
        ),
    ] = ()
    invert: Annotated[bool, _setting("Repaint what the mask would keep.", option="--invert-mask")] = False
    grow: Annotated[
        int,
        _setting("Widen the mask by so many pixels.", option="--mask-grow", minimum=0, maximum=100_000, metavar="N"),
    ] = 0
    resize: Annotated[bool, _rare("Scale a mask of another size to the image's.", option="--mask-resize")] = False
    threshold: Annotated[
        float | None,
        _rare(
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

    def __post_init__(self) -> None:
        for search in self.searches:
            name, _, words = search.partition("=")
            if not name.strip() or not words.strip():
                raise UsageError(
                    f"--mask-find: expected NAME=WORDS, got {search!r}", hint="such as --mask-find text=cat"
                )
        if self.text is not None and not self.text.strip():
            raise UsageError("--mask-text: expected words, got none")

    @property
    def given(self) -> bool:
        """Whether there is any mask at all."""
        read = self.image is not None or self.weights is not None
        return read or self.path is not None or bool(self.boxes) or self.alpha or bool(self.searched)

    @property
    def searched(self) -> tuple[tuple[str, Guide], ...]:
        """What is to be found in the image: finders by name, and the label or the words that each searches for."""
        found: list[tuple[str, Guide]] = [] if self.label is None else [(CLASS, self.label)]
        found += [] if self.text is None else [(TEXT, self.text.strip())]
        for search in self.searches:
            name, _, words = search.partition("=")
            found.append((name.strip(), words.strip()))
        return tuple(found)

    @property
    def unsearched(self) -> "MaskRequest":
        """What can be read without searching, neither inverted nor grown."""
        return replace(self, label=None, text=None, searches=(), invert=False, grow=0)

    def having(self, weights: Any) -> "MaskRequest":
        """The request once what can be read of it has been: `weights` (H, W), neither inverted nor grown."""
        return replace(self, path=None, boxes=(), alpha=False, image=None, weights=weights)
