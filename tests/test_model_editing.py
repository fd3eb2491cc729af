"""The zero-shot tasks from Python: PIL in, PIL out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import bigr_cli
from bigr_cli.data.images import read_image
from bigr_cli.errors import ImageError, UnknownNameError, UsageError
from bigr_cli.imaging.files import default_suffix, encode_image
from bigr_cli.model import Model

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return bigr_cli.load(tiny_model)


def original(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    if mode in ("I;16", "I", "F"):
        levels = rng.integers(0, 65536, (height, width))
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(levels.astype(kind))
    if mode == "LAB":
        return Image.frombytes("LAB", (width, height), rng.bytes(width * height * 3))
    source = "RGBA" if mode in ("LA", "RGBA") else "RGB"
    return Image.frombytes(source, (width, height), rng.bytes(width * height * len(source))).convert(mode)


def array(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    return values if values.ndim == 3 else values[..., None]


@st.composite
def masks(draw: st.DrawFn, width: int, height: int) -> np.ndarray:
    """Up to three boxes, hard or soft, which may touch the borders; small ones in large images."""
    mask = np.zeros((height, width), dtype=np.float32)
    for _ in range(draw(st.integers(0, 3))):
        w, h = draw(st.integers(1, min(width, 60))), draw(st.integers(1, min(height, 60)))
        x, y = draw(st.integers(0, width - w)), draw(st.integers(0, height - h))
        mask[y : y + h, x : x + w] = draw(st.sampled_from([1.0, 0.5, 0.01]))
    return mask


def check_outside(model: Model, width: int, height: int, mode: str, data: st.DataObject) -> None:
    """An image is repainted, saved and read: outside the mask it is what it was."""
    mask = data.draw(masks(width, height))
    before = original(width, height, mode)
    if mode in ("RGB", "RGBA"):
        before.info["icc_profile"] = PROFILE
    blend = data.draw(st.sampled_from(["poisson", "feather", "none"]))
    options: dict[str, Any] = {"seed": 1, "steps": 1, "timesteps": 1, "blend": blend}
    (made,) = model.inpaint(before, mask, **options)
    (again,) = model.inpaint(before, mask, **options)
    assert made.tobytes() == again.tobytes()
    kind = "PNG" if default_suffix(mode) == ".png" else "TIFF"
    after = read_image(encode_image(made, kind)).image
    assert (after.mode, after.size) == (before.mode, before.size)
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert np.array_equal(array(after)[mask == 0], array(before)[mask == 0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(1, 90), height=st.integers(1, 90), mode=st.sampled_from(MODES), data=st.data())
def test_outside_the_mask_every_bit_stays(
    model: Model, width: int, height: int, mode: str, data: st.DataObject
) -> None:
    check_outside(model, width, height, mode, data)


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(width=st.integers(1, 2000), height=st.integers(1, 1500), mode=st.sampled_from(MODES), data=st.data())
def test_outside_the_mask_every_bit_stays_in_large_images(
    model: Model, width: int, height: int, mode: str, data: st.DataObject
) -> None:
    check_outside(model, width, height, mode, data)


def test_variants(model: Model) -> None:
    mask = Image.new("L", (40, 30))
    mask.paste(255, (5, 5, 20, 20))
    three = model.inpaint(original(40, 30), mask, label="cat", count=3, seed=4)
    assert len({image.tobytes() for image in three}) == 3
    (alone,) = model.inpaint(original(40, 30), mask, label="cat", seed=5)
    assert alone.tobytes() == three[1].tobytes()
    (batched,) = model.inpaint(original(40, 30), mask, label="cat", seed=5, batch_size=1)
    assert batched.tobytes() == alone.tobytes()


def test_a_mask_may_be_a_image_or_an_array(model: Model) -> None:
    mask = np.zeros((30, 40), dtype=bool)
    mask[3:9, 4:30] = True
    (one,) = model.inpaint(original(40, 30), mask, seed=1)
    (two,) = model.inpaint(original(40, 30), Image.fromarray(mask), seed=1)
    assert one.tobytes() == two.tobytes()
    with pytest.raises(ImageError, match=r"expected \(30, 40\)"):
        model.inpaint(original(40, 30), mask.T)


def test_outpaint_edit_enrich_interpolate(model: Model) -> None:
    before = original(20, 16)
    (wide,) = model.outpaint(before, left=5, bottom=3, seed=1)
    assert wide.size == (25, 19)
    assert wide.crop((5, 0, 25, 16)).tobytes() == before.tobytes()
    (edited,) = model.edit(before, "dog", strength=0.5, seed=1)
    assert edited.size == before.size
    (large,) = model.enrich(before, scale=2, seed=1)
    assert large.size == (40, 32)
    frames = model.interpolate(["cat", "dog"], frames=3, seed=1)
    assert [frame.size for frame in frames] == [(16, 16)] * 3
    between = model.interpolate([before, wide], frames=4, seed=1)
    assert len(between) == 4


def test_best_of_is_at_least_as_likely(model: Model) -> None:
    mask = np.ones((16, 16))
    mask[:8] = 0
    (best,) = model.inpaint(original(16, 16), mask, seed=2, best_of=4)
    (first,) = model.inpaint(original(16, 16), mask, seed=2)
    assert best.size == first.size


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m, p: m.inpaint(p, np.ones((16, 16)), label="horse"), UnknownNameError),
        (lambda m, p: m.inpaint(p, np.ones((16, 16)), steps=0), UsageError),
        (lambda m, p: m.inpaint(p, np.ones((16, 16)), count=0), UsageError),
        (lambda m, p: m.inpaint(p, np.ones((16, 16)), batch_size=0), UsageError),
        (lambda m, p: m.outpaint(p), UsageError),
        (lambda m, p: m.outpaint(p, left=-1), UsageError),
        (lambda m, p: m.edit(p, "cat", strength=2), UsageError),
        (lambda m, p: m.enrich(p, rate=1, groups=3), UsageError),
        (lambda m, p: m.interpolate(["cat"]), UsageError),
        (lambda m, p: m.interpolate(["cat", p]), UsageError),
        (lambda m, p: m.interpolate(["cat", "dog"], strength=-0.1), UsageError),
    ],
)
def test_wrong_arguments(model: Model, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(model, original(16, 16))


def test_images_from_memory_have_no_file(model: Model) -> None:
    buffer = io.BytesIO()
    original(16, 16).save(buffer, "PNG")
    with Image.open(buffer) as opened:
        (made,) = model.inpaint(opened, np.ones((16, 16)), seed=1)
    assert made.size == (16, 16)
