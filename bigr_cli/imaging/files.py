"""Images as files: what each kind holds, and how they are written.

They appear whole or not at all, and take no other file's place unasked.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigr_cli.errors import ImageError, RunError, UsageError
from bigr_cli.file_names import irregular
from bigr_cli.files import atomic_write, behind_links, check_writable, reason_of, writing
from bigr_cli.imaging.metadata import KEY, embedding
from bigr_cli.imaging.modes import GREY, SIXTEEN, STRAIGHT, has_transparency, span, to_alpha, to_rgb
from bigr_cli.recipe import Recipe, parse_recipe

# Modes that come back from the file with the same colours. JPEG stores YCbCr, and Pillow reads it as RGB.
_HELD = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"),
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16L", "I;16B", "I", "F"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
}
# Modes whose transparency is not in the pixels but in a note beside them, which other kinds have no room for.
_NOTED = {"PNG": ("1", "L", "P", "RGB", "I;16"), "GIF": ("L", "P")}
_SPACES = {b"GRAY": ("1", "L", "LA", "I;16"), b"RGB ": ("RGB", "RGBA")}  # by what a colour profile says it is for


def storable(image: Image.Image, kind: str) -> Image.Image:
    """The image, converted as little as possible so that a file of this kind can hold it; itself if it can.

    Transparency is kept where the kind has it, and lies over white elsewhere; a GIF has only transparent or opaque.
    A colour profile that does not fit the new mode is left out.

    Args:
        kind: "PNG", "JPEG", "WEBP", "TIFF", "GIF" or "BMP".

    Raises:
        ValueError: `kind` is none of these.
    """
    if kind not in _HELD:
        raise ValueError(f"kind: expected one of {', '.join(_HELD)}, got {kind!r}")
    fit = image
    while not holds(kind, fit):
        fit = _simpler(fit, kind)
    if kind == "GIF" and fit.mode == "RGBA":
        fit = _cut_out(fit)
    if fit is not image:
        fit.info = {key: value for key, value in image.info.items() if key != "transparency"}
        profile = image.info.get("icc_profile", b"")
        if profile and fit.mode not in _SPACES.get(profile[16:20], ()):
            del fit.info["icc_profile"]
    return fit


def default_suffix(mode: str) -> str:
    """The suffix of files that hold this mode without loss: ".png" if they can, or else ".tif"."""
    return ".png" if mode in _HELD["PNG"] else ".tif"


def holds(kind: str, image: Image.Image) -> bool:
    """Whether a file of this kind holds the image as it is."""
    if image.mode not in _HELD[kind]:
        return False
    if image.mode not in ("1", "L", "P", "RGB", *SIXTEEN, "I") or not has_transparency(image):
        return True
    if image.mode not in _NOTED.get(kind, ()):
        return False
    return kind == "PNG" or isinstance(image.info.get("transparency"), int)


def _simpler(image: Image.Image, kind: str) -> Image.Image:
    """The image one step nearer to RGB or RGBA, one of which every kind holds."""
    mode, held = image.mode, _HELD[kind]
    if has_transparency(image):
        if "RGBA" not in held:
            return _over_white(image)
        if mode in GREY:
            return _with_alpha(image)
        return image.convert(STRAIGHT.get(mode, "RGBA"))
    if mode in SIXTEEN and "I;16" in held:
        return _sixteen(np.asarray(image))
    if mode == "I" and "I;16" in held and span(image) != (0, 255):
        return _sixteen(_levels(to_rgb(image)[..., 0], 65535))
    if mode in GREY and mode != "L":
        return _image(to_rgb(image)[..., 0])
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    alpha = to_alpha(image)
    shown = to_rgb(image) if alpha is None else 1 + (to_rgb(image) - 1) * alpha[..., None]
    return _image(shown[..., 0] if image.mode in (*GREY, "LA", "La") else shown)


def _with_alpha(image: Image.Image) -> Image.Image:
    grey, alpha = _image(to_rgb(image)[..., 0]), to_alpha(image)
    if alpha is not None:
        grey.putalpha(_image(alpha))
    return grey


def _cut_out(image: Image.Image) -> Image.Image:
    """RGBA with alpha 0 or 255 and nothing between."""
    levels = np.asarray(image)
    alpha = np.where(levels[..., 3:] < 128, 0, 255).astype(np.uint8)
    if np.array_equal(alpha, levels[..., 3:]):
        return image
    return Image.fromarray(np.concatenate([levels[..., :3] * (alpha > 0), alpha], axis=2, dtype=np.uint8))


def _sixteen(values: NDArray[Any]) -> Image.Image:
    """(H, W) whole numbers below 65536 → I;16, whose bytes are little-endian."""
    height, width = values.shape
    return Image.frombytes("I;16", (width, height), values.astype("<u2").tobytes())


def _image(values: NDArray[np.float32]) -> Image.Image:
    """Grey (H, W) or RGB (H, W, 3) in [0, 1] as an image."""
    return Image.fromarray(_levels(values, 255).astype(np.uint8))


def _levels(values: NDArray[np.float32], top: int) -> NDArray[np.float64]:
    return np.floor(values.astype(np.float64) * top + 0.5)


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
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
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
    saving = {} if (kind, clean.mode) == ("TIFF", "YCbCr") else _SAVING.get(kind, {})
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
