"""Square windows in which a model of one size sees an image of any size.

A window is cut out of the image and scaled to the model's size; what it shows beyond the image's border is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]  # (H, W, 3) in [0, 1]
Where = NDArray[np.bool_]  # (H, W)

ZOOM = 2  # a window shows at most so many pixels of the image for each of the model's, along a side
_SMALLEST = 0.5  # and at least so many, unless the whole image is smaller
_WHOLE = 4  # or so many where an object is wanted whole: softer, it is one, and not one in each of several windows
_CONTEXT = 0.75  # a region that fills no more than this of a window leaves enough to see around it


@dataclass(frozen=True)
class Window:
    """The square of `side` pixels whose upper left corner is at (x, y), which may lie outside the image."""

    x: int
    y: int
    side: int

    def shifted(self, x: int, y: int) -> Window:
        """The window in an image that begins at (x, y) of this one."""
        return Window(self.x - x, self.y - y, self.side)

    def clipped(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of an image that it covers."""
        rows = slice(max(0, self.y), max(0, min(height, self.y + self.side)))
        return rows, slice(max(0, self.x), max(0, min(width, self.x + self.side)))

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of the window that lie in the image."""
        rows, columns = self.clipped(height, width)
        return (
            slice(rows.start - self.y, rows.stop - self.y),
            slice(columns.start - self.x, columns.stop - self.x),
        )


def extent(region: Where) -> int:
    """The longer side of the box around the largest connected part of a region, in pixels; 0 if there is none."""
    return max((max(w, h) for _, _, w, h in _parts(region)), default=0)


def _parts(region: Where) -> list[tuple[int, int, int, int]]:
    """The boxes (x, y, width, height) around a region's connected parts."""
    import cv2

    left, top, right, bottom = bounds(region)
    if left == right:
        return []
    within = region[top:bottom, left:right].astype(np.uint8)
    count, _, statistics, _ = cv2.connectedComponentsWithStats(within, connectivity=8)
    return [(x + left, y + top, w, h) for x, y, w, h, _ in statistics[1:count].tolist()]


def bounds(region: Where, margin: int = 0) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), half-open, of a region and a margin within the image; all 0 if there is none."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    height, width = region.shape
    top, bottom = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)
    return max(0, int(columns[0]) - margin), top, min(width, int(columns[-1]) + 1 + margin), bottom


