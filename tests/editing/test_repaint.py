from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import SamplingCoroutine, paint_together
from bigr_cli.editing.repaint import guess_label, repaint
from bigr_cli.editing.requests import Enrich
from bigr_cli.errors import BigrError
from bigr_cli.imaging.arrays import decode_pixels, encode_pixels
from bigr_cli.imaging.windows import Window, cut, surroundings
from bigr_cli.zoo.folder import load_model

Run = Callable[[SamplingCoroutine[Any]], Any]
REQUEST = Enrich(sampling=SamplingConfig(steps=2, timesteps=2))
SEED = 5


@pytest.fixture(scope="module")
def network(tiny_model: Path) -> BinaryModel:
    return load_model(tiny_model)[0]


@pytest.fixture
def run(network: BinaryModel) -> Run:
    def finish(coroutine: SamplingCoroutine[Any]) -> Any:
        ((_, result),) = paint_together(network, [(None, coroutine)], batch_size=4)
        if isinstance(result, BigrError):
            raise result
        return result

    return finish


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).random((height, width, 3), dtype=np.float32)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 70), width=st.integers(1, 70), data=st.data())
def test_every_pixel_of_the_region_is_painted_and_no_other(
    network: BinaryModel, run: Run, height: int, width: int, data: st.DataObject
) -> None:
    region = np.zeros((height, width), dtype=bool)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region[y : data.draw(st.integers(y + 1, height)), x : data.draw(st.integers(x + 1, width))] = True
    pixels = noise(height, width)
    before = pixels.copy()
    made = run(repaint(network, pixels, region, REQUEST, SEED)).pixels
    assert np.array_equal(pixels, before)
    far = ~_grown(region)
    assert np.array_equal(made[far], pixels[far])
    assert (made[region] != pixels[region]).any(axis=-1).mean() > 0.9
    assert np.isfinite(made).all()


def _grown(region: np.ndarray) -> np.ndarray:
    padded = np.pad(region, 1)
    height, width = region.shape
    return np.any([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def test_an_image_of_the_models_size_is_the_models_own_inpainting(network: BinaryModel, run: Run) -> None:
    pixels = noise(16, 16)
    region = np.zeros((16, 16), dtype=bool)
    region[5:9, 2:3] = True  # token rows 1 and 2, column 0
    codes = encode_pixels(network, cut(pixels, Window(0, 0, 16), 16, region))
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 0] = True
    drawn = network.sample_codes(
        torch.tensor([4]), [5], known=(codes[None], mask.view(1, 16)), steps=2, timesteps=2, guidance=0
    )[0]
    made = run(repaint(network, pixels, region, REQUEST, SEED)).pixels
    assert np.array_equal(made[region], decode_pixels(network, drawn)[region])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(2, 50), width=st.integers(2, 50), data=st.data())
def test_what_is_under_the_mask_plays_no_part(
    network: BinaryModel, run: Run, height: int, width: int, data: st.DataObject
) -> None:
    region = np.zeros((height, width), dtype=bool)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region[y : data.draw(st.integers(y + 1, height)), x : data.draw(st.integers(x + 1, width))] = True
    pixels = noise(height, width)
    other = np.where(region[..., None], 1 - pixels, pixels)
    how = {"step": data.draw(st.sampled_from([0.25, 0.5])), "whole": data.draw(st.booleans())}
    one, two = (run(repaint(network, shown, region, REQUEST, SEED, **how)).pixels for shown in (pixels, other))
    assert np.array_equal(one, two)
    assert guess_label(network, pixels, region, 5) == guess_label(network, other, region, 5)


def test_what_is_painted_follows_label_and_seed(network: BinaryModel, run: Run) -> None:
    pixels, region = noise(40, 30), np.ones((40, 30), dtype=bool)
    region[:10] = False
    one = run(repaint(network, pixels, region, REQUEST, SEED)).pixels
    assert np.array_equal(one, run(repaint(network, pixels, region, REQUEST, SEED)).pixels)
    labelled = replace(REQUEST, label=2)
    for other, seed in ((REQUEST, 6), (labelled, SEED), (replace(labelled, negative=1), SEED)):
        assert not np.array_equal(one, run(repaint(network, pixels, region, other, seed)).pixels)


