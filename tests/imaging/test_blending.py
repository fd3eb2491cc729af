import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.imaging.blending import BLENDS, FEATHER, Blend, blend


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([0.3 + 0.3 * x, 0.5 - 0.2 * y, 0.4 + 0.1 * x * y], axis=-1).astype(np.float32)


def box(height: int, width: int, *, inside: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.float32)
    mask[inside] = 1
    return mask


def result(before: np.ndarray, painted: np.ndarray, mask: np.ndarray, how: Blend) -> np.ndarray:
    colours, weight = blend(before, painted, mask, how)
    return before * (1 - weight[..., None]) + colours * weight[..., None]


@given(height=st.integers(1, 40), width=st.integers(1, 40), how=st.sampled_from(BLENDS), data=st.data())
def test_nothing_is_mixed_in_outside_the_mask(height: int, width: int, how: Blend, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    mask = np.where(rng.random((height, width)) < data.draw(st.floats(0, 1)), rng.random((height, width)), 0)
    before, painted = rng.random((2, height, width, 3), dtype=np.float32)
    colours, weight = blend(before, painted, mask.astype(np.float32), how)
    assert not weight[mask == 0].any()
    assert np.isfinite(colours).all()
    assert 0 <= colours.min() <= colours.max() <= 1
    assert 0 <= weight.min() <= weight.max() <= 1


@pytest.mark.parametrize(
    "inside", [np.s_[10:30, 12:33], np.s_[0:20, 5:30], np.s_[:, 20:], np.s_[3:4, 7:8], np.s_[5:6, :]]
)
def test_paint_of_another_shade_comes_back_in_the_images(inside: tuple[slice, slice]) -> None:
    before = smooth(50, 60)
    mask = box(50, 60, inside=inside)
    assert np.allclose(result(before, before + np.float32(0.1), mask, "poisson"), before, atol=1e-4)


def test_the_paints_own_structure_stays() -> None:
    before = smooth(50, 60)
    stripes = 0.05 * np.sin(np.arange(60))[None, :, None].astype(np.float32)
    mask = box(50, 60, inside=np.s_[10:40, 10:50])
    made = result(before, before + stripes + np.float32(0.2), mask, "poisson")
    middle = np.s_[20:30, 20:40]
    assert np.abs(np.diff(made - before - stripes, axis=1)[middle]).max() < 0.01


@pytest.mark.parametrize("shade", [0.0, 0.1, -0.1])
def test_an_object_that_ends_at_the_border_keeps_its_colours(shade: float) -> None:
    """A third of the border is the object's; the paint around it is of another shade, which is put right."""
    before = smooth(50, 60)
    mask = box(50, 60, inside=np.s_[10:40, 10:50])
    painted = before + np.float32(shade)
    painted[5:30, 20:45] = (0.9, 0.05, 0.1)
    colours, _ = blend(before, painted, mask, "poisson", whole=True)
    made = np.where(mask[..., None] > 0, colours, before)
    assert np.abs(made[12:28, 22:43] - painted[12:28, 22:43]).max() < abs(shade) + 0.05
    assert np.abs(made[36:40, 11:49] - before[36:40, 11:49]).max() < 0.05
    washed = result(before, painted, mask, "poisson")  # as of an object outside that may go on under the mask
    assert np.abs(washed[12:28, 22:43] - painted[12:28, 22:43]).max() > 0.2


def test_what_was_under_the_mask_plays_no_part() -> None:
    before = smooth(40, 40)
    mask = box(40, 40, inside=np.s_[10:30, 10:30])
    painted = smooth(40, 40) * np.float32(0.8)
    other = before.copy()
    other[10:30, 10:30] = 1
    one, two = (blend(each, painted, mask, "poisson")[0] for each in (before, other))
    assert np.array_equal(one[mask > 0], two[mask > 0])


def test_large_regions_go_another_way_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    before, mask = smooth(60, 70), box(60, 70, inside=np.s_[5:55, 5:70])
    painted = np.random.default_rng(0).random((60, 70, 3), dtype=np.float32) * np.float32(0.2) + np.float32(0.4)
    direct = blend(before, painted, mask, "poisson")[0]
    monkeypatch.setattr("bigr_cli.imaging.blending._DIRECT", 10)
    assert np.allclose(blend(before, painted, mask, "poisson")[0], direct, atol=2e-3)


def test_feathered_paint_fades_out_towards_the_mask_alone() -> None:
    before, painted = np.zeros((2, 60, 60, 3), dtype=np.float32)
    mask = box(60, 60, inside=np.s_[:40, 10:50])
    _, weight = blend(before, painted, mask, "feather")
    assert weight[0, 30] == 1  # the image's own border is none
    assert 0 < weight[39, 30] <= 2 / FEATHER
    assert (np.diff(weight[20, 10:30]) >= 0).all()


@pytest.mark.parametrize("how", BLENDS)
def test_it_is_the_same_each_time(how: Blend, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, wherever in memory the arrays lie."""
    monkeypatch.setattr("bigr_cli.imaging.blending._DIRECT", 2000)
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(5, 90, 2)
        before, painted = rng.random((2, height, width, 3), dtype=np.float32)
        mask = (rng.random((height, width)) > 0.02).astype(np.float32)  # holes, for distances that are no whole numbers
        found = []
        for _ in range(3):
            between = np.empty(rng.integers(1, 10_000), dtype=np.uint8)  # moves what is allocated next
            found.append(blend(before.copy(), painted.copy(), mask.copy(), how))
            del between
        assert all(
            np.array_equal(one, other) for again in found[1:] for one, other in zip(found[0], again, strict=True)
        )


def test_thin_masks_are_painted_all_the_same() -> None:
    before, painted = np.zeros((2, 30, 30, 3), dtype=np.float32)
    _, weight = blend(before, painted, box(30, 30, inside=np.s_[10:13, :]), "feather")
    assert weight[11, 15] == 1


def test_a_full_mask_takes_the_paint_as_it_is() -> None:
    before, painted = np.random.default_rng(0).random((2, 9, 9, 3), dtype=np.float32)
    for how in BLENDS:
        colours, weight = blend(before, painted, np.ones((9, 9), dtype=np.float32), how)
        assert np.array_equal(colours, painted)
        assert (weight == 1).all()


def test_wrong_arguments() -> None:
    make_image, mask = np.zeros((5, 6, 3), dtype=np.float32), np.zeros((5, 6), dtype=np.float32)
    with pytest.raises(ValueError, match="expected one of"):
        blend(make_image, make_image, mask, "magic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got"):
        blend(make_image, make_image, mask[:4], "none")
