"""Paths from label to label: what stays, what is sampled anew, and where keyframes are."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bigr_cli
from bigr_cli.core.config import SamplingConfig
from bigr_cli.editing.batched_sampling import SampleRequest, paint_together, sample_batch
from bigr_cli.editing.interpolate import positions, temporal_median
from bigr_cli.editing.requests import Interpolate
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model

SETTINGS = SamplingConfig(steps=4, timesteps=4, guidance=2.0)
SEED = 5
Frames = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return bigr_cli.load(tiny_model)


@pytest.fixture
def frames(model: Model) -> Frames:
    def made(labels: list[int], count: int, batch_size: int = 8, **options: object) -> list[np.ndarray]:
        maker = Interpolate(frames=count, sampling=SETTINGS, **options).paint(model.network, labels, SEED)
        ((_, images),) = paint_together(model.network, [(0, maker)], batch_size=batch_size)
        return [np.asarray(image) for image in images]

    return made


def alone(model: Model, label: int) -> np.ndarray:
    config = model.network.generator.config
    everything = torch.ones(config.tokens, dtype=torch.bool)
    nothing = torch.zeros(config.tokens, config.bits, dtype=torch.bool)
    codes = sample_batch(model.network, [SampleRequest(nothing, everything, SEED, SETTINGS, label=label)])
    return np.asarray(model.decode(codes)[0])


def test_the_first_frame_is_the_first_label_s_image(model: Model, frames: Frames) -> None:
    made = frames([0, 1], 4)
    assert np.array_equal(made[0], alone(model, 0))
    assert not np.array_equal(made[-1], made[0])


def test_at_full_strength_the_last_frame_is_the_last_label_s_image(model: Model, frames: Frames) -> None:
    made = frames([0, 1], 4, strength=1)
    assert np.array_equal(made[0], alone(model, 0)) and np.array_equal(made[-1], alone(model, 1))


def test_at_no_strength_nothing_changes(model: Model, frames: Frames) -> None:
    assert all(np.array_equal(frame, alone(model, 0)) for frame in frames([0, 1, 2], 5, strength=0))


def test_a_label_that_comes_again_is_the_same_image(model: Model, frames: Frames) -> None:
    assert all(np.array_equal(frame, alone(model, 0)) for frame in frames([0, 0], 3))
    there, goal, back = frames([0, 1, 0], 3)
    assert np.array_equal(there, back) and not np.array_equal(there, goal)


def test_stops_are_the_same_on_any_way(frames: Frames) -> None:
    """In a loop of three stops, the stops are those of the way there, and of any number of frames."""
    short, long, loop = frames([0, 1, 2], 3), frames([0, 1, 2], 9), frames([0, 1, 2], 6, loop=True)
    for one, other, third in zip(short, long[::4], loop[::2], strict=True):
        assert np.array_equal(one, other) and np.array_equal(one, third)


def test_any_number_at_once_gives_the_same(frames: Frames) -> None:
    for one, other in zip(frames([0, 1], 6, batch_size=1), frames([0, 1], 6, batch_size=16), strict=True):
        assert np.array_equal(one, other)


def test_ever_more_is_drawn_anew(model: Model) -> None:
    """Each frame's tokens hold those of the frame before, all of them among those in which the stops differ."""
    maker = Interpolate(frames=9, strength=0.5, sampling=SETTINGS).paint(model.network, [0, 1], SEED)
    first = sample_batch(model.network, next(maker))
    last_asks = maker.send(first)
    last = sample_batch(model.network, last_asks)
    asks = maker.send(last)
    masks = [ask.masked for ask in asks]
    differ = (first[0] ^ last[0]).any(dim=1)
    assert all(not bool((one & ~other).any()) for one, other in pairwise(masks))
    assert not bool((masks[-1] & ~differ).any()) and not bool((differ & ~last_asks[0].masked).any())
    assert [round(ask.ratio, 3) for ask in asks] == [k / 8 for k in range(8 - len(asks), 8)]
    assert all(ask.seed == SEED and torch.equal(ask.codes, first[0]) for ask in asks)


@pytest.mark.parametrize(("stops", "count"), [(1, 3), (2, 1)])
def test_too_few(stops: int, count: int) -> None:
    with pytest.raises(ValueError, match="at least two"):
        positions(stops, count)


def test_between_images_nothing_flickers(model: Model) -> None:
    """What is drawn for one frame alone, and for neither of its neighbours, is not shown."""
    images = [Original(Image.new("RGB", (16, 16), color)) for color in ("red", "green")]

    def shown(flickers: bool) -> list[np.ndarray]:
        maker = Interpolate(frames=7, sampling=SETTINGS).paint(model.network, images, SEED)
        codes = [torch.zeros_like(ask.codes) for ask in next(maker)]
        if flickers:
            codes[len(codes) // 2] = torch.ones_like(codes[0])
        with pytest.raises(StopIteration) as ended:
            maker.send(codes)
        return [np.asarray(image) for image in ended.value.value]

    steady, flickering = shown(False), shown(True)
    assert len(steady) == len(flickering) == 7
    assert all(np.array_equal(one, other) for one, other in zip(steady, flickering, strict=True))


def bits_of(text: str) -> torch.Tensor:
    return torch.tensor([letter == "1" for letter in text])[:, None, None]


def median(text: str, fixed: str = "", *, loop: bool = False) -> str:
    held = torch.tensor([letter == "x" for letter in fixed.ljust(len(text), ".")])
    return "".join(str(int(bit)) for bit in temporal_median(bits_of(text), held, loop=loop).flatten())


def test_the_temporal_median_by_hand() -> None:
    assert median("0001000") == "0000000"
    assert median("0011000") == "0011000"
    assert median("0010111") == "0001111"
    assert median("0100", "x..x") == "0000"
    assert median("0010", "..x.") == "0010"
    assert median("1000") == "1000"  # an end is as steady as it can be
    assert median("1000", loop=True) == "0000"
    assert median("10", "xx") == "10"


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.data(), st.booleans())
def test_nothing_flickers_and_stops_stay(bits: list[bool], data: st.DataObject, loop: bool) -> None:
    held = data.draw(st.lists(st.booleans(), min_size=len(bits), max_size=len(bits)))
    text, fixed = "".join("01"[bit] for bit in bits), "".join(".x"[each] for each in held)
    found = median(text, fixed, loop=loop)
    assert all(a == b for a, b, still in zip(text, found, held, strict=True) if still)
    assert median(found, fixed, loop=loop) == found or loop or len(bits) < 3
    inner = range(1, len(found) - 1)
    assert not any(found[i - 1] == found[i + 1] != found[i] for i in inner if not held[i]) or loop
