"""Where images go: a file, a folder, a pattern with fields such as {label}, or stdout."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter

from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.file_names import expanded, irregular
from bigr_cli.imaging.files import KINDS, kind_of

STDOUT = "-"

_WIDTH = re.compile(r"0?\d?\dd?|")  # such as {index:04}; anything longer could ask for a gigabyte of zeros
_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file on Windows can be called so
_LONGEST, _LONGEST_BYTES = 64, 120  # of a field; a whole name may have 255 bytes

Fields = Mapping[str, str | int]


def resolve(
    output: str | None, images: Sequence[Fields], *, default: str, folders: Sequence[Path] = ()
) -> list[Path] | None:
    """A path for each image, or None for stdout.

    Args:
        output: what --output gave: a file, a folder (it exists, ends with a slash, or has no suffix), a pattern,
            "-" for stdout; None is the current folder.
        images: the fields of each image; text is made safe for file names.
        default: the pattern inside a folder.
        folders: for each image the folder inside the one that `output` names, if not that one itself.

    Raises:
        UsageError: several images for one file or for stdout, a suffix or a field that is not known.
    """
    if output == STDOUT:
        if len(images) != 1:
            raise UsageError(f"stdout takes one image, not {len(images)}", hint="-o DIR writes files into a folder")
        return None
    folder, pattern = _patterns(output, default)
    inner = folders if folder is not None and folders else [Path()] * len(images)
    paths = [
        Path(fill(folder or "", fields)) / within / fill(pattern, fields)
        for within, fields in zip(inner, images, strict=True)
    ]
    for path in paths:
        kind_of(path, hint="a name that ends with / is a folder")
    if len(paths) > 1 and len(set(paths)) == 1 and "{stem" not in pattern:
        raise UsageError(
            f"{paths[0]}: is one file for {len(paths)} images",
            hint=f"-o takes a folder, or a pattern such as {_suggested(paths[0], default)}",
        )
    return paths


def fill(pattern: str, fields: Fields) -> str:
    """The pattern with the values of its {fields} in place; {{ and }} stand for braces.

    Raises:
        UsageError: a brace without its partner, an unknown field, or more than a width behind its colon.
    """
    parts = []
    try:
        for text, name, spec, conversion in Formatter().parse(pattern):
            parts.append(text)
            if name is None:
                continue
            if name not in fields:
                known = ", ".join(f"{{{field}}}" for field in fields)
                raise UnknownNameError("field", name, fields, hint=f"patterns know {known}")
            value = fields[name]
            if conversion or not _WIDTH.fullmatch(spec or "") or (spec and not isinstance(value, int)):
                raise UsageError(f"{pattern}: {{{name}}} takes at most a width, such as {{index:04}}")
            parts.append(format(value, spec or "") if isinstance(value, int) else safe_text(value))
    except ValueError as error:  # how the parser reports a single brace
        raise UsageError(f"{pattern}: {error}", hint="write {{ and }} for braces in a name") from error
    return "".join(parts)


def safe_text(text: str) -> str:
    """The text as a part of a file name that means nothing to any file system: no slash, no leading dot."""
    safe = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")[:_LONGEST]
    safe = safe.encode("utf-8", "ignore")[:_LONGEST_BYTES].decode("utf-8", "ignore").rstrip("-.") or "unnamed"
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe


def _patterns(output: str | None, default: str) -> tuple[str | None, str]:
    """What --output means: a pattern for a folder, None if it names files itself, and one for the files in it."""
    if output is None:
        return "", default
    if not output:
        raise UsageError("--output: expected a file, a folder, a pattern or -, got nothing")
    path = expanded(output)
    if _is_folder(path):
        return str(path).replace("{", "{{").replace("}", "}}"), default
    if is_folder_name(output):
        if path.name.lower() in KINDS:
            raise UsageError(f"{output}: has no name before the suffix")
        return str(path), default
    return None, str(path)


def fixed_folder(output: str | None) -> Path | None:
    """The folder in which all files of an --output are; None for stdout."""
    if output == STDOUT:
        return None
    if output is None:
        return Path()
    before = output.partition("{")[0]
    return expanded(output) if before == output and is_folder_name(output) else expanded(f"{before}x").parent


def is_folder_name(output: str) -> bool:
    """Whether --output means a folder: it is one, ends like one, or has no suffix and is no device or pipe."""
    path = expanded(output)
    last = re.split(r"[/\\]" if os.sep == "\\" else "/", output)[-1]
    return _is_folder(path) or not last or last in (".", "..") or not (path.suffix or irregular(path))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file can have, which is reported where files are checked
        return False


def _suggested(path: Path, default: str) -> str:
    return str(path.with_name(f"{path.stem}-{{seed}}{path.suffix}")) if "{seed}" in default else default
