from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

MakeImage = Callable[..., Image.Image]


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """An image of any mode with random bytes; a palette of 16 colours."""

    def make(mode: str, size: tuple[int, int] = (7, 5), seed: int = 0, **info: object) -> Image.Image:
        random = np.random.default_rng(seed)
        image = Image.new(mode, size)
        if mode in ("P", "PA"):
            image.putpalette(random.integers(0, 256, 48, dtype=np.uint8).tobytes())
        count = len(image.tobytes())
        data = random.integers(0, 16 if mode in ("P", "PA") else 256, count, dtype=np.uint8)
        if mode == "I":
            data = random.integers(0, 65536, size[0] * size[1]).astype(np.int32)
        elif mode == "F":
            data = random.random(size[0] * size[1]).astype(np.float32)
        elif mode == "1":
            data = np.packbits(random.random((size[1], size[0])) < 0.5, axis=1)
        elif mode == "PA":
            data[1::2] *= 17
        elif mode in ("La", "RGBa"):  # no colour is brighter than its alpha
            bands = data.reshape(-1, len(mode))
            bands[:, :-1] = np.minimum(bands[:, :-1], bands[:, -1:])
        image.frombytes(data.tobytes())
        image.info.update(info)
        return image

    return make
