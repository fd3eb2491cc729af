"""The built-in data set: its scenes, its images, and the files that it is written as."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.data.scenes import (
    COLORS,
    GROUNDS,
    LABELS,
    TIMES,
    Scene,
    box,
    describe,
    render,
    render_with_mask,
    scene,
    write_scenes,
)
from bigr_cli.data.scenes.description import PROPORTIONS
from bigr_cli.data.scenes.render import drawing
from bigr_cli.errors import UsageError

NUMBERS = st.integers(min_value=0, max_value=2**63)
IN_WORDS = {
    "grass": "on grass", "sand": "on sand", "snow": "on snow", "sea": "on the sea",
    "day": "by day", "sunset": "at sunset", "night": "at night",
}  # fmt: skip

PINNED = [
    "a red house on grass by day",
    "a pink tree on the sea at night",
    "a yellow house on the sea by day",
    "a blue house on snow by day",
]
PINNED_SIZE = 0.3850806302529084


@cache
def known(index: int) -> Scene:
    """Scene `index` of seed 0."""
    return describe(0, index)


def first(**wanted: str) -> Scene:
    """The first scene of seed 0 with these properties."""
    return next(s for s in map(known, range(100_000)) if all(getattr(s, k) == v for k, v in wanted.items()))


# What a scene holds


@given(seed=NUMBERS, index=NUMBERS)
def test_description_is_a_pure_function(seed: int, index: int) -> None:
    described = describe(seed, index)
    assert described == describe(seed, index)
    assert (described.seed, described.index) == (seed, index)
    assert described.label == LABELS[index % 16]
    assert described.color in COLORS
    assert described.ground in GROUNDS
    assert described.time in TIMES


@given(seed=NUMBERS, index=NUMBERS)
def test_caption_names_what_is_shown(seed: int, index: int) -> None:
    s = describe(seed, index)
    article = "an" if s.color == "orange" else "a"
    assert s.caption == f"{article} {s.color} {s.label} {IN_WORDS[s.ground]} {IN_WORDS[s.time]}"


def test_random_numbers_stay_the_same_for_ever() -> None:
    """Models are trained on these scenes: another NumPy or another platform must not change them."""
    captions = [describe(seed, index).caption for seed, index in ((0, 0), (0, 1), (1, 0), (2**63, 2**63))]
    assert captions == PINNED
    assert describe(7, 123).size == pytest.approx(PINNED_SIZE, abs=1e-12)


def test_any_run_of_sixteen_is_balanced() -> None:
    for start in (0, 5, 1000):
        assert Counter(describe(3, i).label for i in range(start, start + 16)) == Counter(LABELS)


def test_properties_are_spread_evenly_and_apart_from_each_other() -> None:
    scenes = [describe(11, i) for i in range(4800)]
    for name, values in (("color", COLORS), ("ground", GROUNDS), ("time", TIMES)):
        counts = Counter(getattr(s, name) for s in scenes)
        assert all(abs(counts[v] / len(scenes) - 1 / len(values)) < 0.03 for v in values), (name, counts)
    kinds = Counter((s.color, s.ground, s.time) for s in scenes)
    assert len(kinds) == len(COLORS) * len(GROUNDS) * len(TIMES)
    assert len({(s.x, s.y, s.size) for s in scenes}) == len(scenes)


def test_neighbouring_seeds_and_indices_differ() -> None:
    scenes = [describe(seed, 16 * index) for seed in range(20) for index in range(20)]
    assert len({(s.x, s.horizon) for s in scenes}) == 400


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1), (2**63 + 1, 0), (0, 2**63 + 1)])
def test_numbers_out_of_range_are_refused(seed: int, index: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.2\*\*63"):
        describe(seed, index)


# What it looks like


@given(seed=NUMBERS, index=NUMBERS)
def test_object_lies_wholly_inside_the_image(seed: int, index: int) -> None:
    image, mask = render_with_mask(describe(seed, index), 64)
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert (mask.mode, mask.size) == ("L", (64, 64))
    x0, y0, x1, y1 = box(mask)
    assert 0 < x0 < x1 < 64
    assert 0 < y0 < y1 < 64
    assert 20 <= max(x1 - x0, y1 - y0) <= 40
    covered = np.asarray(mask)
    edge = np.concatenate([covered[0], covered[-1], covered[:, 0], covered[:, -1]])
    assert not edge.any()


@pytest.mark.parametrize("flying", [False, True])
@pytest.mark.parametrize("label", LABELS)
def test_drawing_keeps_to_the_objects_proportions(label: str, flying: bool) -> None:
    width, height = PROPORTIONS[label]
    points = [p for points, _ in drawing(label, "red", "day", flying).polygons for p in points]
    assert all(abs(x) <= width / 2 + 0.012 and -0.012 <= y <= height + 0.012 for x, y in points)


def test_image_is_the_same_each_time() -> None:
    for index in range(16):
        assert render(describe(4, index), 64).tobytes() == render(describe(4, index), 64).tobytes()


def test_mask_does_not_change_the_image() -> None:
    for index in range(16):
        described = describe(5, index)
        assert render_with_mask(described, 48)[0].tobytes() == render(described, 48).tobytes()


def test_scene_is_describe_and_render() -> None:
    image, described = scene(6, 7, 32)
    assert described == describe(6, 7)
    assert image.tobytes() == render(described, 32).tobytes()


def test_size_changes_the_resolution_only() -> None:
    for index in range(16):
        described = describe(8, index)
        small = np.asarray(render(described, 64), dtype=np.float64)
        large = np.asarray(render(described, 256).reduce(4), dtype=np.float64)
        assert np.abs(small - large).mean() < 3.0
        boxes = [np.array(box(render_with_mask(described, size)[1])) / size for size in (64, 256)]
        assert np.abs(boxes[0] - boxes[1]).max() <= 1.5 / 64


@pytest.mark.parametrize("size", [16, 17, 47, 100, 1024])
def test_any_size_can_be_drawn(size: int) -> None:
    image, mask = render_with_mask(describe(0, 3), size)
    assert image.size == mask.size == (size, size)


@pytest.mark.parametrize("size", [0, 15, 1025])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"16\.\.1024"):
        render(describe(0, 0), size)
    with pytest.raises(ValueError, match=r"16\.\.1024"):
        render_with_mask(describe(0, 0), size)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("time", TIMES)
def test_colors_are_distinct(label: str, time: str) -> None:
    """The mean colours of the object's pixels lie apart, whatever the class and the time of the day."""
    means = {}
    for color in COLORS:
        image, mask = render_with_mask(first(label=label, time=time, color=color), 64)
        means[color] = np.asarray(image)[np.asarray(mask) >= 128].mean(axis=0)
    apart = [np.linalg.norm(means[a] - means[b]) for a in COLORS for b in COLORS if a < b]
    assert min(apart) > 14, means


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_object_stands_out_from_its_surroundings(color: str, ground: str) -> None:
    """The outline and what lies next to it differ, at every time of the day."""
    for time in TIMES:
        described = first(color=color, ground=ground, time=time)
        image, mask = render_with_mask(described, 256)
        inside = Image.fromarray((np.asarray(mask) == 255).astype(np.uint8))
        pixels, covered = np.asarray(image, dtype=np.float64), np.asarray(inside).astype(bool)
        # Two pixels within the rim and three pixels beyond it, on each row, where the object begins.
        steps = []
        for row in np.flatnonzero(covered.any(axis=1)):
            left = int(np.flatnonzero(covered[row])[0])
            steps.append(np.linalg.norm(pixels[row, left + 1] - pixels[row, left - 3]))
        assert np.median(steps) > 50, (time, np.median(steps))


