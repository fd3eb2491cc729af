import pytest
import torch
from PIL import Image

from bigr_cli.errors import ImageError
from bigr_cli.imaging.arrays import to_images, to_tensor


def test_levels_are_rounded_and_clamped() -> None:
    values = torch.tensor([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 2.0])
    (image,) = to_images(values.expand(1, 3, 1, 6))
    assert image.mode == "RGB"
    assert [image.getpixel((x, 0)) for x in range(6)] == [(level,) * 3 for level in (0, 0, 0, 1, 254, 255)]


def test_images_come_back() -> None:
    tensor = torch.randint(0, 256, (3, 3, 5, 7)).float() / 255
    images = to_images(tensor)
    assert [image.size for image in images] == [(7, 5)] * 3
    assert torch.equal(to_tensor(images), tensor)


def test_any_mode_becomes_rgb() -> None:
    assert to_tensor([Image.new("L", (4, 2), 255)]).shape == (1, 3, 2, 4)
    assert to_tensor([Image.new("RGBA", (4, 2), "red")]).amax(dim=(0, 2, 3)).tolist() == [1, 0, 0]


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(ImageError, match="4×2, 5×2"):
        to_tensor([Image.new("L", (5, 2)), Image.new("L", (4, 2))])
    with pytest.raises(ImageError, match="none"):
        to_tensor([])
