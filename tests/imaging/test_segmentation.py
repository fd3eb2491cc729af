import numpy as np
import pytest

from bigr_cli.imaging.segmentation import segmented, working_size


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return x * x + y * y <= radius * radius


@pytest.mark.parametrize("size", [64, 700])
def test_a_rough_place_becomes_the_object_itself(size: int) -> None:
    truth = disc(size, size / 4)
    levels = np.where(truth[..., None], (220, 40, 30), (60, 150, 220)).astype(np.uint8)
    levels = np.clip(levels + np.random.default_rng(0).integers(-9, 10, levels.shape), 0, 255).astype(np.uint8)
    y, x = np.mgrid[: working_size(size, size)[1], : working_size(size, size)[0]] / working_size(size, size)[0] - 0.5
    scores = np.exp(-(x * x + (y - 0.06) ** 2) / 0.08).astype(np.float32)  # too wide, and not in the middle
    mask = segmented(levels, scores)
    assert mask.shape == truth.shape and mask.dtype == np.float32
    found = mask > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.95
    assert np.array_equal(segmented(levels, scores), mask)


@pytest.mark.parametrize(("value", "covered"), [(0.0, 0), (0.3, 0), (1.0, 1)])
def test_where_there_are_no_colours_to_learn_the_scores_decide(value: float, covered: int) -> None:
    levels = np.zeros((5, 9, 3), np.uint8)
    assert (segmented(levels, np.full((5, 9), value, np.float32)) == covered).all()


def test_the_size_that_is_worked_at() -> None:
    assert working_size(64, 48) == (64, 48)
    assert working_size(2048, 1024) == (512, 256)
    assert working_size(40000, 3) == (512, 1)
