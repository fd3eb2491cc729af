"""Commands that run out of memory with many images at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bigr_cli.core.model import BinaryModel

Run = Callable[..., Any]


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Lets the sampler fail as torch does above so many images; returns the sizes of the batches that were tried."""

    def limit(most: int) -> list[int]:
        tried: list[int] = []
        sample = BinaryModel.sample_codes

        def sample_codes(self: BinaryModel, labels: Any, seeds: Any, **more: Any) -> torch.Tensor:
            tried.append(len(seeds))
            if len(seeds) > most:
                torch.empty(10**15)
            return sample(self, labels, seeds, **more)

        monkeypatch.setattr(BinaryModel, "sample_codes", sample_codes)
        return tried

    return limit


def images() -> list[bytes]:
    return [Image.open(path).tobytes() for path in sorted(Path().glob("out/*.png"))]


def test_generating_goes_on_with_the_same_images(
    bigr: Run, workplace: Path, crowded: Callable[[int], list[int]]
) -> None:
    words = ("generate", "cat", "-n", 9, "--seed", 0, "-o", "out/", "--overwrite", "--dtype", "float32")
    assert bigr(*words).code == 0
    before, tried = images(), crowded(3)
    done = bigr(*words, "--batch-size", 8)
    assert (done.code, tried) == (0, [8, 4, 2, 2, 2, 2, 1])
    assert len(re.findall("too little memory", done.err)) == 1
    assert images() == before


def test_painting_goes_on_with_the_same_images(bigr: Run, workplace: Path, crowded: Callable[[int], list[int]]) -> None:
    words = ("edit", "in.png", "--class", "cat", "-n", 5, "--seed", 0, "-o", "out/", "--overwrite")
    assert bigr(*words, "--dtype", "float32").code == 0
    before, tried = images(), crowded(2)
    done = bigr(*words, "--dtype", "float32", "--batch-size", 5)
    assert (done.code, max(tried[1:]), sorted(set(tried))) == (0, 2, [1, 2, 5])
    assert len(re.findall("too little memory", done.err)) == 1
    assert len(before) == 5 and images() == before


@pytest.mark.parametrize("words", [("generate", "cat"), ("edit", "in.png", "--class", "cat")])
def test_no_room_for_one_ends_with_a_message(
    bigr: Run, workplace: Path, crowded: Callable[[int], list[int]], words: tuple[str, ...]
) -> None:
    crowded(0)
    done = bigr(*words, "-n", 2, "-o", "out/")
    assert done.code == 1
    assert "error: there is too little memory even for one image at a time\nhint: " in done.err
    assert not list(Path().glob("out/*.png"))
