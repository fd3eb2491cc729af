import multiprocessing
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.data import loading
from bigr_cli.data.file_source import Sample
from bigr_cli.data.loading import (
    Batch,
    Positions,
    all_batches,
    as_floats,
    batches_of,
    load_batches,
    spread_places,
)
from bigr_cli.data.sources import ScenesSource, open_source
from bigr_cli.errors import ImageError, RunError

SOURCE = ScenesSource(16, seed=2, count=40)


def drawn(positions: Positions, batches: int) -> list[tuple[int, int]]:
    return [row for rows in islice(positions, batches) for row in rows]


def test_batches_hold_the_source_as_it_is() -> None:
    (batch,) = all_batches(SOURCE, 8, count=5)
    assert batch.images.shape == (5, 3, 16, 16)
    assert batch.foreground.shape == (5, 1, 16, 16)
    assert (batch.images.dtype, batch.labels.dtype, batch.foreground.dtype) == (torch.uint8, torch.int64, torch.uint8)
    for index in range(5):
        image = SOURCE.image(index)
        assert torch.equal(batch.images[index].permute(1, 2, 0), torch.from_numpy(image.pixels.copy()))
        assert int(batch.labels[index]) == image.label
        assert batch.foreground[index].any()
    floats = as_floats(batch.images)
    assert floats.dtype == torch.float32
    assert 0 <= float(floats.min()) and float(floats.max()) <= 1


def test_all_batches_end() -> None:
    assert [len(batch.labels) for batch in all_batches(SOURCE, 16)] == [16, 16, 8]
    assert [len(batch.labels) for batch in all_batches(SOURCE, 16, count=100)] == [16, 16, 8]
    assert list(all_batches(SOURCE, 16, count=0)) == []


def test_workers_change_nothing() -> None:
    rows = [[(0, 0), (3, 0)], [(1, 0), (2, 0)], [(7, 0)]]
    alone, ahead = (list(load_batches(SOURCE, rows, workers=workers)) for workers in (0, 2))
    assert len(alone) == len(ahead) == 3
    for one, other in zip(alone, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_comes_out_of_a_worker_as_itself(tmp_path: Path, workers: int) -> None:
    for name in "abc":
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"nonsense")
    source = open_source(str(tmp_path), 16)
    batches = load_batches(source, [[(0, 0)], [(1, 0)], [(2, 0)]], workers=workers)
    next(batches)
    with pytest.raises(ImageError) as caught:
        next(batches)
    assert str(caught.value).startswith(f"{tmp_path}/b.png: is not an image")
    assert "Traceback" not in str(caught.value)


def test_batches_move_with_or_without_codes() -> None:
    batch = next(all_batches(SOURCE, 2)).to(torch.device("cpu"))
    assert batch.codes is None
    codes = torch.ones(2, 4, 3, dtype=torch.bool)
    moved = Batch(*batch[:3], codes=codes).to(torch.device("cpu"))
    assert moved.codes is not None
    assert torch.equal(moved.codes, codes)


@given(
    total=st.integers(1, 50),
    batch=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    start=st.integers(0, 30),
    augment=st.booleans(),
)
def test_positions_follow_from_the_number_alone(total: int, batch: int, seed: int, start: int, augment: bool) -> None:
    whole = drawn(Positions(total, batch, seed=seed, augment=augment), start + 4)
    later = drawn(Positions(total, batch, seed=seed, start=start, augment=augment), 4)
    assert whole[start * batch :] == later


@given(total=st.integers(1, 50), batch=st.integers(1, 12), seed=st.integers(0, 99), augment=st.booleans())
def test_every_pass_has_every_image_once(total: int, batch: int, seed: int, augment: bool) -> None:
    rows = drawn(Positions(total, batch, seed=seed, augment=augment), -(-3 * total // batch))
    for number in range(3):
        indices, variants = zip(*rows[number * total : (number + 1) * total], strict=True)
        assert sorted(indices) == list(range(total))
        assert set(variants) == {number + 1 if augment else 0}


def test_passes_differ_in_order() -> None:
    rows = [index for index, _ in drawn(Positions(50, 50, seed=0), 3)]
    assert rows[:50] != rows[50:100] != rows[100:]
    assert rows[:50] != list(range(50))


@given(processes=st.integers(1, 6), share=st.integers(1, 5), total=st.sampled_from([17, 2**40]))
def test_processes_share_a_batch(processes: int, share: int, total: int) -> None:
    whole = drawn(Positions(total, processes * share, seed=4), 3)
    ranks = [
        list(islice(Positions(total, share, seed=4, rank=rank, processes=processes), 3)) for rank in range(processes)
    ]
    assert [row for step in range(3) for rank in ranks for row in rank[step]] == whole


def test_endless_sources_do_not_repeat() -> None:
    endless: Iterator[list[tuple[int, int]]] = iter(Positions(2**40, 3, seed=9, start=5))
    assert next(endless) == [(15, 0), (16, 0), (17, 0)]


@pytest.mark.skipif(not loading._SHARED.is_dir(), reason="needs the shared memory of Linux")
@pytest.mark.parametrize(("room", "ahead"), [(10_000_000, 4), (60_000, 2), (30_000, 1), (20_000, None)])
def test_workers_keep_to_the_shared_memory(
    room: int, ahead: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers with batches of 8 × 16 × 16 × 4 bytes, and a quarter of the room for others."""
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: SimpleNamespace(free=room))
    if ahead is None:
        with pytest.raises(RunError, match=r"/dev/shm has 0\.0 MB of shared memory free, and 2 workers need") as caught:
            next(load_batches(SOURCE, Positions(40, 8, seed=0), workers=2))
        assert "data.workers=0" in str(caught.value.hint)
        return
    assert loading._ahead(SOURCE, 8, 2) == ahead
    assert (f"keep {ahead} batches each ready instead of 4" in capsys.readouterr().err) == (ahead < 4)


class Stuck(ScenesSource):
    """A source whose images take for ever, in a process that does not listen."""

    def image(self, index: int, variant: int = 0) -> Sample:
        if index == 5:
            raise RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")
        if index == 6:
            time.sleep(600)
        return super().image(index, variant)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_that_do_not_listen_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)  # torch waits so long, and again
    before = set(multiprocessing.active_children())
    batches = load_batches(Stuck(16, seed=2, count=40), [[(5, 0)], [(6, 0)]], workers=2)
    with pytest.raises(RunError, match="/dev/shm: the workers that read images ran out of shared memory"):
        next(batches)
    assert set(multiprocessing.active_children()) <= before


def test_images_at_equal_distances_are_of_all_parts() -> None:
    source = ScenesSource(64, count=10)
    assert spread_places(source, 4).tolist() == [0, 3, 6, 9]
    assert spread_places(source, 99).tolist() == list(range(10))
    batches = list(batches_of(source, spread_places(source, 4), 3))
    assert [len(batch.images) for batch in batches] == [3, 1]
    assert batches[1].labels.tolist() == [source.label(9)]
