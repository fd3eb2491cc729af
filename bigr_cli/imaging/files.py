"""Images as files, which appear whole or not at all and take no other file's place unasked."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.file_names import irregular
from bigr_cli.files import atomic_write, behind_links, check_writable, reason_of, writing
from bigr_cli.imaging.formats import storable
from bigr_cli.imaging.metadata import KEY, embedding
from bigr_cli.recipe import Recipe, parse_recipe

KINDS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".bmp": "BMP",
}
ANIMATED = (".gif", ".webp")
_SAVING: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "GIF": {},
    "BMP": {},
}
# What an image keeps of what it carries with it; the recipe that it was read with is not among it.
_KEPT = ("transparency", "icc_profile", "dpi")


def kind_of(path: Path, suffixes: Iterable[str] = KINDS, *, hint: str | None = None) -> str:
    """The kind of image that a file's suffix stands for: "PNG", "JPEG", …; devices and pipes without one get a PNG.

    Raises:
        UsageError: it is none of these suffixes.
    """
    suffix = path.suffix.lower()
    if not suffix and ".png" in suffixes and irregular(path):
        return "PNG"
    if suffix not in suffixes:
        what = f"unknown kind of image {suffix!r}" if suffix else "has no suffix"
        raise UsageError(f"{path}: {what}; expected {', '.join(suffixes)}", hint=hint)
    return KINDS[suffix]


def encode_image(image: Image.Image, kind: str, recipe: Recipe | None = None) -> bytes:
    """The bytes of an image file of this kind, with a recipe in it; ImageError if the kind cannot hold it."""
    clean = storable(image, kind).copy()
    clean.info = {name: value for name, value in clean.info.items() if name in _KEPT}
    carried = embedding(kind, recipe.to_json()) if recipe else {}
    # Pillow reads compressed YCbCr back as RGB, with other values.
    saving = {} if (kind, clean.mode) == ("TIFF", "YCbCr") else _SAVING[kind]
    buffer = io.BytesIO()
    try:
        clean.save(buffer, kind, **saving, **carried)
    except (OSError, ValueError) as error:  # such as a WebP of more than 16383 pixels along a side
        width, height = image.size
        raise ImageError(f"a {kind} file cannot hold an image of {width} × {height} pixels ({error})") from error
    return buffer.getvalue()


def write_image(path: Path, image: Image.Image, *, recipe: Recipe | None = None, overwrite: bool = False) -> None:
    """Write an image, lossless where its kind allows that, as the suffix says; errors as `write_bytes`."""
    write_bytes(path, encode_image(image, kind_of(path), recipe), overwrite=overwrite)


def save(image: Image.Image, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write an image with the recipe that it carries, as the command line does: whole or not at all.

    Args:
        image: of any mode; what `Model` made carries its recipe in `info["bigr"]`.
        path: .png, .webp, .jpg, .tif, .gif or .bmp; folders are made. BMP files hold no recipe.
        overwrite: replace what is there.

    Returns:
        The path.

    Raises:
        UsageError: the file is there already, or another kind of file; the recipe is none.
        ImageError: this kind of file cannot hold the image.
        RunError: it cannot be written.
    """
    target, text = Path(path).expanduser(), image.info.get(KEY)
    recipe = parse_recipe(text, source="image") if isinstance(text, str) else None
    write_image(target, image, recipe=recipe, overwrite=overwrite)
    return target


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file, and make the folders for it; a failure leaves neither behind.

    Raises:
        UsageError: there is something at `path`, and `overwrite` is not set.
        RunError: it cannot be written.
    """
    made: list[Path] = []
    try:
        _make_folders(path.parent, made)
        with atomic_write(path, replace=overwrite) as temporary:
            temporary.write_bytes(data)
    except BaseException as error:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, FileExistsError) and not overwrite and os.path.lexists(path):
            raise existing(path) from error
        if isinstance(error, OSError):
            raise RunError(f"{path}: cannot be written: {reason_of(error)}") from error
        raise


def existing(path: Path) -> UsageError:
    """The error that says that a file is there already."""
    return UsageError(f"{path}: exists already", hint="pass --overwrite to replace it")


def check_targets(paths: Sequence[Path], *, overwrite: bool, skip_existing: bool = False) -> list[bool]:
    """Before anything is made: whether each of these files is to be written; False is for those to be skipped.

    Devices and pipes are always written: nothing is lost in them.

    Raises:
        UsageError: a file exists, is a folder, is there twice, or cannot come to be where it should.
    """
    wanted, seen, folders = [], set[str](), set[Path]()
    for path in paths:
        if irregular(path):
            wanted.append(True)
            continue
        place = os.path.abspath(path)
        if place in seen:
            raise UsageError(f"{path}: would be written twice", hint="add {seed} or {index} to the pattern")
        seen.add(place)
        there = _is_there(path)
        if there and path.is_dir():
            raise UsageError(f"{path}: is a folder")
        if there and not (overwrite or skip_existing):
            raise existing(path)
        wanted.append(overwrite or not there)
        folder = _folder_behind(path) if there and overwrite else path.parent
        if folder not in folders:
            folders.add(folder)
            check_writable(folder)
    return wanted


def _folder_behind(path: Path) -> Path:
    """The folder of the file that a link leads to, or that of the path itself."""
    with writing(path, UsageError):
        target = behind_links(path)
    if not target.parent.is_dir():
        raise UsageError(f"{path}: is a link to {target}, and there is no folder for that")
    return target.parent


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # a name too long, a null character
        raise UsageError(f"{path}: no file can have this name ({reason_of(error)})") from error
    return True


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it; puts those that were not there into `made`, innermost first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        made.insert(0, parent)
