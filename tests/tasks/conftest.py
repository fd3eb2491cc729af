"""A folder to work in, with the tiny model as the default one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Path:
    """The current folder, with a noisy image `in.png` of 40 × 30 pixels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(levels).save("in.png")
    return tmp_path
