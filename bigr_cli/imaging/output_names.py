"""Which files a command writes: names that collide get numbers, and what it wrote before is no input of it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bigr_cli.errors import BigrError
from bigr_cli.recipe import Recipe

_NUMBER = re.compile(r"\d+")
_COUNTED = re.compile(r"-\d+(?=\.[^.]*$)")  # what a name that collided has before its suffix


@dataclass(frozen=True)
class Made:
    """An image to be made.

    Attributes:
        path: where it goes.
        source: the name of what it is made from: an image's, or a label.
        seed: which is part of the path, perhaps; `drawn` says that nobody asked for it, so earlier ones had another.
    """

    path: Path
    source: str
    seed: int
    drawn: bool = False


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
        recipe = _recipe_at(path)
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
        general = {name for form in _forms(path.name) for name in (form, *without_number(form))}
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


def _forms(name: str) -> set[str]:
    return {name, _COUNTED.sub("", name)}


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
    """The file at a path, or, where the seed was drawn, those that differ from it in the seed alone."""
    if os.path.lexists(candidate) or not like.drawn:
        return [candidate]
    general = general_name(Made(candidate, "", like.seed))
    try:
        names = sorted(os.listdir(candidate.parent))
    except OSError:
        return []
    return [candidate.with_name(name) for name in names if general in without_number(name)]


def _recipe_at(path: Path) -> Recipe | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int, size: int) -> Recipe | None:
    """The recipe of an image; the other arguments tell its versions apart."""
    from bigr_cli.imaging.metadata import read_metadata

    try:
        return read_metadata(path)
    except BigrError:  # it says nothing of itself
        return None
