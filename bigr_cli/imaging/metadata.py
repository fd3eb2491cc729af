"""Recipes inside image files: PNG text, EXIF of JPEG, WebP and TIFF, a GIF's comment."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from bigr_cli.data.images import inspect_image, open_file
from bigr_cli.errors import ImageError, UsageError
from bigr_cli.plain_text import decoded
from bigr_cli.recipe import Recipe, parse_recipe

KEY = "bigr"
_CARRYING = ("PNG", "JPEG", "WEBP", "TIFF", "GIF")
_FILM_TYPE = b"ftyp"  # how MP4 files begin, after four bytes
_ASCII = b"ASCII\0\0\0"  # how a UserComment says which characters it is made of
_LARGEST_JSON = 1 << 20
_SNIFFED = 1024  # bytes in which JSON shows itself


def embedding(kind: str, text: str) -> dict[str, Any]:
    """The options of Pillow's `save` that put a text of ASCII into a file of this kind ("PNG", "JPEG", …)."""
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt(KEY, text)
        return {"pnginfo": info}
    if kind == "BMP":  # has no room for any text
        return {}
    if kind == "GIF":
        return {"comment": text.encode("ascii")}
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    if kind != "TIFF":  # where programs look that show how an image was generated
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _ASCII + text.encode("ascii")
    return {"exif": exif}


class MadeImage(Image.Image):
    """An image that a model has made: a PIL image that carries its recipe.

    The recipe is JSON in `info["bigr"]`. `save` puts it into PNG, JPEG, WebP, TIFF and GIF files, as the command line
    does, unless it is given another `pnginfo`, `exif` or `comment`; `bigr info FILE` shows it. Copies and whatever
    Pillow makes of the image keep it in `info` only. Of a given image that was worked on, `info["familiarity"]` says
    how it compares with what the model was trained on, as `--json` does.
    """

    @classmethod
    def of(cls, image: Image.Image, recipe: Recipe | None) -> MadeImage:
        """A copy of an image with its recipe; None leaves it without."""
        made = cls()
        vars(made).update(vars(image.copy()))
        made.info = {name: value for name, value in image.info.items() if name != KEY}
        if recipe is not None:
            made.info[KEY] = recipe.to_json()
        return made

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """As Pillow's, with the recipe, whose place depends on the kind of file."""
        suffix = Path(str(getattr(fp, "name", fp))).suffix.lower()
        kind = (format or Image.registered_extensions().get(suffix, "")).upper()
        text = self.info.get(KEY)
        carried = embedding(kind, text) if isinstance(text, str) and kind in _CARRYING else {}
        super().save(fp, format, **(carried | params))

    def __iter__(self) -> Iterator[MadeImage]:
        """The image alone, so that `for made in model.edit(…)` works whether one image was given or a list."""
        yield self

    def __getitem__(self, index: int) -> MadeImage:
        """The image alone, as from a list of one."""
        return [self][index]


def read_metadata(source: Path | bytes, name: str | None = None) -> Recipe:
    """The recipe of an image or film, or of JSON that is one; a file, or bytes, by default of stdin.

    Raises:
        ImageError: there is no such file, or it is neither an image nor JSON.
        UsageError: it holds no recipe, or one of a newer version.
    """
    name = name or (str(source) if isinstance(source, Path) else "stdin")
    try:
        with open_file(source) if isinstance(source, Path) else io.BytesIO(source) as stream:
            return _recipe(stream, name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read: {reason}") from error


def _recipe(stream: BinaryIO, name: str) -> Recipe:
    start = stream.read(_LARGEST_JSON)
    stream.seek(0)
    text = decoded(start[:_SNIFFED], "replace").lstrip()
    if text.startswith("{"):
        return parse_recipe(decoded(start, "replace"), source=name)
    # AVIF and HEIC images begin like films too; no recipe is ever in one.
    for text in [read_comment(stream)] if start[4:8] == _FILM_TYPE else inspect_image(stream, name, _image_texts):
        if text.lstrip().startswith("{"):
            return parse_recipe(text, source=name)
    raise UsageError(f"{name}: holds no recipe: bigr did not make it, or it was written with --no-metadata, or as BMP")


def read_comment(stream: BinaryIO) -> str:
    """The comment in an MP4 film, where its recipe is; "" if there is none or it cannot be read."""
    import av

    try:
        with av.open(stream, format="mov") as container:  # named, or a stream might pass for a list of other files
            return str(container.metadata.get("comment", ""))
    except (OSError, ValueError, av.error.FFmpegError):
        return ""


def _image_texts(image: Image.Image) -> list[str]:
    """The places of an image's metadata where a recipe may be."""
    if image.format == "PNG":
        return _png_texts(image)
    if image.format == "GIF":
        return [_decoded(image.info.get("comment", b""))]
    exif = image.getexif()
    comment = _decoded(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b""))
    return [comment.removeprefix(_ASCII.decode()), _decoded(exif.get(ExifTags.Base.ImageDescription, ""))]


def _png_texts(image: Image.Image) -> list[str]:
    if KEY not in image.info:  # the chunk may come after the pixels
        with suppress(Exception):  # damaged pixels; a recipe may have come before them
            image.load()
    return [_decoded(image.info.get(KEY, ""))]


def _decoded(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
