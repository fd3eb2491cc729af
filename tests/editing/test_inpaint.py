from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.core.config import SamplingConfig
from bigr_cli.core.model import BinaryModel
from bigr_cli.editing.batched_sampling import paint_together
from bigr_cli.editing.inpaint import inpaint, joined
from bigr_cli.editing.repaint import guess_label, repaint, windows_for
from bigr_cli.editing.requests import Inpaint
from bigr_cli.errors import BigrError
from bigr_cli.imaging.blending import BLENDS
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import MaskRequest
from bigr_cli.zoo.folder import load_model

SAMPLING = SamplingConfig(steps=1, timesteps=2)
SEED = 5


@pytest.fixture(scope="module")
def network(tiny_model: Path) -> BinaryModel:
    return load_model(tiny_model)[0]


@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    boxes=st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=2),
    how=st.sampled_from(BLENDS),
    step=st.sampled_from([0.25, 0.5]),
    guess=st.booleans(),
    label=st.sampled_from([None, 1]),
)
def test_the_part_that_is_worked_on_gives_what_the_whole_image_gives(
    network: BinaryModel,
    size: tuple[int, int],
    boxes: list[tuple[float, float, float, float]],
    how: str,
    step: float,
    guess: bool,
    label: int | None,
) -> None:
    width, height = size
    levels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    original, mask = Original(Image.fromarray(levels)), np.zeros((height, width), np.float32)
    for x, y, w, h in boxes:
        left, top = int(x * (width - 1)), int(y * (height - 1))
        mask[top : top + 1 + int(h * h * height), left : left + 1 + int(w * w * width)] = 1
    request = Inpaint(mask=MaskRequest(weights=mask), label=label, blend=how, sampling=SAMPLING)  # type: ignore[arg-type]
    pixels, region = original.seen(), mask > 0

    def whole():  # type: ignore[no-untyped-def]
        wanted = guess_label(network, pixels, region, SEED, windows_for(network, region)) if guess else label
        close = label is not None and not guess
        windows = windows_for(network, region, step=step, close=close)
        asked = replace(request, label=wanted)
        made = yield from repaint(network, pixels, region, asked, SEED, windows=windows, whole=close)
        return joined(original, pixels, made, mask, how)  # type: ignore[arg-type]

    part = inpaint(network, original, mask, request, SEED, guess=guess, step=step)
    made = dict(paint_together(network, [("part", part), ("whole", whole())], batch_size=4))
    assert not any(isinstance(one, BigrError) for one in made.values())
    assert np.array_equal(np.asarray(made["part"].image), np.asarray(made["whole"]))


@pytest.mark.parametrize(
    ("options", "guess", "side"),
    [
        ({}, False, 16),
        ({"label": 1}, False, 12),
        ({"label": 1, "window": 16}, False, 16),
        ({}, True, 16),
    ],
)
def test_a_named_object_is_painted_from_close_by(
    network: BinaryModel, options: dict[str, int], guess: bool, side: int
) -> None:
    mask = np.zeros((16, 16), np.float32)
    mask[4:10, 5:10] = 1
    request = Inpaint(mask=MaskRequest(weights=mask), sampling=SAMPLING, **options)  # type: ignore[arg-type]
    original = Original(Image.new("RGB", (16, 16), "teal"))
    (wanted,) = next(inpaint(network, original, mask, request, SEED, guess=guess))
    assert wanted.box is not None and wanted.box[2] == side
