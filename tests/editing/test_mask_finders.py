"""Where an image shows a label: by the built-in model in scenes whose objects' masks are known."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import bigr_cli
from bigr_cli.data.scenes import LABELS
from bigr_cli.data.scenes.description import describe
from bigr_cli.data.scenes.render import render_with_mask
from bigr_cli.editing import mask_finders
from bigr_cli.editing.mask_finders import class_mask, found_mask, label_ratios, segmented, shown_ratios, working_size
from bigr_cli.editing.repaint import see_whole
from bigr_cli.editing.requests import Edit
from bigr_cli.errors import ConfigError
from bigr_cli.imaging.masks import grown
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import MaskRequest


@pytest.fixture(scope="module")
def model() -> Any:
    return bigr_cli.load("scenes-64", device="cpu")


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, NDArray[np.bool_], int]:
    """A scene, its object's mask and label."""
    index = 3 * 2**40 + 6
    image, mask = render_with_mask(describe(0, index), 64)
    return image, np.asarray(mask) >= 128, LABELS.index(describe(0, index).label)


def overlap(mask: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    found = mask > 0
    return float((found & truth).sum() / (found | truth).sum())


def test_the_object_is_found_in_images_of_any_shape(model: Any, scene: tuple[Any, Any, int]) -> None:
    image, truth, label = scene
    assert overlap(class_mask(model.network, Original(image), label), truth) > 0.6
    wide = Image.fromarray(np.pad(np.asarray(image), ((0, 0), (16, 16), (0, 0)), mode="edge"))
    found = class_mask(model.network, Original(wide), label)
    assert found.shape == (64, 96)
    assert overlap(found[:, 16:80], truth) > 0.6
    large = image.resize((1200, 1200), Image.Resampling.LANCZOS)
    found = class_mask(model.network, Original(large), label)
    assert found.shape == (1200, 1200) and set(np.unique(found)) == {0, 1}
    assert overlap(found, np.asarray(Image.fromarray(truth).resize((1200, 1200), Image.Resampling.NEAREST))) > 0.6


def test_what_is_found_to_be_painted_is_widened_unless_that_was_said(model: Any, scene: tuple[Any, Any, int]) -> None:
    image, _, label = scene
    original = Original(image)
    tight = class_mask(model.network, original, label)
    widest = max(np.ptp(np.argwhere(tight > 0), axis=0) + 1)
    wide = found_mask(model.network, MaskRequest(label=label), original, painted=True)
    half = math.ceil(round(widest / 0.6) / 16)  # of a token, of which a window has eight along a side
    assert half >= 2
    assert np.array_equal(wide, grown(tight, half))
    for request, painted in ((MaskRequest(label=label, grow=0), True), (MaskRequest(label=label), False)):
        assert np.array_equal(found_mask(model.network, request, original, painted=painted), tight)
    kept = found_mask(model.network, MaskRequest(label=label, invert=True), original, painted=True)
    assert np.array_equal(kept, 1 - tight)
    box = np.zeros_like(tight)
    box[:5, :5] = 1
    both = found_mask(model.network, MaskRequest(label=label, boxes=("0,0,5,5",)), original, painted=True)
    assert np.array_equal(both, np.maximum(wide, box))
    edit = model.request(Edit, label="house", mask_class=label)
    assert np.array_equal(edit.weights(model.network, original), wide)


def test_what_is_not_there_is_not_found(model: Any) -> None:
    plain = Original(Image.new("RGB", (64, 64), (90, 160, 220)))
    assert not class_mask(model.network, plain, LABELS.index("cat")).any()


def test_what_an_image_shows_is_guessed(
    model: Any, scene: tuple[Any, Any, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = see_whole(model.network, Original(scene[0]))
    guessed = shown_ratios(model.network, view)
    assert guessed is not None
    monkeypatch.setattr(mask_finders, "_OTHERS", 15)
    np.testing.assert_allclose(guessed, label_ratios(model.network, view, scene[2]), atol=1e-5)
    monkeypatch.setattr(mask_finders, "_MOST_GUESSED", 15)
    assert shown_ratios(model.network, view) is None


def test_two_texts_tell_apart_the_tokens_that_they_differ_in() -> None:
    texts = bigr_cli.load("scenes-64-text", device="cpu")
    scene = describe(0, 3 * 2**40 + 6)
    image, mask = render_with_mask(scene, 64)
    shown, other = scene.caption, replace(scene, color="blue" if scene.color != "blue" else "red").caption
    assert shown != other
    view = see_whole(texts.network, Original(image))
    ratios = label_ratios(texts.network, view, shown, other=other)
    covered = np.asarray(mask.resize((8, 8), Image.Resampling.BOX)) >= 128
    assert ratios[covered].mean() > 3 * max(0, ratios[~covered].mean())
    np.testing.assert_allclose(label_ratios(texts.network, view, shown, other=shown), 0, atol=1e-6)


def test_tokens_outside_of_the_image_say_nothing(model: Any, scene: tuple[Any, Any, int]) -> None:
    view = see_whole(model.network, Original(scene[0].resize((64, 24))))
    outside = view.outside.view(8, 8).numpy()
    assert outside.any()
    ratios = label_ratios(model.network, view, scene[2])
    assert ratios[outside].max() <= ratios[~outside].min()


def test_causal_attention_cannot_say(tiny_config: Any) -> None:
    from bigr_cli.core.architectures import CompactConfig
    from bigr_cli.core.model import BinaryModel

    tokenizer = CompactConfig(image_size=16, bits=4, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    network = BinaryModel(tokenizer, tiny_config(grid=4, attention="causal")).eval()
    with pytest.raises(ConfigError, match="causal"):
        class_mask(network, Original(Image.new("RGB", (16, 16))), 0)


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


def test_an_object_of_the_colours_of_its_background_is_where_the_scores_are_high() -> None:
    levels = np.random.default_rng(0).integers(80, 100, (64, 64, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :64] - 32
    scores = np.exp(-(x * x + y * y) / 200).astype(np.float32)
    assert not segmented(levels, scores).any()
    assert np.array_equal(segmented(levels, scores, least=0.2) > 0, scores > 0.5)


def test_the_size_that_is_worked_at() -> None:
    assert working_size(64, 48) == (64, 48)
    assert working_size(2048, 1024) == (512, 256)
    assert working_size(40000, 3) == (512, 1)
