"""Paint put into an image so that its border does not show.

"poisson" shifts the colours of the paint so that they meet the image at the mask's border, and keeps what the paint
shows otherwise: its gradients (Pérez, Gangnet, Blake: Poisson image editing, 2003). The shift solves Laplace's equation
inside the mask, with the difference between image and paint just outside as its boundary values. OpenCV's
`seamlessClone` goes by the old image's gradients along the mask's inner edge, and so brings back an object that the
mask fits closely; here nothing under the mask is looked at.

Where an object of the paint ends at the mask's border, image and paint differ there by more than a seam does, and to
make the paint meet the image would wash the object out. If it is known that the mask hid an object whole, such
differences count less, and the largest not at all; else they may as well be those of an object outside that goes on.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Blend = Literal["poisson", "feather", "none"]
BLENDS: tuple[Blend, ...] = get_args(Blend)
FEATHER = 12  # pixels over which "feather" goes from the image to the paint

_DIRECT = 20_000  # pixels up to which a direct solver is faster than multigrid
_SEAM, _OBJECT = 0.15, 0.35  # difference up to which it is all a seam, and from which on it is all another object
_TOLERANCE = 1e-4  # of the multigrid solver's residual, relative to the start's
_NARROWING = 0.5  # how fast a narrow part of a mask gets a ramp of its own, in pixels of width per pixel

_ALL, _TAIL, _HEAD = slice(None), slice(1, None), slice(None, -1)
# For each of the four directions, all pixels that have a neighbour there, and those neighbours.
_NEIGHBOURS = (
    ((_TAIL, _ALL), (_HEAD, _ALL)),
    ((_HEAD, _ALL), (_TAIL, _ALL)),
    ((_ALL, _TAIL), (_ALL, _HEAD)),
    ((_ALL, _HEAD), (_ALL, _TAIL)),
)

Floats: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]


def blend(before: Floats, painted: Floats, mask: Floats, how: Blend, *, whole: bool = False) -> tuple[Floats, Floats]:
    """What to mix into an image, and with which weight: the result is before × (1 - weight) + colours × weight.

    Args:
        before: (H, W, 3), the image, in [0, 1]. What it shows under the mask plays no part.
        painted: (H, W, 3), the paint, in [0, 1]. "poisson" compares it with the image on the pixels next to the
            mask, so it has to be what was painted there too, not the image again.
        mask: (H, W) in [0, 1], 1 = paint only, between = a mixture.
        how: "poisson" shifts the paint's colours to meet the image at the border of mask > 0; "feather" lets the
            paint fade out towards that border, over `FEATHER` pixels or as many as a narrow part has room for;
            "none" takes the paint as it is. The image's own border is none to blend at.
        whole: no object of the image goes on under the mask, so that "poisson" leaves one of the paint its colours
            where it ends at the border.

    Returns:
        The colours (H, W, 3) in [0, 1], and the weight (H, W) in [0, 1], which is 0 wherever the mask is.

    Raises:
        ValueError: the shapes do not fit, or `how` is none of `BLENDS`.
    """
    if how not in BLENDS:
        raise ValueError(f"how: expected one of {', '.join(BLENDS)}, got {how!r}")
    if before.ndim != 3 or before.shape[2] != 3 or painted.shape != before.shape or mask.shape != before.shape[:2]:
        raise ValueError(
            "blend: expected image and paint (H, W, 3) and a mask (H, W), "
            f"got {before.shape}, {painted.shape} and {mask.shape}"
        )
    inside = mask > 0
    if not inside.any() or inside.all() or how == "none":
        return painted, mask
    rows, columns = _around(inside)
    part = inside[rows, columns]
    if how == "feather":
        weight = mask.copy()
        weight[rows, columns] *= _ramp(part)
        return painted, weight
    difference = before[rows, columns] - painted[rows, columns]
    shift = _membrane(_seams(difference, part) if whole else difference, part)
    colours = painted.copy()
    colours[rows, columns][part] = np.clip(painted[rows, columns][part] + shift[part], 0, 1)
    return colours, mask


def _around(inside: Bools) -> tuple[slice, slice]:
    """The smallest part of the image that shows the mask and the pixels next to it."""
    found = []
    for axis in (1, 0):
        places = np.flatnonzero(inside.any(axis=axis))
        found.append(slice(max(0, int(places[0]) - 1), int(places[-1]) + 2))
    return found[0], found[1]


def _seams(difference: Floats, inside: Bools) -> Floats:
    """The differences (H, W, 3) next to a mask without what objects that end there make of them.

    A seam is what they have in common, their median, if that is small. What differs from it by more than a seam does
    counts less, as Hampel's three-part function has it (Robust Statistics, 1986).
    """
    import cv2

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    beside = (cv2.dilate(inside.astype(np.uint8), cross) > 0) & ~inside
    common = np.clip(np.median(difference[beside], axis=0), -_SEAM, _SEAM)
    rest = difference - common
    size = np.abs(rest).max(axis=2, keepdims=True)
    kept = np.clip((_OBJECT - size) / (_OBJECT - _SEAM), 0, 1) * _SEAM / np.maximum(size, _SEAM)
    return np.asarray(common + rest * kept, np.float32)


def _membrane(difference: Floats, inside: Bools) -> Floats:
    """The smoothest field (H, W, 3) on `inside` (H, W) that equals `difference` (H, W, 3) on the pixels next to it.

    Each pixel is the mean of its neighbours. Where `inside` meets the edge of the array the field is free: its slope
    there is 0.
    """
    from scipy import sparse

    index = np.full(inside.shape, -1)
    count = int(inside.sum())
    index[inside] = np.arange(count)
    neighbours = np.zeros(inside.shape)
    sums = np.zeros(difference.shape)
    links = []
    for here, there in _NEIGHBOURS:
        neighbours[here] += 1
        sums[here] += difference[there] * ~inside[there][..., None]
        both = inside[here] & inside[there]
        links.append(np.stack([index[here][both], index[there][both]]))
    rows, columns = np.concatenate(links, axis=1)
    joined = sparse.csr_matrix((np.full(len(rows), -1.0), (rows, columns)), shape=(count, count))
    field: Floats = difference.copy()
    field[inside] = _solved(joined + sparse.diags(neighbours[inside]), sums[inside])
    return field


def _solved(matrix: Any, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a sparse symmetric system (N, N) for the columns of `right` (N, 3)."""
    if len(right) <= _DIRECT:
        from scipy.sparse.linalg import splu

        solution: NDArray[np.float64] = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(right)
        return solution
    import pyamg

    solver = pyamg.ruge_stuben_solver(matrix.tocsr())
    return np.stack([solver.solve(column, tol=_TOLERANCE, accel="cg") for column in right.T], axis=1)


def _ramp(inside: Bools) -> Floats:
    """1 in the middle of a mask (H, W), falling to its border over `FEATHER` pixels, over fewer where it is narrow."""
    import cv2

    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.minimum(distance, np.float32(FEATHER))
    # OpenCV's roots differ in the last bit from call to call, by where in memory they lie; their squares are whole.
    distance = np.sqrt(np.rint(np.square(distance)))
    width = distance
    for _ in range(math.ceil(FEATHER / _NARROWING)):
        wider = np.maximum(width, _neighbours_largest(width) - np.float32(_NARROWING))
        width = np.where(inside, wider, np.float32(0))
    ramp: Floats = np.divide(distance, width, out=np.zeros_like(distance), where=inside)
    return ramp


def _neighbours_largest(cells: Floats) -> Floats:
    """The largest of each cell's four neighbours (h, w), of those that there are."""
    padded = np.pad(cells, 1)
    largest: Floats = np.maximum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    return largest
