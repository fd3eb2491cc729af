"""Requests: bodies read within limits, and turned into fields and files, whichever form they come in."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from PIL import Image
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from bigr_cli.data.images import MAX_PIXELS_VARIABLE, read_header, read_image
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.imaging.originals import Original
from bigr_cli.plain_text import is_plain
from bigr_cli.serve.guard import Budget, Limits

if TYPE_CHECKING:
    from starlette.requests import Request


_DATA_ADDRESS = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
_FILES = ("image", "images", "mask", "recipe")
_MOST_PARTS = 1000


class Refused(Exception):
    """A request that is not taken: the status and the reason."""

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.hint = status, code, hint


class Held:
    """Bytes of the budget that a request holds; a job may take them over."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._count, self._kept = budget, 0, False

    def take(self, count: int) -> None:
        """Raises Refused if the server holds as much as it may."""
        if not self._budget.take(count):
            raise Refused(503, "busy", "the server holds as many bytes of other requests as it may; try again")
        self._count += count

    def keep(self) -> None:
        """Let them be held beyond the request."""
        self._kept = True

    def release(self) -> None:
        self._budget.release(self._count)
        self._count = 0

    def close(self) -> None:
        if not self._kept:
            self.release()


@asynccontextmanager
async def body_of(request: Request, limits: Limits, budget: Budget) -> AsyncIterator[tuple[bytes, Held]]:
    """The bytes of a body, and what they take of the budget.

    Raises:
        Refused: too many bytes (413), too slow (408), encoded (415), or no room (503).
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "encoding", "bodies are taken as they are, without content-encoding")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.body:
        raise _too_large(limits)
    held, parts, size = Held(budget), list[bytes](), 0
    try:
        with anyio.fail_after(limits.receive):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body:
                    raise _too_large(limits)
                held.take(len(chunk))
                parts.append(chunk)
        yield b"".join(parts), held
    except TimeoutError as error:
        raise Refused(408, "slow", f"the body took longer than {limits.receive:g} seconds to arrive") from error
    finally:
        held.close()


def _too_large(limits: Limits) -> Refused:
    hint = "bigr serve --max-upload sets another limit"
    return Refused(413, "too_large", f"a request may have at most {limits.body:,} bytes", hint)


async def read_json(data: bytes) -> dict[str, Any]:
    """An object; Refused (400) if it is none."""
    try:
        found = await anyio.to_thread.run_sync(_parsed, data)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "json", "the body is not JSON") from error
    if not isinstance(found, dict):
        raise Refused(400, "json", "expected a JSON object")
    return found


def _parsed(data: bytes) -> Any:
    return json.loads(data.decode("utf-8"), parse_constant=_refused_number)


def _refused_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def from_json(task: str, values: Mapping[str, Any]) -> TaskRequest:
    """Fields, and files in base64.

    Raises:
        UsageError: a file that is no base64, or names that do not go with the files.
    """
    plain = {key: value for key, value in values.items() if key not in _FILES and not key.endswith(("_name", "_names"))}
    images = [_decoded("image", values["image"], values.get("image_name"), "image.png")] if values.get("image") else []
    several = values.get("images") or []
    names = values.get("image_names") or [None] * (len(several) if isinstance(several, list) else 0)
    if not isinstance(several, list) or not isinstance(names, list) or len(names) != len(several):
        raise UsageError("images: expected a list, and as many image_names if any")
    for index, (one, name) in enumerate(zip(several, names, strict=True)):
        images.append(_decoded(f"images[{index}]", one, name, f"image{index + 1}.png"))
    mask = _decoded("mask", values["mask"], values.get("mask_name"), "mask.png") if values.get("mask") else None
    return TaskRequest(task, plain, images, mask)


def _decoded(field: str, text: Any, name: Any, default: str) -> Upload:
    if not isinstance(text, str) or not isinstance(name, str | None):
        raise UsageError(f"{field}: expected a file as base64, and its name as text")
    head = _DATA_ADDRESS.match(text[:100])
    if head is None and text[:8].partition(":")[1]:
        raise UsageError(f"{field}: expected base64; addresses are not fetched")
    try:
        data = base64.b64decode(text[head.end() if head else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"{field}: is not base64") from error
    return Upload(data, name or default)


async def read_form(
    data: bytes, headers: Headers, limits: Limits
) -> tuple[dict[str, list[str]], list[tuple[str, Upload]]]:
    """The fields and the files of multipart/form-data; Refused (400) if it is damaged."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    parser = MultiPartParser(
        headers, stream(), max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=limits.body
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        raise Refused(400, "form", "the form is damaged") from error
    fields: dict[str, list[str]] = {}
    files: list[tuple[str, Upload]] = []
    try:
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.append((key.removesuffix("[]"), Upload(await value.read(), value.filename or "image.png")))
            else:
                fields.setdefault(key.removesuffix("[]"), []).append(value)
    finally:
        await form.close()
    return fields, files


def from_form(task: str, fields: Mapping[str, list[str]], files: Sequence[tuple[str, Upload]]) -> TaskRequest:
    """Fields as text, and files by the names of their parts.

    Raises:
        UsageError: a file under another name, or several masks.
    """
    unknown = sorted({key for key, _ in files} - set(_FILES))
    if unknown:
        raise UsageError(f"{unknown[0]}: is no file of this task", hint="files are image, images and mask")
    images = [upload for key, upload in files if key in ("image", "images")]
    masks = [upload for key, upload in files if key == "mask"]
    if len(masks) > 1:
        raise UsageError("mask: expected one")
    return TaskRequest(task, dict(fields), images, masks[0] if masks else None)


def from_raw(task: str, data: bytes, query: Mapping[str, list[str]]) -> TaskRequest:
    """An image as the body, and the fields in the address."""
    fields = {key: value for key, value in query.items() if key != "image_name"}
    return TaskRequest(task, fields, [Upload(data, query.get("image_name", ["image.png"])[-1])] if data else [])


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
class TaskRequest:
    """A request's fields by their names on the command line, and the files that came with it."""

    task: str
    values: Mapping[str, Any]
    images: Sequence[Upload] = ()
    mask: Upload | None = None
    recipe: Upload | None = None


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


def one_image(request: TaskRequest) -> Upload:
    """The one image of a request; ImageError if there is none, or more."""
    if len(request.images) != 1:
        raise ImageError(f"{request.task}: expected one image, got {len(request.images)}")
    return request.images[0]