def test_box_is_half_open_and_falls_back_to_faint_pixels() -> None:
    mask = np.zeros((10, 12), dtype=np.uint8)
    mask[2:5, 3:9] = 128
    mask[1, 1] = 127
    assert box(Image.fromarray(mask)) == (3, 2, 9, 5)
    assert box(Image.fromarray(np.minimum(mask, 127))) == (1, 1, 9, 5)
    with pytest.raises(ValueError, match="empty"):
        box(Image.fromarray(np.zeros((4, 4), dtype=np.uint8)))


# The files


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_written_files_and_captions(tmp_path: Path) -> None:
    done: list[int] = []
    captions = write_scenes(tmp_path / "new" / "set", count=70, size=32, seed=9, start=5, progress=done.append)
    assert captions == tmp_path / "new" / "set" / "captions.jsonl"
    assert sum(done) == 70
    records = [json.loads(line) for line in captions.read_text().splitlines()]
    assert len(records) == 70
    for index, record in enumerate(records, start=5):
        described = describe(9, index)
        assert record == {
            "file": f"{described.label}/{index:06d}.png",
            "caption": described.caption,
            "label": described.label,
            "color": described.color,
            "ground": described.ground,
            "time": described.time,
            "box": list(box(render_with_mask(described, 32)[1])),
        }
        with Image.open(captions.parent / record["file"]) as image:
            assert image.convert("RGB").tobytes() == render(described, 32).tobytes()
    assert len(contents(captions.parent)) == 71


def test_files_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    write_scenes(tmp_path / "one", count=130, size=16, seed=1, workers=1)
    write_scenes(tmp_path / "two", count=130, size=16, seed=1, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_existing_captions_are_not_overwritten(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=3, size=16, seed=1)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"captions\.jsonl"):
        write_scenes(tmp_path, count=3, size=16, seed=2, start=100)
    assert contents(tmp_path) == before


def test_existing_images_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "boat").mkdir()
    (tmp_path / "boat" / "000002.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"000002\.png"):
        write_scenes(tmp_path, count=3, size=16, seed=2)
    assert contents(tmp_path) == {"boat/000002.png": b"mine"}


def test_overwrite_replaces_its_own_files_only(tmp_path: Path) -> None:
    write_scenes(tmp_path / "a", count=3, size=16, seed=1)
    (tmp_path / "a" / "notes.txt").write_text("mine")
    write_scenes(tmp_path / "a", count=3, size=16, seed=2, overwrite=True)
    write_scenes(tmp_path / "b", count=3, size=16, seed=2)
    assert contents(tmp_path / "a") == {**contents(tmp_path / "b"), "notes.txt": b"mine"}


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_run_leaves_whole_images_only(tmp_path: Path, workers: int) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, count=320, size=16, seed=1, workers=workers, progress=interrupt)
    left = contents(tmp_path)
    assert left
    assert all(name.endswith(".png") for name in left)
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_failing_save_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Image.Image, path: Path, format: str) -> None:
        path.write_bytes(b"half an image")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path, count=3, size=16, seed=1)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"size": 8}, {"seed": -1}, {"start": -1}, {"workers": 0}, {"start": 2**63, "count": 2}],
)
def test_numbers_out_of_range_are_wrong_usage(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        write_scenes(tmp_path / "set", **{"count": 1, "size": 16, "seed": 0, **wrong})
    assert not (tmp_path / "set").exists()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("mine")
    with pytest.raises(UsageError, match="not a directory"):
        write_scenes(tmp_path / "set", count=1, size=16, seed=0)
