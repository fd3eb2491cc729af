import multiprocessing
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bigr_cli.data.cached import CachedSource
from bigr_cli.data.file_source import Sample
from bigr_cli.data.sources import ScenesSource


@dataclass
class Counting:
    """Five images of noise that count how often they are asked for."""

    focused: bool = False
    size: int = 8
    labels: tuple[str, ...] = ("a", "b")
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return 5

    def label(self, index: int) -> int:
        return index % 2

    def caption(self, index: int, variant: int = 0) -> str:
        return f"{index}, {variant}"

    def image(self, index: int, variant: int = 0) -> Sample:
        self.asked.append(index)
        noise = np.random.default_rng(index).integers(0, 256, (8, 8, 4), dtype=np.uint8)
        return Sample(noise[..., :3], self.label(index), noise[..., 3] if self.focused else None)

    def fingerprint(self) -> str:
        return f"noise {self.focused}"


def same(one: Sample, other: Sample) -> bool:
    if (one.foreground is None) != (other.foreground is None) or one.label != other.label:
        return False
    return np.array_equal(one.pixels, other.pixels) and (
        one.foreground is None or np.array_equal(one.foreground, other.foreground)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("focused", [False, True])
def test_each_image_is_asked_for_once(tmp_path: Path, focused: bool) -> None:
    source = Counting(focused)
    kept = CachedSource(source, tmp_path)
    source.asked.clear()
    for _ in range(3):
        for index in (3, 0, 4):
            assert same(kept.image(index, 7), Counting(focused).image(index))
    assert source.asked == [3, 0, 4]
    again = CachedSource(Counting(focused), tmp_path)
    assert same(again.image(3), Counting(focused).image(3))
    assert again.source.asked == [0]  # type: ignore[attr-defined]
    assert (kept.label(3), kept.caption(3, 2), len(kept), kept.fingerprint()) == (1, "3, 2", 5, source.fingerprint())


def test_other_sources_have_files_of_their_own(tmp_path: Path) -> None:
    assert CachedSource(Counting(True), tmp_path).path != CachedSource(Counting(False), tmp_path).path
    assert (
        CachedSource(ScenesSource(16, 0, 0, 9), tmp_path).path != CachedSource(ScenesSource(16, 0, 0, 8), tmp_path).path
    )


@pytest.mark.parametrize("spoil", ["cut", "changed", "zeros"])
def test_a_spoilt_row_is_made_again(tmp_path: Path, spoil: str) -> None:
    kept = CachedSource(Counting(), tmp_path)
    for index in range(5):
        kept.image(index)
    data = bytearray(kept.path.read_bytes())
    row = len(data) // 5
    if spoil == "cut":
        del data[4 * row + 9 :]
    elif spoil == "changed":
        data[4 * row + 20] ^= 1
    else:
        data[4 * row :] = bytes(row)
    kept.path.write_bytes(data)
    source = Counting()
    again = CachedSource(source, tmp_path)
    source.asked.clear()
    assert all(same(again.image(index), Counting().image(index)) for index in range(5))
    assert source.asked == [4]
    assert again.path.stat().st_size == 5 * row


def test_a_full_disk_ends_the_keeping_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = CachedSource(Counting(), tmp_path)
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(kept, "_opened", lambda: full)
        for index in (1, 2):
            assert same(kept.image(index), Counting().image(index))
    assert capsys.readouterr().err.count("no more images are kept") == 1


def ask(kept: CachedSource, times: int) -> None:
    for number in range(times):
        index = (number * 7 + os.getpid()) % len(kept)
        if not same(kept.image(index), kept.source.image(index)):
            raise SystemExit(1)


def test_processes_share_a_file(tmp_path: Path) -> None:
    kept = CachedSource(ScenesSource(16, 0, 0, 40), tmp_path)
    kept.image(0)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=ask, args=(kept, 120)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert same(pickle.loads(pickle.dumps(kept)).image(1), kept.source.image(1))
