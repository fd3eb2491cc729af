"""What of an image, or beside it, is to be painted, as it is asked for: masks, and canvases larger than the image.

`masks` reads the former, and `editing.mask_finders` finds what is searched for. Importing this imports no numpy.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from bigr_cli.core.config import Prompt
from bigr_cli.errors import UsageError
from bigr_cli.setting import Setting

CLASS, TEXT = "class", "text"  # the finders that --mask-class and --mask-text ask

_canvas = partial(Setting, panel="Canvas", variable=False)
_mask = partial(Setting, panel="Mask")
_rare = partial(Setting, panel="Rarely needed")
_SIDE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(%?)")
_ASPECT = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)[:/](\d{1,6}(?:\.\d{1,6})?)")
_SIZE = re.compile(r"(\d{1,9})[x×X](\d{1,9})")


@dataclass(frozen=True)
class Margins:
    """How many pixels a canvas has more than its image, on each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the canvas around an image of such a size.

        Raises:
            UsageError: a margin is negative, all are 0, or the canvas would be too large.
        """
        if min(self.left, self.top, self.right, self.bottom) < 0:
            raise UsageError(f"outpainting takes nothing away, and {self} has a negative side")
        if not any((self.left, self.top, self.right, self.bottom)):
            raise UsageError(f"the canvas is the image, {size[0]} × {size[1]} pixels: there is nothing to paint")
        from bigr_cli.data.images import pixel_limit

        width, height = size[0] + self.left + self.right, size[1] + self.top + self.bottom
        if width * height > pixel_limit():
            raise UsageError(f"a canvas of {width} × {height} pixels is too large; at most {pixel_limit():,} in all")
        return width, height


@dataclass(frozen=True, kw_only=True)
class CanvasRequest:
    """What was asked for: pixels or shares of the image's side ("50%") to add, a shape ("16:9"), a size ("80x60").

    Raises:
        UsageError: text that is none of these, or more than one way to say how large the canvas is.
    """

    left: Annotated[int | str | None, _canvas("Pixels to add at the left.", metavar="N[%]")] = None
    right: Annotated[int | str | None, _canvas("Pixels to add at the right.", metavar="N[%]")] = None
    top: Annotated[int | str | None, _canvas("Pixels to add at the top.", metavar="N[%]")] = None
    bottom: Annotated[int | str | None, _canvas("Pixels to add at the bottom.", metavar="N[%]")] = None
    aspect: Annotated[str | None, _canvas("The shape to extend the image to.", metavar="W:H")] = None
    size: Annotated[str | None, _canvas("The size to extend the image to.", metavar="WxH")] = None

    def __post_init__(self) -> None:
        for name in ("left", "right", "top", "bottom"):
            side = getattr(self, name)
            _check(name, side, _SIDE, "pixels such as 64, or a share such as 50%")
            if side is not None and "%" not in str(side) and 0 < float(side) < 1:
                share = f"{float(side):.4%}".rstrip("0%").rstrip(".")
                raise UsageError(f"--{name}: {side} pixels is less than one; {share}% is a share")
        _check("aspect", self.aspect, _ASPECT, "a shape such as 16:9")
        _check("size", self.size, _SIZE, "a size such as 800x600")
        ways = [bool(self.left or self.right or self.top or self.bottom), bool(self.aspect), bool(self.size)]
        if sum(ways) > 1:
            raise UsageError("--aspect, --size and --left, --right, --top, --bottom exclude each other")

    @property
    def given(self) -> bool:
        """Whether a larger canvas was asked for."""
        return any(vars(self).values())

    def margins(self, size: tuple[int, int]) -> Margins:
        """The margins of an image of such a size (width, height).

        Raises:
            UsageError: the canvas would be smaller than the image.
        """
        width, height = size
        if self.aspect:
            across, down = (float(number) for number in _matched(_ASPECT, self.aspect))
            if across == 0 or down == 0:
                raise UsageError(f"--aspect: {self.aspect} is no shape")
            return _around(size, (max(width, round(height * across / down)), max(height, round(width * down / across))))
        if self.size:
            wanted = tuple(int(number) for number in _matched(_SIZE, self.size))
            if wanted[0] < width or wanted[1] < height:
                raise UsageError(f"--size: {self.size} is smaller than the image, {width}x{height}")
            return _around(size, (wanted[0], wanted[1]))
        return Margins(
            left=_pixels(self.left, width),
            top=_pixels(self.top, height),
            right=_pixels(self.right, width),
            bottom=_pixels(self.bottom, height),
        )


def _check(name: str, text: int | str | None, pattern: re.Pattern[str], expected: str) -> None:
    if text is not None and not pattern.fullmatch(str(text).strip()):
        raise UsageError(f"--{name}: expected {expected}, got {text!r}")


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = pattern.fullmatch(text.strip())
    return found.groups() if found else ("0", "0")


def _pixels(text: int | str | None, extent: int) -> int:
    number, percent = _matched(_SIDE, str(text)) if text is not None else ("0", "")
    return math.ceil(float(number) * extent / 100) if percent else round(float(number))


def _around(size: tuple[int, int], canvas: tuple[int, int]) -> Margins:
    """The margins that have the image in the canvas's middle."""
    across, down = canvas[0] - size[0], canvas[1] - size[1]
    return Margins(left=across // 2, top=down // 2, right=across - across // 2, bottom=down - down // 2)


@dataclass(frozen=True, kw_only=True)
class MaskRequest:
    """What is to be repainted: all that is asked for together, then inverted, then grown.

    `image` is a mask in memory, a PIL image or an array (H, W); `weights` (H, W) in [0, 1], 1 = repaint, is what has
    been read already. `label_name` is what messages call the label.
    """

    path: Annotated[
        Path | None,
        _mask(
            "An image of the same size: white is repainted, black is kept. Grey is mixed; of colours, all but black.",
            option="--mask",
            metavar="FILE",
            aliases=("--mask-image",),
        ),
    ] = None
    boxes: Annotated[
        tuple[str, ...],
        _mask("A box to repaint, in pixels or %; may be repeated.", option="--mask-box", metavar="X,Y,W,H"),
    ] = ()
    alpha: Annotated[bool, _mask("Repaint what is transparent.", option="--mask-alpha")] = False
    label: Annotated[
        Prompt,
        _mask(
            "Where the model sees this label. Its own likelihoods say so.",
            option="--mask-class",
            metavar="LABEL",
            variable=False,
        ),
    ] = None
    text: Annotated[
        str | None,
        _mask(
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
    invert: Annotated[bool, _mask("Repaint what the mask would keep.", option="--invert-mask")] = False
    grow: Annotated[
        int | None,
        _mask(
            "Widen the mask by so many pixels. Without it what is found to be painted is widened by half a token.",
            option="--mask-grow",
            minimum=0,
            maximum=100_000,
            metavar="N",
        ),
    ] = None
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
    label_name: str = ""
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
    def searched(self) -> tuple[tuple[str, Prompt], ...]:
        """What is to be found in the image: finders by name, and the label or the words that each searches for."""
        found: list[tuple[str, Prompt]] = [] if self.label is None else [(CLASS, self.label)]
        found += [] if self.text is None else [(TEXT, self.text.strip())]
        for search in self.searches:
            name, _, words = search.partition("=")
            found.append((name.strip(), words.strip()))
        return tuple(found)

    @property
    def unsearched(self) -> MaskRequest:
        """What can be read without searching, neither inverted nor grown."""
        return replace(self, label=None, text=None, searches=(), invert=False, grow=0)

    def having(self, weights: Any) -> MaskRequest:
        """The request once what can be read of it has been: `weights` (H, W), neither inverted nor grown."""
        return replace(self, path=None, boxes=(), alpha=False, image=None, weights=weights)
