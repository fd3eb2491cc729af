"""The edges of an object whose place is known roughly, by the image's own colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FAR = 0.15  # of the highest score: below it there is no object for certain
_NEAR = 0.5  # and above it there probably is
_TURNS = 3
_LARGEST = 512  # pixels along a side of what is cut out; larger images are reduced
_FEWEST = 6  # pixels of which colours can be learnt


def working_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which an image is segmented."""
    part = min(1.0, _LARGEST / max(height, width))
    return max(1, round(width * part)), max(1, round(height * part))


def segmented(levels: NDArray[np.uint8], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mask (H, W), of 0 and 1, of an object in an image (H, W, 3), whose place is known roughly.

    It is GrabCut (Rother and others, 2004), OpenCV's: colours of object and background are learnt where the scores are
    high and low, and the border goes where neighbouring pixels differ.

    Args:
        levels: the image.
        scores: of the image's `working_size`, at most 1: the higher, the surer it is that the object is there.
    """
    import cv2

    size = scores.shape[1], scores.shape[0]
    seen = cv2.resize(np.ascontiguousarray(levels), size, interpolation=cv2.INTER_AREA)
    labels = np.full(scores.shape, cv2.GC_PR_BGD, np.uint8)
    labels[scores > _NEAR] = cv2.GC_PR_FGD
    labels[scores < _FAR] = cv2.GC_BGD
    object_pixels = int((labels == cv2.GC_PR_FGD).sum())
    if _FEWEST <= object_pixels <= labels.size - _FEWEST:
        cv2.setRNGSeed(0)  # its clustering begins at random
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(seen, labels, (0, 0, 1, 1), background, foreground, _TURNS, cv2.GC_INIT_WITH_MASK)
    mask = ((labels == cv2.GC_PR_FGD) | (labels == cv2.GC_FGD)).astype(np.float32)
    whole = cv2.resize(mask, levels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole >= 0.5, np.float32)
