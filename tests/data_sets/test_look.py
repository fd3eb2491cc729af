"""What a look at data finds before a training."""

from pathlib import Path

import numpy as np
from PIL import Image

from bigr_cli.data.look import look_at
from bigr_cli.data.sources import open_source


def test_images_of_16_bits_and_of_transparency_are_seen_as_every_model_sees_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deep = [rng.integers(0, 2**16, (32, 32)).astype(np.uint16) for _ in range(3)]
    for number, levels in enumerate((*deep, deep[0])):
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
    for number in (4, 5):  # of one colour, which differ in what is transparent
        alpha = (rng.random((32, 32)) < 0.5).astype(np.uint8) * 255
        Image.fromarray(np.dstack([np.full((32, 32, 3), (200, 0, 0), np.uint8), alpha])).save(
            tmp_path / f"{number}.png"
        )
    found = look_at(open_source(str(tmp_path), 16))
    assert (found.images, found.alike, found.transparent, found.broken) == (6, 1, 2, ())
    assert found.grey_share == 4 / 6
