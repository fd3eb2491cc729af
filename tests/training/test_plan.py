from dataclasses import replace

import pytest

from bigr_cli.data.look import DataLook
from bigr_cli.training import plan
from bigr_cli.training.config import RunConfig
from bigr_cli.training.size_names import SizeName
from bigr_cli.training.sizes import SIZES, levels_for, sees_enough, sizes_worth_trying, smaller, tokenizer_of
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models

PHOTOS = DataLook(300, side=320, largest=4000)


@pytest.mark.parametrize(
    ("side", "accelerated", "hours", "images", "expected"),
    [
        (28, False, 1, 60_000, 28),
        (30, False, 1, 60_000, 28),
        (50, False, 1, 500, 48),
        (64, False, 1, 500, 64),
        (320, False, 8, 300, 64),
        (320, True, 2, 300, 128),
        (320, True, 0.5, 300, 64),
        (320, True, 9, 20_000, 256),
    ],
)
def test_image_sizes(side: int, accelerated: bool, hours: float, images: int, expected: int) -> None:
    look = replace(PHOTOS, side=side, images=images)
    assert plan.image_size(look, accelerated=accelerated, time=hours * 3600) == expected


def test_sizes_follow_data_and_what_can_be_seen() -> None:
    assert sizes_worth_trying(300) == ["tiny", "nano"]
    assert sizes_worth_trying(5_000) == ["small", "tiny", "nano"]
    assert sizes_worth_trying(100_000)[0] == "base"
    assert sees_enough("nano", 0) and sees_enough("small", 150_000) and not sees_enough("base", 999_999)
    assert [smaller(name) for name in ("bigr-xxl", "bigr-l", "base", "nano")] == ["bigr-xl", "base", "small", None]


@pytest.mark.parametrize(
    ("side", "grid"), [(16, 8), (28, 7), (32, 8), (48, 6), (64, 8), (96, 12), (128, 16), (256, 16), (320, 20)]
)
def test_tokens_of_every_size(side: int, grid: int) -> None:
    assert side >> levels_for(side) == grid
    for name in SIZES:
        if side == 256 or not name.startswith("bigr"):
            assert tokenizer_of(name, side, 16).grid == grid


def test_few_photographs_begin_with_the_shipped_tokenizer() -> None:
    shipped = read_config(packaged_models() / "scenes-64").tokenizer
    small, tiny = (tokenizer_of(name, 64, 24) for name in ("small", "tiny"))
    assert small == shipped
    assert plan.shipped_start(small, shipped, 100_000) == small
    assert plan.shipped_start(tiny, shipped, 300) == shipped
    assert plan.shipped_start(tiny, shipped, 100_000) is None
    assert plan.shipped_start(tokenizer_of("tiny", 64, 16), shipped, 300) is None
    assert plan.shipped_start(tokenizer_of("tiny", 28, 16), shipped, 300) is None


def test_a_stage_fits_its_time() -> None:
    for seconds in (100.0, 1_000.0, 36_000.0):
        run = plan.in_time(RunConfig(), seconds, step=0.5, look=2.0)
        assert 0.85 * seconds <= plan.takes(run, step=0.5, look=2.0) <= seconds
        assert 4.9 <= run.steps / run.validate_every <= 20
        assert run.checkpoint_every <= max(1, run.validate_every) and run.log_every * 0.5 <= 10
    assert plan.in_time(RunConfig(), 10.0, step=5.0, look=2.0).steps < plan.FEWEST_STEPS


def test_runs_of_steps_are_the_same_everywhere() -> None:
    run = plan.in_steps(RunConfig(), 5_000)
    assert (run.steps, run.validate_every, run.checkpoint_every, run.log_every, run.ema) == (5_000, 500, 500, 20, 0.998)


def test_codes_are_made_for_as_many_passes_as_there_are() -> None:
    assert plan.variants(1_000, 2_500, endless=False) == 2
    assert plan.variants(1_000, 90_000, endless=False) == 8
    assert plan.variants(60_000, 50_000, endless=False) == plan.variants(10**9, 10**12, endless=True) == 0


def test_what_a_published_size_needs_is_more_than_small_machines_have() -> None:
    shape = SIZES["bigr-l"].generator.complete(grid=16, bits=24, classes=1)
    assert plan.generator_bytes(shape, 64, 1) > 40e9
    parts = plan.parts_that_fit(shape, RunConfig(batch=64), 1, 16 << 30)
    assert parts is not None and parts >= 8
    assert plan.parts_that_fit(shape, RunConfig(batch=64), 1, 4 << 30) is None


@pytest.mark.parametrize(("side", "crop", "reduced"), [(64, 1.0, False), (200, 0.8, False), (256, 0.8, True)])
def test_crops_of_large_images_are_cut_out_of_reduced_copies(side: int, crop: float, reduced: bool) -> None:
    data = plan.data_settings(replace(PHOTOS, side=side), "photos", 64, workers=1, seed=0)
    assert (data.crop, data.cache_reduced) == (crop, reduced)


def test_a_generator_that_sees_too_little_for_shapes_is_told_of() -> None:
    look = PHOTOS
    data = plan.data_settings(look, "photos", 64, workers=1, seed=0)
    first = plan.tokenizer_training("nano", look, data, 64, name="a", precision="float32", seed=0)
    second = plan.generator_training(
        "nano", look, data, "classes", tokenizer="a", name="b", precision="float32", seed=0
    )
    for steps, short in ((400, True), (1600, False)):
        planned = plan.Plan(
            first, replace(second, run=plan.in_steps(second.run, steps)), "nano", "classes", estimate=60
        )
        assert any("short: 6,400 samples" in line for line in planned.lines()) == short
        assert not any("short" in line for line in planned.lines("tokenizer"))


@pytest.mark.parametrize(("size", "order"), [("nano", "random"), ("base", "random"), ("bigr-l", "entropy")])
def test_small_models_sample_in_random_order(size: SizeName, order: str) -> None:
    data = plan.data_settings(PHOTOS, "photos", 64, workers=1, seed=0)
    planned = plan.generator_training(
        size, PHOTOS, data, "classes", tokenizer="a", name="b", precision="float32", seed=0
    )
    assert planned.sampling.order == order


@pytest.mark.parametrize(
    ("size", "classes", "guidance", "schedule", "paints_otherwise"),
    [
        ("nano", ("cat", "dog"), 4.0, "linear", True),
        ("nano", (), 1.0, "constant", False),
        ("bigr-l", ("cat", "dog"), 3.0, "constant", False),
    ],
)
def test_guidance_of_small_models_rises_while_images_are_sampled(
    size: SizeName, classes: tuple[str, ...], guidance: float, schedule: str, paints_otherwise: bool
) -> None:
    look = replace(PHOTOS, classes=classes)
    data = plan.data_settings(look, "photos", 64, workers=1, seed=0)
    planned = plan.generator_training(size, look, data, "classes", tokenizer="a", name="b", precision="float32", seed=0)
    assert (planned.sampling.guidance, planned.sampling.guidance_schedule) == (guidance, schedule)
    assert (planned.painting is not None) == paints_otherwise
    if planned.painting is not None:
        assert (planned.painting.guidance, planned.painting.guidance_schedule) == (3.0, "constant")
