import numpy as np
import pytest
import torch

from bigr_cli.data.file_source import Sample
from bigr_cli.training.finish import nearest


class Noise:
    """Images of noise, each its own."""

    labels, size = ("noise",), 8

    def __init__(self, count: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def label(self, index: int) -> int:
        return 0

    def caption(self, index: int, variant: int = 0) -> str:
        return ""

    def image(self, index: int, variant: int = 0) -> Sample:
        return Sample(self.pixels[index], 0)

    def fingerprint(self) -> str:
        return "noise"


def test_copies_are_found_also_mirrored() -> None:
    training, others = Noise(150), torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    given = torch.from_numpy(training.pixels).permute(0, 3, 1, 2).float() / 255
    samples = torch.cat([given[[7, 130]], given[[66]].flip(3), others[:5]])
    found = nearest(samples, others[5:], training)
    assert found.places[:3].tolist() == [7, 130, 66]
    assert found.distances[:3] == pytest.approx(0, abs=1e-3)
    assert found.limit > 0.2
    assert 3 / 8 <= found.share <= 4 / 8  # by its definition one in twenty others is as near
    assert f"{round(found.share * 8)} of 8 samples" in found.line() and "150 training images compared" in found.line()
