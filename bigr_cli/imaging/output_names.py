"""Where images go: a file, a folder, a pattern with fields such as {label}, or stdout.

Names that collide get numbers, and what a command wrote before is no input of it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from string import Formatter

from bigr_cli.errors import BigrError, UnknownNameError, UsageError
from bigr_cli.file_names import expanded, irregular
from bigr_cli.imaging.files import KINDS, kind_of
from bigr_cli.imaging.metadata import read_metadata
from bigr_cli.recipe import Recipe

STDOUT = "-"

_WIDTH = re.compile(r"0?\d?\dd?|")  # such as {index:04}; anything longer could ask for a gigabyte of zeros
_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file on Windows can be called so
_NUMBER = re.compile(r"\d+")
_COUNTED = re.compile(r"-\d+(?=\.[^.]*$)")  # what a name that collided has before its suffix
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
        suggested = paths[0].with_stem(f"{paths[0].stem}-{{seed}}") if "{seed}" in default else default
        raise UsageError(
            f"{paths[0]}: is one file for {len(paths)} images",
            hint=f"-o takes a folder, or a pattern such as {suggested}",
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


@dataclass(frozen=True)
class Made:
    """An image to be made.

    Attributes:
        path: where it goes.
        source: the name of what it is made from: an image's, or a label.
        seed: which is part of the path, perhaps; `random_seed` says that nobody asked for it, so earlier ones
            had another.
    """

    path: Path
    source: str
    seed: int
    random_seed: bool = False


@dataclass
class Earlier:
    """What is known of the files that are there: those made by this process, and those that say so themselves."""

    task: str
    made: dict[str, str] = field(default_factory=dict)  # absolute paths, and the names of what they are made from
    watching: bool = False  # then an output stays one when its source is gone

    def source(self, path: Path) -> str | None:
        """The name of what a file was made from by this task; None if it was not."""
        known = self.made.get(os.path.abspath(path))
        if known is not None:
            return known
        try:
            status = path.stat()
        except OSError:
            return None
        recipe = _recipe_of(path, status.st_mtime_ns, status.st_size)
        if recipe is None or recipe.task != self.task:
            return None
        image = recipe.options.get("image")
        return image if isinstance(image, str) else str(recipe.subject[1])


def numbered(wanted: Sequence[Made], earlier: Earlier) -> list[Path]:
    """The paths, with `-2`, `-3` and so on before the suffix where different sources have the same one.

    A source keeps the path that it has among the files that are there; the others take the free ones in their order.
    """
    groups: dict[str, list[int]] = {}
    for index, made in enumerate(wanted):
        groups.setdefault(os.path.abspath(made.path), []).append(index)
    paths = [made.path for made in wanted]
    taken = set(groups)
    for indices in groups.values():
        sources = [wanted[index].source for index in indices]
        if 1 < len(indices) == len(set(sources)):
            names = _distributed([wanted[index] for index in indices], earlier, taken)
            for index, path in zip(indices, names, strict=True):
                paths[index] = path
    return paths


def outputs_among(
    inputs: Mapping[Path, str], wanted: Sequence[Made], earlier: Earlier, *, named: Collection[Path] = ()
) -> set[Path]:
    """Which of the inputs, files by their absolute paths, this task has made of others of them.

    Only where it writes: such a file is known by its name, if the task is part of that, or by its recipe. Files that
    were `named` themselves, by a person or by the shell for a pattern, are known by their names alone.
    """
    folders = {os.path.dirname(os.path.abspath(made.path)) for made in wanted}
    near = [path for path in inputs if os.path.dirname(path) in folders]
    expected: dict[tuple[str, str], set[str]] = {}
    for made in wanted if near else ():
        place = os.path.dirname(os.path.abspath(made.path)), general_name(made)
        expected.setdefault(place, set()).add(made.source)
    siblings = {os.path.basename(name) for name in inputs.values()}
    found = set()
    for path in near:
        if os.fspath(path) in earlier.made:
            found.add(path)
            continue
        general = {name for form in {path.name, _COUNTED.sub("", path.name)} for name in (form, *without_number(form))}
        others = set().union(*(expected.get((os.path.dirname(path), name), ()) for name in general))
        known = bool(others - {inputs[path]}) and f"-{earlier.task}-" in path.name
        source = None if known or path in named else earlier.source(path)
        if source is not None:
            gone = earlier.watching and os.path.dirname(os.path.abspath(source)) == os.path.dirname(path)
            known = gone or os.path.basename(source) in siblings - {path.name}
        if known:
            found.add(path)
    return found


def general_name(made: Made) -> str:
    """The file's name with `*` for its seed."""
    before, seed, after = made.path.name.rpartition(str(made.seed))
    return f"{before}*{after}" if seed else made.path.name


def without_number(name: str) -> list[str]:
    """The name with `*` for one of its numbers, for each of them."""
    return [f"{name[: number.start()]}*{name[number.end() :]}" for number in _NUMBER.finditer(name)]


def _distributed(group: Sequence[Made], earlier: Earlier, taken: set[str]) -> list[Path]:
    """A path for each of those that want the same one."""
    path = group[0].path
    free = [path]
    number = 2
    while len(free) < len(group):
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        if os.path.abspath(candidate) not in taken:
            free.append(candidate)
            taken.add(os.path.abspath(candidate))
        number += 1
    owners = [_owner(candidate, group[0], group, earlier) for candidate in free]
    chosen: dict[int, Path] = {}
    for candidate, owner in zip(free, owners, strict=True):
        if owner is not None:
            chosen.setdefault(owner, candidate)
    rest = iter([candidate for candidate in free if candidate not in chosen.values()])
    return [chosen[place] if place in chosen else next(rest) for place in range(len(group))]


def _owner(candidate: Path, like: Made, group: Sequence[Made], earlier: Earlier) -> int | None:
    """The place in the group of the source that the file at a path was made from."""
    for there in _there(candidate, like):
        source = earlier.source(there)
        names = [made.source for made in group]
        if source in names:
            return names.index(source)
        bases = [os.path.basename(name) for name in names]
        if source is not None and bases.count(os.path.basename(source)) == 1:
            return bases.index(os.path.basename(source))
    return None


def _there(candidate: Path, like: Made) -> list[Path]:
    """The file at a path, or, where the seed was random, those that differ from it in the seed alone."""
    if os.path.lexists(candidate) or not like.random_seed:
        return [candidate]
    general = general_name(Made(candidate, "", like.seed))
    try:
        names = sorted(os.listdir(candidate.parent))
    except OSError:
        return []
    return [candidate.with_name(name) for name in names if general in without_number(name)]


@lru_cache(maxsize=4096)
def _recipe_of(path: Path, changed: int, size: int) -> Recipe | None:
    """The recipe of an image, if it has one; the other arguments tell its versions apart."""
    try:
        return read_metadata(path)
    except BigrError:  # it says nothing of itself
        return None