def working_area(region: Where, windows: Sequence[Window]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of all that painting a region in these windows looks at, within the image."""
    height, width = region.shape
    boxes = [bounds(region, margin=1)]
    for window in windows:
        rows, columns = window.clipped(height, width)
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def window_side(extent: int, shape: tuple[int, int], size: int, *, filled: float | None = None) -> int:
    """How large a window should be, in pixels of the image.

    Twice the region, so that it has context, but from one to two of the image's pixels for each of the model's;
    an image whose shorter side is not larger than that is seen whole. Windows do not stick out of the image unless
    it is a thin strip.

    Args:
        extent: the longer side of the region to be painted.
        shape: (height, width) of the image.
        size: of the model's images.
        filled: the share of the window's side that the region shall take instead, as far as half to four of the
            image's pixels for each of the model's allow.
    """
    short, long = min(shape), max(shape)
    if filled is not None:
        side = min(max(round(extent / filled), int(_SMALLEST * size)), _WHOLE * size)
    else:
        side = min(max(2 * extent, size), ZOOM * size)
        if short <= ZOOM * size:
            side = max(side, short)
    return max(1, min(side, short), min(int(_SMALLEST * size), long))


def plan_windows(region: Where, side: int, step: float = 0.5) -> list[Window]:
    """Windows that together cover a region, in the order in which they are to be painted.

    A connected part that fits into one window, with context around it, gets one. Others get a grid of windows, each
    `step` of a window from the next; those come first that are nearest to what is known, so that each has something to
    go on from.
    """
    import cv2

    height, width = region.shape
    known = not region.all()
    x0, y0, x1, y1 = bounds(region, margin=1)
    away = cv2.distanceTransform(region[y0:y1, x0:x1].astype(np.uint8), cv2.DIST_L2, 3) if known and x1 else None

    def far(x: float, y: float, middle: tuple[float, float]) -> float:
        """How far a window's middle is from what is known, or, where nothing is, from the middle of the region."""
        if away is None:
            return math.hypot(x - middle[0], y - middle[1])
        row, column = min(height - 1, max(0, int(y))) - y0, min(width - 1, max(0, int(x))) - x0
        inside = 0 <= row < away.shape[0] and 0 <= column < away.shape[1]
        return float(away[row, column]) if inside else 0.0

    ranked = []
    for x, y, w, h in _parts(region):
        alone = max(w, h) <= side * (_CONTEXT if known else 1)
        across = [_centred(x, w, side, width)] if alone else _overlapping(x, w, side, width, step)
        down = [_centred(y, h, side, height)] if alone else _overlapping(y, h, side, height, step)
        for top in down:
            for left in across:
                distance = far(left + side / 2, top + side / 2, (x + w / 2, y + h / 2))
                ranked.append((round(distance / (step * side)), top, left))
    return [Window(left, top, side) for _, top, left in sorted(set(ranked))]


def _centred(start: int, extent: int, side: int, limit: int) -> int:
    """Where a window begins that has a region in its middle, as far as the image's border allows."""
    if side >= limit:
        return (limit - side) // 2
    return min(max(0, start + (extent - side) // 2), limit - side)


def _overlapping(start: int, extent: int, side: int, limit: int, step: float) -> list[int]:
    """Where windows begin that cover a region and most of a window before and behind it, `step` of one apart."""
    if side >= limit:
        return [(limit - side) // 2]
    seen = round((1 - step) * side)
    first = min(max(0, start - seen), limit - side)
    last = max(first, min(limit, start + extent + seen) - side)
    count = max(1, math.ceil((last - first) / (step * side)))
    return sorted({first + round(index * (last - first) / count) for index in range(count + 1)})


def cut(pixels: Pixels, window: Window, size: int, hidden: Where | None = None) -> Pixels:
    """What a window shows, scaled to (size, size, 3); beyond the image's border its outermost pixels go on.

    Hidden pixels (H, W) are replaced by the nearest that are not, because an encoder sees beyond each token's own
    pixels: what is to be repainted must not show in the codes beside it.
    """
    height, width = pixels.shape[:2]
    rows = np.clip(np.arange(window.y, window.y + window.side), 0, height - 1)
    columns = np.clip(np.arange(window.x, window.x + window.side), 0, width - 1)
    shown = pixels[rows[:, None], columns]
    return resized(shown if hidden is None else _covered(shown, hidden[rows[:, None], columns]), size, size)


def _covered(pixels: Pixels, hidden: Where) -> Pixels:
    """The image with its hidden pixels replaced by the nearest of the others; by grey if there are none."""
    import cv2

    if not hidden.any():
        return pixels
    if hidden.all():
        return np.full_like(pixels, 0.5)
    _, nearest = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(nearest.max()) + 1, pixels.shape[2]), dtype=pixels.dtype)
    colours[nearest[~hidden]] = pixels[~hidden]
    covered: Pixels = colours[nearest]
    return covered


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """The image at another size, by Lanczos; (H, W, 3) or (H, W)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    result: Pixels = np.clip(planes_resized(pixels, (width, height), Image.Resampling.LANCZOS), 0, 1)
    return result


def planes_resized(pixels: Pixels, size: tuple[int, int], method: Image.Resampling) -> Pixels:
    """Pixels (H, W, 3) or (H, W) at a size (width, height), each plane by itself; numbers outside 0 to 1 stay."""
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(np.atleast_3d(pixels), -1, 0)]
    stacked = np.stack([np.asarray(plane.resize(size, method)) for plane in planes], axis=-1)
    return stacked.reshape((size[1], size[0], *pixels.shape[2:]))


def touched_tokens(region: Where, window: Window, grid: int, *, beyond: bool = True, reach: float = 0) -> Where:
    """The tokens (grid, grid) of a window that have a pixel of the region, or, if `beyond`, one outside the image.

    `reach` counts those too that are nearer to the region than this share of a token's side, but not at the window's
    border, where something has to stay known.
    """
    touched = _overlapped(_shown(region, window, beyond=beyond), grid)
    if reach:
        touched[1:-1, 1:-1] |= _overlapped(_shown(region, window), grid, reach)[1:-1, 1:-1]
    return touched


def _shown(region: Where, window: Window, *, beyond: bool = False) -> Where:
    """A region as a window shows it, (side, side), and whether what lies beyond the image is of it."""
    shown = np.full((window.side, window.side), beyond)
    shown[window.inside(*region.shape)] = region[window.clipped(*region.shape)]
    return shown


def _overlapped(shown: Where, grid: int, reach: float = 0) -> Where:
    """The tokens (grid, grid) that have a pixel of what is shown (side, side), or that are near to one."""
    side = len(shown)
    token, pixel, near = np.arange(grid)[:, None], np.arange(side), reach * side
    overlaps = (pixel * grid < (token + 1) * side + near) & ((pixel + 1) * grid > token * side - near)
    counts = overlaps.astype(np.float32)
    return np.asarray(counts @ shown.astype(np.float32) @ counts.T > 0)


def surroundings(region: Where, window: Window, size: int, width: int) -> Where:
    """The pixels (size, size) of what a window shows that lie in the image within `width` of a region, not in it."""
    import cv2

    rows = (2 * np.arange(size) + 1) * window.side // (2 * size)
    inside, image = (_shown(part, window)[rows[:, None], rows] for part in (region, np.ones_like(region)))
    grown = cv2.dilate(inside.astype(np.uint8), np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8))
    return np.asarray((grown > 0) & ~inside & image)
