"""What a client asks for, checked: how each result is painted, and what file it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from bigr_cli.data.images import MAX_PIXELS_VARIABLE, read_header, read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.originals import Original
from bigr_cli.plain_text import is_plain
from bigr_cli.serve.guard import Limits
from bigr_cli.serve.jobs import Output

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.model import Model

_LONGEST_NAME = 120
MEDIA_TYPES = {
    "png": "image/png",
    "tif": "image/tiff",
    "gif": "image/gif",
    "webp": "image/webp",
    "mp4": "video/mp4",
}


class TooLarge(UsageError):
    """More bytes or pixels than the server takes."""


class Upload(bytes):
    """A file's bytes, with the name that the client gives it; shown by that name."""

    name: str

    def __new__(cls, data: bytes, name: str) -> Upload:
        upload = super().__new__(cls, data)
        upload.name = safe_name(name)
        return upload

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


@dataclass(frozen=True)
class Asked:
    """A request's fields by their names on the command line, and the files that came with it."""

    task: str
    values: Mapping[str, Any]
    images: Sequence[Upload] = ()
    mask: Upload | None = None
    recipe: Upload | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """A request that was checked: `count` results, each painted by itself.

    `pixels` is how many one result keeps in memory while it is painted. `painter` is called in the worker's thread,
    `output` in another one.
    """

    task: str
    count: int
    pixels: int
    painter: Callable[[BinaryModel, int], SamplingCoroutine[Any]] = field(repr=False)
    output: Callable[[Model, int, Any], Output] = field(repr=False)


def safe_name(name: str) -> str:
    """The last part of a file's name, if it can be shown and is no more than a name; or else "image.png"."""
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    fine = is_plain(last) and last.strip(".") and len(last) <= _LONGEST_NAME and not last.startswith("-")
    return last if fine else "image.png"


def opened(upload: Upload, limits: Limits) -> Original:
    """The image in an upload.

    Raises:
        TooLarge: it has more pixels than the limit.
        ImageError: it is no image that can be read.
    """
    try:
        header = read_header(upload, upload.name)
        check_pixels(f"{upload.name}: the image", *header.size, limits)
        return read_image(upload, upload.name)
    except ImageError as error:
        if error.hint is not None and MAX_PIXELS_VARIABLE in error.hint:
            raise TooLarge(str(error)) from error
        raise


def check_pixels(what: str, width: int, height: int, limits: Limits) -> None:
    """Raises TooLarge for more pixels than the limit."""
    if width * height > limits.pixels:
        raise TooLarge(
            f"{what} has {width} × {height} pixels, but at most {limits.pixels:,} are taken",
            hint="bigr serve --max-pixels sets another limit",
        )


def displayed(data: bytes, name: str, limits: Limits) -> bytes:
    """A PNG file that every browser shows, of an image that some do not read (TIFF, JPEG 2000, CMYK, 16 bits)."""
    from bigr_cli.imaging.files import encode_image

    original = opened(Upload(data, name), limits)
    image = original.image
    if image.mode not in ("L", "LA", "P", "RGB", "RGBA", "1"):
        image = Image.fromarray((original.rgb() * 255).round().astype("uint8"))
        alpha = original.alpha()
        if alpha is not None:
            image.putalpha(Image.fromarray((alpha * 255).round().astype("uint8")))
    return encode_image(image, "PNG")


def one_image(asked: Asked) -> Upload:
    """The one image of a request; ImageError if there is none, or more."""
    if len(asked.images) != 1:
        raise ImageError(f"{asked.task}: expected one image, got {len(asked.images)}")
    return asked.images[0]