@pytest.mark.parametrize(
    ("spilt", "kept"),
    [
        ([0.3, 0.0, 0.9], 1),  # good enough, so there is no third
        ([0.05, 0.0, 0.0], 0),
        ([0.9, 0.4, 0.6], 1),  # all are cut off, this one least
        ([0.5, 0.5, 0.5], 0),
    ],
)
def test_an_object_that_its_region_cuts_off_is_tried_again(
    network: BinaryModel, monkeypatch: pytest.MonkeyPatch, spilt: list[float], kept: int
) -> None:
    """Each try changes another share of what surrounds the region."""
    region = np.zeros((16, 16), dtype=bool)
    region[6:10, 6:10] = True
    beside = surroundings(region, Window(0, 0, 16), 16, 1)
    places = np.argwhere(beside)
    painted = []

    def decoded(_: BinaryModel, codes: torch.Tensor) -> np.ndarray:
        number = len(painted)
        pixels = np.full((16, 16, 3), 0.5, dtype=np.float32)
        if number:  # the first is what was known
            pixels[tuple(places[: round(spilt[number - 1] * len(places))].T)] = 0.9
            pixels[region] = number / 10
        painted.append(pixels)
        return pixels

    monkeypatch.setattr("bigr_cli.editing.repaint.decode_pixels", decoded)
    seeds = []
    painting = repaint(network, noise(16, 16), region, REQUEST, SEED, windows=[Window(0, 0, 16)], whole=True)
    try:
        (wanted,) = next(painting)
        while True:
            seeds.append(wanted.seed)
            (wanted,) = painting.send(wanted.codes[None])
    except StopIteration as end:
        assert np.allclose(end.value.pixels[region], (kept + 1) / 10)
    good = [index for index, share in enumerate(spilt) if share <= 0.1]
    assert len(seeds) == len(set(seeds)) == (good[0] + 1 if good else 3)


def test_tokens_beside_the_region_of_an_object_are_sampled_too(network: BinaryModel) -> None:
    region = np.zeros((16, 16), dtype=bool)
    region[5:7, 4:8] = True  # within the token of row 1 and column 1, whose neighbours are near but for those above
    counts = {}
    for whole in (False, True):
        (wanted,) = next(
            repaint(network, noise(16, 16), region, REQUEST, SEED, windows=[Window(0, 0, 16)], whole=whole)
        )
        counts[whole] = wanted.masked.view(4, 4).sum(dim=0).tolist()
    assert counts == {False: [0, 1, 0, 0], True: [0, 2, 2, 0]}


def test_the_score_is_that_of_the_painted_tokens(network: BinaryModel, run: Run) -> None:
    region = np.zeros((16, 16), dtype=bool)
    region[:8] = True
    scored = run(repaint(network, noise(16, 16), region, REQUEST, SEED, scored=True))
    assert -50 < scored.score < 0
    assert run(repaint(network, noise(16, 16), region, REQUEST, SEED)).score == 0


def test_nothing_to_paint(network: BinaryModel, run: Run) -> None:
    pixels = noise(20, 20)
    made = run(repaint(network, pixels, np.zeros((20, 20), dtype=bool), REQUEST, SEED))
    assert np.array_equal(made.pixels, pixels)


def test_a_label_is_guessed_from_what_is_seen(network: BinaryModel) -> None:
    region = np.zeros((16, 16), dtype=bool)
    region[4:8, 4:8] = True
    assert guess_label(network, noise(16, 16), region, 0) in range(4)
    assert guess_label(network, noise(16, 16), np.ones((16, 16), dtype=bool), 0) is None
    assert guess_label(network, noise(16, 16), np.zeros((16, 16), dtype=bool), 0) is None
